package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
)

// trailTimeout bounds the time that reading the audit topic takes.
const trailTimeout = 5 * time.Minute

// Trail implements Trails.
func (l *Log) Trail(ctx context.Context, back outbox.LSN, names []string) (*publisher.Trail, error) {
	ctx, cancel := context.WithTimeout(ctx, trailTimeout)
	defer cancel()
	t := publisher.NewTrail()
	topic := l.topics.Audit
	details, err := kadm.NewClient(l.client).ListTopics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", topic, err)
	}
	if !details.Has(topic) || errors.Is(details[topic].Err, kerr.UnknownTopicOrPartition) {
		return &publisher.Trail{}, nil
	}
	for _, partition := range details[topic].Partitions.Sorted() {
		r := tailReader{client: l.client, topic: topic, partition: partition.Partition}
		if err := r.locate(ctx); err != nil {
			return nil, fmt.Errorf("locate %s: %w", topic, err)
		}
		if err := readTrail(ctx, t, &r, back, names); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
	}
	return t, nil
}

// readTrail reads one partition, which is in commit order, backwards in windows.
func readTrail(ctx context.Context, t *publisher.Trail, r *tailReader, back outbox.LSN, names []string) error {
	window := int64(firstWindow)
	for to := r.end; ; window *= 2 {
		if to == r.start {
			t.Whole = t.Whole && r.start == 0
			return nil
		}
		if t.Full() {
			t.Whole = false
			return nil
		}
		from, reached := max(r.start, to-window), false
		err := r.each(ctx, from, to, func(record *kgo.Record) {
			end := t.Add(record.Value, names)
			reached = reached || end != 0 && end <= back
		})
		if err != nil || reached {
			return err
		}
		to = from
	}
}
