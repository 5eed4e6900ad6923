package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

var update = flag.Bool("update", false, "rewrite docs/configuration.md and docs/metrics.md")

const configurationHead = `# Configuration

Every flag can also be the variable ` + "`PGTEE_<NAME>`" + ` (dashes become underscores) or a key of the YAML file that ` + "`--config`" + ` names. The command line wins over the environment, the environment over the file.
If a command uses a flag's name for something else, its variable and its key begin with the command's name; brackets show them.
**R** marks what a proxy reloads at SIGHUP, without a restart. ` + "`make docs`" + ` generates this page from the flags themselves.

`

// TestConfiguration holds docs/configuration.md equal to the flags.
func TestConfiguration(t *testing.T) {
	var flags commandLine
	app, err := newParser(&flags, terminal{io.Discard, io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	got, seen := &strings.Builder{}, map[string]bool{}
	got.WriteString(configurationHead)
	printFlags(got, "Every command", app.Model.Flags, seen)
	for _, first := range []string{"run", ""} { // which has nearly all
		for _, command := range app.Model.Leaves(true) {
			if (command.Name == "run") == (first == "run") {
				printCommand(got, command, seen)
			}
		}
	}
	const file = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != got.String() {
		t.Errorf("docs/configuration.md is stale (%v): make docs", err)
	}
}

// printCommand prints the flags that no command before has in the same words, by group.
func printCommand(out *strings.Builder, command *kong.Node, seen map[string]bool) {
	var order []string
	groups := map[string][]*kong.Flag{}
	for _, flag := range command.Flags {
		title := "pgtee " + command.Path()
		if flag.Group != nil && command.Name == "run" {
			title = flag.Group.Title
		}
		if groups[title] == nil {
			order = append(order, title)
		}
		groups[title] = append(groups[title], flag)
	}
	for _, title := range order {
		printFlags(out, title, groups[title], seen)
	}
}

func printFlags(out *strings.Builder, title string, flags []*kong.Flag, seen map[string]bool) {
	head := fmt.Sprintf("## %s\n\n| flag | default | |\n|---|---|---|\n", title)
	for _, f := range flags {
		if f.Name == "help" || seen[fileKey(f)+f.Help] {
			continue
		}
		seen[fileKey(f)+f.Help] = true
		out.WriteString(head)
		head = ""
		mark, value := "", ""
		if f.Tag.Has("reload") {
			mark = " **R**"
		}
		if f.HasDefault && f.Default != "" {
			value = "`" + f.Default + "`"
		}
		help := strings.NewReplacer("|", `\|`, "*", `\*`).Replace(f.Help)
		if key := fileKey(f); key != f.Name {
			help += fmt.Sprintf(" (`%s`, `%s`)", f.Envs[0], key)
		}
		fmt.Fprintf(out, "| `--%s`%s | %s | %s |\n", f.Name, mark, value, help)
	}
	if head == "" {
		out.WriteString("\n")
	}
}
