package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/kafka"
)

type checkCommand struct {
	setupFlags     `embed:""`
	selectionFlags `embed:""`
	topicFlags     `embed:""`
	Kafka          []string `help:"Look at the topics in Kafka, too: whether they keep what is promised." placeholder:"HOST:PORT"`
}

func (c *checkCommand) Run(ctx context.Context, term terminal) error {
	err := c.forEach(ctx, term, outbox.Check, c.selectionFlags, 0)
	if len(c.Kafka) == 0 {
		return err
	}
	return errors.Join(err, c.checkKafka(ctx, term))
}

// checkKafka tells which topics may lose what they have confirmed.
func (c *checkCommand) checkKafka(ctx context.Context, term terminal) error {
	cluster, err := kafkaFlags{c.Kafka, c.topicFlags}.openAndPing(ctx)
	if err != nil {
		return err
	}
	sources, err := c.sources(c.Database, c.Slot, c.Prefix)
	if err != nil {
		return err
	}
	for _, s := range sources {
		weak, topics, err := kafka.WeakTopics(ctx, s.publisherConfig(cluster))
		if err != nil {
			return usage(fmt.Errorf("topics of %s: %w", s.prefix, err))
		}
		var report outbox.Report
		for _, t := range weak {
			report.Findings = append(report.Findings, outbox.Finding{Severity: outbox.Warning, Text: "topic " + t.Name + " has " + t.Why + ": Kafka may lose what it has confirmed", Repair: s.publisherConfig(cluster).RepairDurable(t.Name)})
		}
		if topics == 0 {
			report.Findings = append(report.Findings, outbox.Finding{Severity: outbox.Warning, Text: "there are no topics " + s.prefix + ".* yet", Repair: "check again when the publisher has started"})
		}
		printReport(term, s.database, report)
	}
	return nil
}
