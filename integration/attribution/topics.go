package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
)

// settleTime is how long the last commit may take into Kafka.
const settleTime = 4 * time.Minute

// topics reads the topics of one leg.
type topics struct {
	broker string
	prefix string
}

// ends returns the offsets after the last records of the tables' topics. The last stable offsets could be too low: a producer
// learns that its transaction has committed before all partitions show it.
func (t *topics) ends(ctx context.Context) (kadm.ListedOffsets, error) {
	return t.list(ctx, (*kadm.Client).ListEndOffsets)
}

func (t *topics) list(ctx context.Context, list func(*kadm.Client, context.Context, ...string) (kadm.ListedOffsets, error)) (kadm.ListedOffsets, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.broker))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := list(kadm.NewClient(client), ctx)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(ends, func(topic string, _ map[int32]kadm.ListedOffset) bool {
		return !strings.HasPrefix(topic, t.prefix+".work.") && !strings.HasPrefix(topic, t.prefix+".made.")
	})
	return ends, ends.Error()
}

// await waits until a table's topic has a committed record, as long as the publisher runs: then everything that the record's transaction has written
// is in Kafka.
func (t *topics) await(table string, publisher *harness.Process) error {
	return harness.Eventually(settleTime, func(ctx context.Context) error {
		if !publisher.Running() {
			return nil // the caller handles this
		}
		ends, err := t.list(ctx, (*kadm.Client).ListCommittedOffsets)
		if end, there := ends.Lookup(t.prefix+"."+table, 0); err == nil && (!there || end.Offset == 0) {
			err = fmt.Errorf("%s has no record in Kafka", table)
		}
		return err
	})
}

// each calls f for every row in the tables' topics, one partition after another.
func (t *topics) each(ctx context.Context, f func(*event)) error {
	ends, err := t.ends(ctx)
	if err != nil {
		return err
	}
	for _, topic := range slices.Sorted(maps.Keys(ends)) {
		for partition, end := range ends[topic] {
			if end.Offset == 0 {
				continue
			}
			if err := t.eachOf(ctx, topic, partition, end.Offset, f); err != nil {
				return fmt.Errorf("read %s/%d: %w", topic, partition, err)
			}
		}
	}
	return nil
}

// eachOf also requests control records, because the last record before the end is one.
func (t *topics) eachOf(ctx context.Context, topic string, partition int32, end int64, f func(*event)) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(t.broker), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			if !r.Attrs.IsControl() && r.Value != nil {
				e, err := read(r.Value)
				if err != nil {
					return err
				}
				f(&e)
			}
			if r.Offset >= end-1 {
				return nil
			}
		}
	}
}
