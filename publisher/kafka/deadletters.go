package kafka

import (
	"context"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// DeadLetters returns about how many records the dead-letter topic holds; 0 if there is none.
func DeadLetters(ctx context.Context, cfg Config) (int64, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, cfg.KafkaOptions...)...)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	topic, admin := record.TopicsOf(cfg.Prefix).DeadLetter, kadm.NewClient(client)
	if found, err := findTopics(ctx, client, topic); err != nil || found[topic] == nil {
		return 0, err
	}
	starts, err := admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	var n int64
	ends.Each(func(end kadm.ListedOffset) {
		if start, known := starts.Lookup(topic, end.Partition); known && start.Err == nil && end.Err == nil {
			n += end.Offset - start.Offset
		}
	})
	return n, nil
}
