package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// configFile is the value of --config. The file is a YAML mapping from flag names to values. One file may be used for several commands, so each key
// must be a flag of some command.
type configFile string

// BeforeResolve is the kong hook that adds a source of flag values.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path := string(ctx.FlagValue(trace.Flag).(configFile))
	if path == "" {
		return nil
	}
	values, err := readConfig(path, flagNames(ctx.Model.Node))
	if err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if slices.ContainsFunc(flag.Envs, func(name string) bool { _, set := os.LookupEnv(name); return set }) {
			return nil, nil
		}
		return suited(flag, values[flag.Name]), nil
	}))
	return nil
}

// suited returns the value for a flag, or nil if it is meant for another command: tables are names for subscribe and settings for the publisher, and
// format may be that of records or that of lines.
func suited(flag *kong.Flag, value any) any {
	list, _ := value.([]any)
	nested := slices.ContainsFunc(list, func(item any) bool { _, is := item.(map[string]any); return is })
	if _, names := flag.Target.Interface().([]string); names && nested && flag.Name == "tables" {
		return nil
	}
	if text, _ := value.(string); flag.Name == "format" && slices.Contains(flag.EnumSlice(), "pretty") && !slices.Contains(flag.EnumSlice(), text) {
		return nil
	}
	return value
}

func readConfig(path string, known []string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("--config %s: not a YAML mapping from flag names to values: %s", path, firstLine(err))
	}
	for key := range values {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("--config %s: unknown key %q: keys are the names of flags, without dashes", path, key)
		}
	}
	return values, nil
}

// firstLine drops the source lines that the YAML library quotes, because they may contain a password.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// flagNames returns the flags of a command and of its subcommands.
func flagNames(node *kong.Node) []string {
	var names []string
	for _, flag := range node.Flags {
		names = append(names, flag.Name)
	}
	for _, child := range node.Children {
		names = append(names, flagNames(child)...)
	}
	return names
}
