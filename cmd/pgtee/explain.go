package main

import (
	"context"
	"fmt"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
)

// explainCommand explains the id of a finding, as printed by check, halts, the log and alerts.
type explainCommand struct {
	ID string `arg:"" optional:"" help:"An id such as slot-lost; without one, all ids are listed."`
}

func (c *explainCommand) Run(_ context.Context, term terminal) error {
	if c.ID == "" {
		for _, area := range doctor.Catalogue {
			fmt.Fprintf(term.out, "%s\n", area.Name)
			for _, e := range area.Entries {
				fmt.Fprintf(term.out, "  %-8s %-26s %s\n", e.Severity, e.ID, e.Meaning)
			}
		}
		return nil
	}
	e, known := doctor.Lookup(c.ID)
	if !known {
		return usage(fmt.Errorf("there is no finding %q: pgtee explain lists them", c.ID))
	}
	fmt.Fprintf(term.out, "%s (%s)\n%s\n-> %s\n%s\n", e.ID, e.Severity, e.Meaning, e.Repair, doctor.Docs(e.ID))
	return nil
}
