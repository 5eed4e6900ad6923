package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/snapshot"
	"github.com/pgtee/pgtee/subscriber/apply"
)

// The name of a table, which any login may choose, neither controls a terminal nor adds a line: to the SQL of setup --dry-run least of all.
func TestNamesAreOneLine(t *testing.T) {
	const evil = "x\x1b[2J\r\nALTER ROLE eve SUPERUSER; --\x1b[8m"
	for name, print := range map[string]func(io.Writer){
		"setup --dry-run": func(out io.Writer) {
			printPlan(out, "SELECT 1;\n", outbox.Report{Findings: []outbox.Finding{{Severity: outbox.Warning, Text: evil, Repair: evil}}})
		},
		"setup": func(out io.Writer) {
			printReport(terminal{out: out}, "shop", outbox.Report{Findings: []outbox.Finding{{Severity: outbox.Warning, Text: evil, Repair: evil}}})
		},
		"status": func(out io.Writer) {
			statusReport{Problems: []string{evil}, Uncaptured: []uncapturedTable{{Table: evil, Reason: evil}}, Snapshots: &snapshot.State{
				Copies:   []snapshot.Copy{{ID: evil, Waiting: evil, Unmatched: []string{evil}}},
				Finished: []snapshot.FinishedCopy{{ID: evil, Why: evil}, {ID: evil, Unmatched: []string{evil}}},
			}}.print(out)
		},
		"snapshot start --wait": func(out io.Writer) {
			_ = ended(out, false, snapshot.FinishedCopy{ID: evil, Unmatched: []string{evil}})
		},
		"repair": func(out io.Writer) {
			printRepaired(out, source{database: "shop"}, publisher.Repaired{ID: "r", Only: []string{evil}})
		},
		"apply --check":  func(out io.Writer) { printFindings(out, []apply.Finding{{Text: evil, Repair: evil}}) },
		"apply --verify": func(out io.Writer) { printComparison(out, apply.Comparison{Table: evil, Differences: []string{evil}}) },
		"an error":       func(out io.Writer) { _, _ = io.WriteString(out, oneLine(errors.New(evil))) },
	} {
		var out strings.Builder
		print(&out)
		if strings.ContainsFunc(out.String(), func(c rune) bool { return c != '\n' && !unicode.IsPrint(c) }) {
			t.Errorf("%s: control characters in %q", name, out.String())
		}
		if slices.ContainsFunc(strings.Split(out.String(), "\n"), func(line string) bool { return strings.HasPrefix(line, "ALTER") }) {
			t.Errorf("%s: a name begins a line in %q", name, out.String())
		}
	}
}
