package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/outbox"
)

// slotFlags name the replication slot.
type slotFlags struct {
	Slot string `help:"Name of the replication slot." default:"pgtee"`
}

// setupFlags are shared by setup, teardown and check.
type setupFlags struct {
	postgresFlags `embed:""`
	databaseFlags `embed:""`
	slotFlags     `embed:""`
}

type setupCommand struct {
	setupFlags     `embed:""`
	selectionFlags `embed:""`
	GrantPublisher []string      `help:"Roles as which the publisher may log in, in addition to the present ones. They also need REPLICATION." placeholder:"ROLE"`
	GrantPublish   []string      `help:"Roles that may execute pgtee.publish(), in addition to the present ones; never PUBLIC." placeholder:"ROLE"`
	GrantSnapshot  []string      `help:"Roles that may request snapshots with pgtee.snapshot() and its siblings, in addition to the present ones; never PUBLIC." placeholder:"ROLE"`
	SlotTimeout    time.Duration `help:"How long to wait for older transactions, which must end before the slot can be created." default:"30s"`
	DryRun         bool          `help:"Change nothing: print the SQL that setup would run, and what to know before running it."`
}

func (c *setupCommand) Run(ctx context.Context, term terminal) error {
	setup := func(ctx context.Context, config outbox.SetupConfig) (outbox.Report, error) {
		config.Publishers, config.Authors, config.Signallers = c.GrantPublisher, c.GrantPublish, c.GrantSnapshot
		if !c.DryRun {
			return outbox.Setup(ctx, config)
		}
		sql, report, err := outbox.Plan(ctx, config)
		printPlan(term.out, sql, report)
		return outbox.Report{}, err
	}
	return c.forEach(ctx, term, setup, c.selectionFlags, c.SlotTimeout)
}

// forEach calls work for each database and prints its report. Problems are returned as the error; other findings are printed.
func (f *setupFlags) forEach(ctx context.Context, term terminal, work func(context.Context, outbox.SetupConfig) (outbox.Report, error), selection selectionFlags, slotTimeout time.Duration) error {
	sources, err := f.sources(f.Database, f.Slot, "")
	if err != nil {
		return err
	}
	for _, s := range sources {
		selected, err := selection.selection(s)
		if err != nil {
			return usage(err)
		}
		report, err := work(ctx, outbox.SetupConfig{ConnString: s.connString, Slot: s.slot, SlotTimeout: slotTimeout, Selection: selected})
		printReport(term, s.database, report)
		if err == nil {
			err = report.Err()
		}
		if err != nil {
			return usage(err)
		}
	}
	return nil
}

// printPlan prints SQL for psql, after its findings as comments. A name with a line end in it would leave the comment and be run.
func printPlan(out io.Writer, sql string, report outbox.Report) {
	for _, f := range report.Findings {
		fmt.Fprintf(out, "-- %s: %s; %s\n", f.Severity, doctor.Clean(f.Text), doctor.Clean(f.Repair))
	}
	fmt.Fprint(out, sql)
}

// printReport prints a line per finding, and the command that repairs it on a second line.
func printReport(term terminal, database string, report outbox.Report) {
	for _, f := range report.Findings {
		fmt.Fprintf(term.out, "%-8s %s: %s\n", f.Severity, database, doctor.Clean(f.Text))
		if f.Repair != "" {
			fmt.Fprintf(term.out, "%-8s -> %s\n", "", doctor.Clean(f.Repair))
		}
	}
}
