package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// diagnosisTimeout bounds the requests that look for the cause of a timeout.
const diagnosisTimeout = 5 * time.Second

// explain adds the cause to a timeout by asking Kafka: the client retries internally and does not report why.
func (l *Log) explain(ctx context.Context, client *kgo.Client, err error) error {
	if errors.Is(err, io.EOF) {
		return &Refusal{err, "if this lasts, check that --kafka-tls and --kafka-sasl match the listener"}
	}
	_, answered := reactionTo(err)
	silent := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrRecordTimeout) || errors.Is(err, kgo.ErrRecordRetries)
	if answered || !silent || ctx.Err() != nil || client == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, diagnosisTimeout)
	defer cancel()
	if why := l.diagnose(ctx, kadm.NewClient(client)); why != nil {
		return fmt.Errorf("%w: %w", err, why)
	}
	return err
}

func (l *Log) diagnose(ctx context.Context, admin *kadm.Client) error {
	topics := []string{l.topics.Progress}
	for topic := range l.known {
		topics = append(topics, topic)
	}
	slices.Sort(topics)
	found, err := admin.ListTopics(ctx, slices.Compact(topics)...)
	if err != nil {
		return err
	}
	for _, topic := range found.Sorted() {
		for _, p := range topic.Partitions.Sorted() {
			if why := l.whyUnavailable(p); why != nil {
				return fmt.Errorf("partition %d of topic %s: %w", p.Partition, topic.Topic, why)
			}
		}
	}
	coordinators := admin.FindTxnCoordinators(ctx, l.cfg.TransactionalID())
	for _, c := range coordinators {
		if c.Err != nil {
			return fmt.Errorf("coordinator of transactions: %w; check that topic __transaction_state has its replicas (transaction.state.log.replication.factor, transaction.state.log.min.isr)", withMessage(c.Err, c.ErrMessage))
		}
	}
	return nil
}

// whyUnavailable returns why a partition accepts no records; nil if it does.
func (l *Log) whyUnavailable(p kadm.PartitionDetail) error {
	known := l.known[p.Topic]
	switch {
	case p.Err != nil:
		return p.Err
	case p.Leader < 0:
		return fmt.Errorf("it has no leader: %w", kerr.LeaderNotAvailable)
	case known != nil && len(p.ISR) < known.inSync:
		return fmt.Errorf("%d of its replicas are in sync, min.insync.replicas is %d: %w", len(p.ISR), known.inSync, kerr.NotEnoughReplicas)
	}
	return nil
}
