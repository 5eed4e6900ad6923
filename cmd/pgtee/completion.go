package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand prints a script with which a shell completes commands, flags and their values.
type completionCommand struct {
	Shell string `arg:"" help:"${enum}" enum:"bash,zsh,fish"`
}

func (*completionCommand) Help() string {
	return "bash: source <(pgtee completion bash); zsh: source <(pgtee completion zsh), after compinit; fish: pgtee completion fish | source"
}

func (c *completionCommand) Run(_ context.Context, term terminal) error {
	app, err := newParser(&commandLine{}, term)
	if err != nil {
		return err
	}
	commands := vocabulary(app.Model.Node)
	switch c.Shell {
	case "fish":
		printFish(term.out, commands)
	case "zsh":
		fmt.Fprint(term.out, "#compdef pgtee\nautoload -U +X bashcompinit && bashcompinit\n")
		printBash(term.out, commands)
	default:
		printBash(term.out, commands)
	}
	return nil
}

// completed is a command and the words that may follow it.
type completed struct {
	name, help string
	flags      []completedFlag
	arguments  []string // values of its positional argument
}

type completedFlag struct {
	name, help string
	values     []string // if there are few of them
	bool, file bool
}

// vocabulary returns the commands, each with its own flags, those of its subcommands, and those that all commands share.
func vocabulary(root *kong.Node) (commands []completed) {
	for _, node := range root.Children {
		c := completed{name: node.Name, help: node.Help}
		flags, seen := slices.Concat(root.Flags, node.Flags), map[string]bool{}
		for _, below := range node.Children {
			c.arguments = append(c.arguments, below.Name)
			flags = append(flags, below.Flags...)
		}
		for _, flag := range flags {
			if flag.Hidden || seen[flag.Name] {
				continue
			}
			seen[flag.Name] = true
			f := completedFlag{name: flag.Name, help: firstSentence(flag.Help), bool: flag.IsBool(), file: flag.PlaceHolder == "FILE" || flag.PlaceHolder == "DIR"}
			if flag.Enum != "" {
				f.values = strings.Split(flag.Enum, ",")
			}
			c.flags = append(c.flags, f)
		}
		for _, argument := range node.Positional {
			if argument.Enum != "" {
				c.arguments = strings.Split(argument.Enum, ",")
			}
		}
		commands = append(commands, c)
	}
	return commands
}

func firstSentence(text string) string {
	sentence, _, _ := strings.Cut(text, ". ")
	sentence, _, _ = strings.Cut(sentence, ": ")
	return strings.TrimSuffix(sentence, ".")
}

func printBash(out io.Writer, commands []completed) {
	var names []string
	for _, c := range commands {
		names = append(names, c.name)
	}
	fmt.Fprintf(out, `_pgtee() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= word
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in -*) ;; *) case " %[1]s " in *" $word "*) cmd=$word; break ;; esac ;; esac
  done
  COMPREPLY=()
  case $cmd in
  "") COMPREPLY=($(compgen -W "%[1]s --help --version" -- "$cur")) ;;
`, strings.Join(names, " "))
	for _, c := range commands {
		fmt.Fprintf(out, "  %s)\n    case $prev in\n", c.name)
		words := slices.Clone(c.arguments)
		for _, f := range c.flags {
			words = append(words, "--"+f.name)
			switch {
			case f.values != nil:
				fmt.Fprintf(out, "    --%s) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n", f.name, strings.Join(f.values, " "))
			case f.file:
				fmt.Fprintf(out, "    --%s) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n", f.name)
			case !f.bool:
				fmt.Fprintf(out, "    --%s) ;;\n", f.name)
			}
		}
		fmt.Fprintf(out, "    *) COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")) ;;\n    esac ;;\n", strings.Join(words, " "))
	}
	fmt.Fprint(out, "  esac\n}\ncomplete -F _pgtee pgtee\n")
}

func printFish(out io.Writer, commands []completed) {
	fmt.Fprint(out, "complete -c pgtee -f\ncomplete -c pgtee -n __fish_use_subcommand -l version -d 'Print the version and exit'\n")
	for _, c := range commands {
		fmt.Fprintf(out, "complete -c pgtee -n __fish_use_subcommand -a %s -d %s\n", c.name, fishQuote(firstSentence(c.help)))
		for _, value := range c.arguments {
			fmt.Fprintf(out, "complete -c pgtee -n '__fish_seen_subcommand_from %s' -a %s\n", c.name, value)
		}
		for _, f := range c.flags {
			takes := " -x"
			switch {
			case f.values != nil:
				takes = " -x -a " + fishQuote(strings.Join(f.values, " "))
			case f.file:
				takes = " -r -F"
			case f.bool:
				takes = ""
			}
			fmt.Fprintf(out, "complete -c pgtee -n '__fish_seen_subcommand_from %s' -l %s%s -d %s\n", c.name, f.name, takes, fishQuote(f.help))
		}
	}
}

func fishQuote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}
