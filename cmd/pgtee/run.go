package main

import (
	"context"
)

// runCommand runs proxy and publisher in one process: they meet only in the database, as they do in separate processes.
type runCommand struct {
	logged
	reloadable
	postgresFlags  `group:"Connection"`
	databaseFlags  `group:"Connection"`
	slotFlags      `group:"Connection"`
	keyFlags       `group:"Notes"`
	outboxFlags    `group:"Notes"`
	textFlags      `group:"Notes"`
	proxyFlags     `group:"Clients"`
	kafkaFlags     `group:"Kafka"`
	publisherFlags `group:"Publishing"`
	serviceFlags   `group:"Service"`
}

func (c *runCommand) Run(ctx context.Context, term terminal) error {
	log := c.logger(term.err)
	keys, err := c.keyFlags.readOrMake(log)
	if err != nil {
		return err
	}
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	if err := c.validate(sources, c.textFlags); err != nil {
		return usage(err)
	}
	cluster, err := c.kafkaFlags.open()
	if err != nil {
		return usage(err)
	}
	const meanwhile = "clients are served meanwhile"
	go cluster.warnUnlessReady(ctx, c.pingRegistry, meanwhile, log) // ends with ctx, or after some seconds
	publishers, err := c.publisherFlags.make(ctx, sources, cluster, c.textFlags, keys, log)
	if err != nil {
		return err
	}
	p, err := c.proxyFlags.open(ctx, c.postgresFlags, c.outboxFlags, c.textFlags, keys, log)
	if err != nil {
		return err
	}
	publish := func(p databasePublisher, ctx context.Context) error {
		return p.keepPublishing(ctx, meanwhile)
	}
	actors := append([]actor{p.actor(c.Drain), c.reloading(p, keys, c.level, log)}, publisherActors(publishers, publish)...)
	if actors, err = c.serviceFlags.addMetrics(actors, p, publishers); err != nil {
		return err
	}
	if actors, err = c.serviceFlags.addConsole(actors, p, publishers, cluster, log); err != nil {
		return err
	}
	return runGroup(ctx, c.Drain, actors...)
}

// Validate is called by kong.
func (c *runCommand) Validate() error { return c.proxyFlags.checkDrainDelay(c.Drain) }

func (c *runCommand) parts() proxyParts {
	return proxyParts{c.proxyFlags, c.postgresFlags, c.outboxFlags, c.textFlags, c.keyFlags, c.settings}
}
