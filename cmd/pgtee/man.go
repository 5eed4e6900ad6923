package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// manCommand prints the manual page, in roff. The packages install it.
type manCommand struct{}

func (*manCommand) Run(_ context.Context, term terminal) error {
	app, err := newParser(&commandLine{}, term)
	if err != nil {
		return err
	}
	printManual(term.out, app.Model)
	return nil
}

// printManual writes one page for all commands. A flag is explained with the first command that has it in these words.
func printManual(out io.Writer, app *kong.Application) {
	fmt.Fprintf(out, ".TH PGTEE 1 \"\" %q \"User Commands\"\n.SH NAME\npgtee \\- %s\n", versionLine(), roff(app.Help))
	fmt.Fprint(out, ".SH SYNOPSIS\n.B pgtee\n.I COMMAND\n[\\fIFLAGS\\fR]\n.SH DESCRIPTION\n"+
		"Every flag can also be the variable PGTEE_NAME (dashes become underscores) or a key of the YAML file that \\fB\\-\\-config\\fR names.\n"+
		"A flag that means something else than in the proxy or the publisher has the name of its command in front of both: PGTEE_QUERY_KEY, query\\-key.\n"+
		"The command line wins over the environment, the environment over the file.\n.SH COMMANDS\n")
	seen := map[string]bool{}
	for _, command := range app.Leaves(true) {
		fmt.Fprintf(out, ".SS pgtee %s\n%s\n", roff(command.Path()), roff(command.Help))
		if command.Detail != "" {
			fmt.Fprintf(out, ".PP\n%s\n", roff(command.Detail))
		}
		for _, flag := range command.Flags {
			if flag.Name == "help" || seen[flag.Name+flag.Help] {
				continue
			}
			seen[flag.Name+flag.Help] = true
			fmt.Fprintf(out, ".TP\n\\fB%s\\fR\n%s\n", roff(flag.String()), roff(flag.Help))
		}
	}
	fmt.Fprint(out, ".SH EXIT STATUS\n0: asked to stop, or done. 1: failed while running. 2: could not start. 3: halted; the last line of the log says what to do.\n")
}

// roff escapes a text: a backslash, a dash, and what a line must not begin with.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "\n", " ").Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}
