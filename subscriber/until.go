package subscriber

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// stretch is the part of a partition that remains to be read.
type stretch struct{ next, end int64 }

// stretches are keyed by topic and partition.
type stretches map[string]map[int32]stretch

// readUntil passes on the events up to a given time. It reads each partition to its last stable offset and compares the times itself: the end cannot be
// looked up by time, since the time of a transaction marker is later than that of the records before it.
func readUntil(ctx context.Context, client *kgo.Client, cfg Config, f func(Event) error) error {
	left, err := findStretches(ctx, client, cfg)
	if err != nil {
		return err
	}
	places := map[string]map[int32]kgo.Offset{}
	for topic, partitions := range left {
		places[topic] = map[int32]kgo.Offset{}
		for partition, s := range partitions {
			places[topic][partition] = kgo.NewOffset().At(s.next)
		}
	}
	client.AddConsumePartitions(places)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := failure(fetches); err != nil {
			return err
		}
		for iterator := fetches.RecordIter(); !iterator.Done(); {
			record := iterator.Next()
			if !left.markRead(record) || record.Timestamp.After(cfg.Until) {
				continue
			}
			if err := f(eventOf(record)); err != nil {
				return err
			}
		}
	}
	return nil
}

// markRead notes that a record was read, and reports whether it is an event within the stretch.
func (left stretches) markRead(record *kgo.Record) bool {
	s, open := left[record.Topic][record.Partition]
	if !open {
		return false
	}
	if record.Offset+1 >= s.end {
		if delete(left[record.Topic], record.Partition); len(left[record.Topic]) == 0 {
			delete(left, record.Topic)
		}
	}
	return record.Offset < s.end && !record.Attrs.IsControl()
}

// findStretches determines where reading begins and ends in each partition.
func findStretches(ctx context.Context, client *kgo.Client, cfg Config) (stretches, error) {
	admin := kadm.NewClient(client)
	topics, err := existing(ctx, admin, cfg.topics())
	if err != nil {
		return nil, err
	}
	if len(topics) == 0 {
		prefixes, err := Prefixes(ctx, client)
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %s; there are the prefixes: %s", ErrNoTopics, strings.Join(cfg.topics(), ", "), strings.Join(prefixes, ", "))
	}
	begin, err := cfg.From.list(ctx, admin, topics)
	if err != nil {
		return nil, fmt.Errorf("look for the beginning: %w", err)
	}
	decided, err := admin.ListCommittedOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look for the end: %w", err)
	}
	found := stretches{}
	decided.Each(func(end kadm.ListedOffset) {
		s := stretch{end: end.Offset}
		if first, known := begin.Lookup(end.Topic, end.Partition); known {
			s.next = max(0, first.Offset)
		}
		if s.next >= s.end {
			return
		}
		if found[end.Topic] == nil {
			found[end.Topic] = map[int32]stretch{}
		}
		found[end.Topic][end.Partition] = s
	})
	return found, decided.Error()
}

// list determines the offset at which to start in each partition.
func (f From) list(ctx context.Context, admin *kadm.Client, topics []string) (kadm.ListedOffsets, error) {
	switch {
	case f.beginning:
		return admin.ListStartOffsets(ctx, topics...)
	case f.time.IsZero():
		return admin.ListEndOffsets(ctx, topics...)
	}
	return admin.ListOffsetsAfterMilli(ctx, f.time.UnixMilli(), topics...)
}

// existing returns those of the topics that exist.
func existing(ctx context.Context, admin *kadm.Client, topics []string) (found []string, err error) {
	details, err := admin.ListTopics(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("look for topics: %w", err)
	}
	for _, topic := range topics {
		switch err := details[topic].Err; {
		case err == nil && len(details[topic].Partitions) > 0:
			found = append(found, topic)
		case err != nil && err != kerr.UnknownTopicOrPartition:
			return nil, fmt.Errorf("look for topic %s: %w", topic, err)
		}
	}
	return found, nil
}
