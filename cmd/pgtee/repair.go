package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/publisher"
)

// repairCommand records a new position after the publisher has halted because Kafka and the database differ in a way that only a human can accept.
type repairCommand struct {
	logged
	postgresFlags    `group:"Connection"`
	databaseFlags    `group:"Connection"`
	slotFlags        `group:"Connection"`
	kafkaFlags       `group:"Kafka"`
	AcceptDivergence bool   `help:"Continue after the last transaction that Kafka and the database share, or from the position of the slot. Events of transactions that the database has lost stay in the topics." required:""`
	Resync           string `help:"Tables to publish again once a publisher runs (a record of op t, which tells consumers to discard every row of the table, then every row): lost (those whose rows may be wrong in Kafka, or all if that is not known), all, or none." enum:"lost,all,none" default:"lost"`
}

func (c *repairCommand) Run(ctx context.Context, term terminal) error {
	log := c.logger(term.err)
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	cluster, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	for _, s := range sources {
		if err := awaitSlot(ctx, s, false, log); err != nil {
			return usage(err)
		}
		p, err := publisherFlags{}.newPublisher(s, cluster, textFlags{"off"}, nil, nil, newWatcher(s.labels()), log)
		if err != nil {
			return usage(err)
		}
		done, err := p.Repair(ctx, publisher.ResyncChoice(c.Resync))
		if err != nil {
			return fmt.Errorf("database %s: %w", s.database, err)
		}
		printRepaired(term.out, s, done)
	}
	return nil
}

func printRepaired(out io.Writer, s source, r publisher.Repaired) {
	before := "nothing"
	if r.From != nil {
		before = fmt.Sprintf("%s of timeline %d", r.From.EndLSN, r.From.Timeline)
	}
	fmt.Fprintf(out, "%s: the recorded position was %s; publishing continues after %s of timeline %d; a record with \"via\":\"repair\" in %s.audit marks the cut\n",
		s.database, before, r.To.EndLSN, r.To.Timeline, s.prefix)
	if r.Lost > 0 {
		fmt.Fprintf(out, "%s: %d transactions that Kafka holds are no longer in the database: their events stay in the topics, before that record\n", s.database, r.Lost)
	}
	switch {
	case r.ID == "":
		fmt.Fprintf(out, "%s: no table is published again; if topics and tables may differ, use --resync all\n", s.database)
	case len(r.Only) == 0:
		fmt.Fprintf(out, "%s: every table is published again once the publisher runs: resync %s\n", s.database, r.ID)
	default:
		fmt.Fprintf(out, "%s: published again once the publisher runs: %s: resync %s\n", s.database, doctor.Clean(strings.Join(r.Only, ", ")), r.ID)
	}
}
