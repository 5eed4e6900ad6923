package main

import (
	"context"

	"go.uber.org/zap"
)

// runCommand is proxy and publisher in one process: they meet only in the database, as they do apart.
type runCommand struct {
	logged
	reloadable
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
	kafka, err := c.kafkaFlags.open()
	if err != nil {
		return usage(err)
	}
	if err := kafka.ping(ctx); err != nil {
		log.Warn("clients are served all the same; what they write is published once Kafka answers", zap.Error(err))
	}
	publishers, err := c.publisherFlags.open(ctx, sources, kafka, c.textFlags, keys, log)
	if err != nil {
		return err
	}
	p, err := c.proxyFlags.open(ctx, c.postgresFlags, c.outboxFlags, c.textFlags, keys, log)
	if err != nil {
		return err
	}
	actors := []actor{p.actor(c.Drain), c.reloading(p, keys, c.level, log)}
	for _, a := range publisherActors(publishers) {
		actors = append(actors, outlived(a, log))
	}
	actors, err = c.serviceFlags.addMetrics(actors, p, publishers)
	if err != nil {
		return err
	}
	return runGroup(ctx, c.Drain, actors...)
}

func (c *runCommand) parts() proxyParts {
	return proxyParts{c.proxyFlags, c.postgresFlags, c.outboxFlags, c.textFlags, c.keyFlags, c.settings}
}

// outlived is an actor whose failure does not end the process: clients keep their database while the
// publisher has halted. Its error is told at once, and decides the exit code once the process is stopped.
func outlived(a actor, log *zap.Logger) actor {
	return actor{a.name, func(ctx context.Context) error {
		err := a.run(ctx)
		if err != nil && ctx.Err() == nil {
			log.Error("publishing has stopped until somebody acts; clients are still served", zap.String("part", a.name), zap.Error(err))
			<-ctx.Done()
		}
		return err
	}}
}
