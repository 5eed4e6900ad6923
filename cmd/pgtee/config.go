package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// configFile is the value of --config. The file is a YAML mapping from keys of flags (fileKey) to values. Several commands may share a file, so a key
// may belong to a flag of any command.
type configFile string

// BeforeResolve is the kong hook that adds a source of flag values.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	path := string(ctx.FlagValue(trace.Flag).(configFile))
	if path == "" {
		return nil
	}
	values, err := readConfig(path, fileKeys(ctx.Model.Node))
	if err != nil {
		return err
	}
	ctx.AddResolver(kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		if len(flag.Envs) > 0 {
			if _, set := os.LookupEnv(flag.Envs[0]); set {
				return nil, nil
			}
		}
		return values[fileKey(flag)], nil
	}))
	return nil
}

// fileKey returns the key of a flag in the file: its environment variable without PGTEE_, in lower case and with dashes. That is the flag's name; a flag
// that means something else in the proxy or the publisher has its command's name in front: PGTEE_QUERY_KEY, query-key.
func fileKey(flag *kong.Flag) string {
	if len(flag.Envs) == 0 {
		return flag.Name
	}
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(flag.Envs[0], "PGTEE_"), "_", "-"))
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
			return nil, fmt.Errorf("--config %s: unknown key %q: keys are the names of flags without the leading dashes: see docs/configuration.md", path, key)
		}
	}
	return values, nil
}

// firstLine drops the source lines that the YAML library quotes, because they may contain a password.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// fileKeys returns the keys of the flags of a command and of its subcommands.
func fileKeys(node *kong.Node) []string {
	var keys []string
	for _, flag := range node.Flags {
		keys = append(keys, fileKey(flag))
	}
	for _, child := range node.Children {
		keys = append(keys, fileKeys(child)...)
	}
	return keys
}
