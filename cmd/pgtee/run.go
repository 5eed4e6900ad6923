package main

import (
	"context"
)

// runCommand is proxy and publisher in one process: they meet only in the database, as they do apart.
type runCommand struct {
	logged
	postgresFlags
	databaseFlags
	slotFlags
	keyFlags
	outboxFlags
	textFlags
	proxyFlags
	kafkaFlags
	publisherFlags
	serviceFlags
}

func (c *runCommand) Run(ctx context.Context, term terminal) error {
	log := c.logger(term.err)
	key, err := c.keyFlags.readOrMake(log)
	if err != nil {
		return err
	}
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	publishers, err := c.publisherFlags.open(ctx, sources, c.Kafka, c.textFlags, key, log)
	if err != nil {
		return err
	}
	p, err := c.proxyFlags.open(ctx, c.servers(), c.outboxFlags, c.textFlags, key, log)
	if err != nil {
		return err
	}
	actors := append([]actor{p.actor(c.Drain)}, publisherActors(publishers)...)
	actors, err = c.serviceFlags.addMetrics(actors, p, publishers)
	if err != nil {
		return err
	}
	return runGroup(ctx, c.Drain, actors...)
}
