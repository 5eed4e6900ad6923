package main

import (
	"context"
	"fmt"
)

// repairCommand records a new position after the publisher has halted because Kafka and the database
// differ in a way that only a human can accept.
type repairCommand struct {
	logged
	postgresFlags
	databaseFlags
	slotFlags
	kafkaFlags
	AcceptDivergence bool `help:"Go on from where the slot stands. What Kafka holds and the database lost, or the other way round, stays so." required:""`
}

func (c *repairCommand) Run(ctx context.Context, term terminal) error {
	log := c.logger(term.err)
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	kafka, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	for _, s := range sources {
		if err := awaitSlot(ctx, s, false, log); err != nil {
			return usage(err)
		}
		p, err := publisherFlags{}.newPublisher(s, kafka, textFlags{"off"}, nil, nil, log)
		if err != nil {
			return usage(err)
		}
		from, to, err := p.Repair(ctx)
		if err != nil {
			return fmt.Errorf("database %s: %w", s.database, err)
		}
		before := "nothing"
		if from != nil {
			before = fmt.Sprintf("%s of timeline %d", from.EndLSN, from.Timeline)
		}
		fmt.Fprintf(term.out, "%s: recorded was %s, publishing goes on after %s of timeline %d; a record with \"via\":\"repair\" in %s.audit marks the cut\n",
			s.database, before, to.EndLSN, to.Timeline, s.prefix)
	}
	return nil
}
