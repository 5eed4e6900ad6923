package shop

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// readTopic calls f for every committed record with a value, partition by partition in order, up to the end offset at the time of the call. A topic
// that does not exist has no records.
func readTopic(ctx context.Context, brokers []string, topic string, f func(*kgo.Record) error) error {
	admin, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return err
	}
	defer admin.Close()
	ends, err := kadm.NewClient(admin).ListCommittedOffsets(ctx, topic)
	if err != nil {
		return fmt.Errorf("find the end of %s: %w", topic, err)
	}
	for partition, end := range ends[topic] {
		if end.Err != nil || end.Offset == 0 {
			continue
		}
		if err := readPartition(ctx, brokers, topic, partition, end.Offset, f); err != nil {
			return fmt.Errorf("read %s, partition %d: %w", topic, partition, err)
		}
	}
	return nil
}

// readPartition also requests control records, because the last record before the end is one.
func readPartition(ctx context.Context, brokers []string, topic string, partition int32, end int64, f func(*kgo.Record) error) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return err
		}
		for _, fetchErr := range fetches.Errors() {
			return fetchErr.Err
		}
		for _, record := range fetches.Records() {
			if !record.Attrs.IsControl() && record.Value != nil {
				if err := f(record); err != nil {
					return err
				}
			}
			if record.Offset >= end-1 {
				return nil
			}
		}
	}
}
