package kafka

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
)

// Fence implements Log.
func (l *Log) Fence(ctx context.Context, source outbox.System) (*publisher.Position, error) {
	l.Close()
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	client, err := l.connect()
	if err != nil {
		return nil, halt.New(halt.ErrKafkaRefused, err.Error(), "correct the Kafka options")
	}
	position, err := l.takeOver(ctx, client, source)
	if err != nil {
		err = classify(l.explain(context.WithoutCancel(ctx), client, err))
		client.Close()
		return nil, err
	}
	if l.events, err = l.connectEvents(client); err != nil {
		client.Close()
		return nil, halt.New(halt.ErrKafkaRefused, err.Error(), "correct the Kafka options")
	}
	l.client, l.known = client, map[string]*brokerTopic{}
	if err := l.checkDurableProgress(ctx); err != nil {
		l.Close()
		return nil, err
	}
	return position, nil
}

// takeOver shuts out every other holder of the transactional id before it reads, so that no predecessor can write another position
// afterwards.
func (l *Log) takeOver(ctx context.Context, client *kgo.Client, source outbox.System) (*publisher.Position, error) {
	if err := l.ensureProgressTopic(ctx, client); err != nil {
		return nil, err
	}
	if _, _, err := client.ProducerID(ctx); err != nil {
		return nil, fmt.Errorf("producer id: %w", err)
	}
	own, others, err := readPositions(ctx, client, l.topics.Progress, l.cfg.TransactionalID())
	if err != nil {
		return nil, err
	}
	l.others, l.stale = others, nil
	if own.Position == nil {
		return l.inherit(ctx, client, formerIDs(others, l.cfg.Slot, source))
	}
	return own.Position, nil
}

// connect creates the client for the position and, unless AtLeastOnce is chosen, the events.
func (l *Log) connect() (*kgo.Client, error) {
	return l.connectWith(
		kgo.TransactionalID(l.cfg.TransactionalID()),
		kgo.TransactionTimeout(l.cfg.TransactionTimeout),
		kgo.ConcurrentTransactionsBackoff(time.Millisecond))
}

// connectEvents returns the client for events, given the transactional one.
func (l *Log) connectEvents(client *kgo.Client) (*kgo.Client, error) {
	if l.cfg.Delivery == AtLeastOnce {
		return l.connectWith()
	}
	return client, nil
}

// connectWith creates a client. Two settings were chosen by measurement: a linger, which Flush ignores, so that records which arrive one by one from
// the decoder are batched; and the transaction protocol before KIP-890 (V3_9_0, with the short backoff of connect), because with the newer one each
// transaction waits up to 20 ms for the one before it.
func (l *Log) connectWith(own ...kgo.Opt) (*kgo.Client, error) {
	options := append([]kgo.Opt{
		kgo.SeedBrokers(l.cfg.Brokers...),
		kgo.ClientID("pgtee-publisher"),
		kgo.RecordDeliveryTimeout(min(deliverTimeout, l.cfg.TransactionTimeout/2)),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(20 * time.Millisecond),
		kgo.MaxBufferedRecords(math.MaxInt32), // maxFlights limits them instead
		kgo.WithCompressor(newCompressor()),
		kgo.ProducerBatchMaxBytesFn(l.batchBytes),
		kgo.RecordPartitioner(partitioner()),
		kgo.MaxVersions(kversion.V3_9_0()),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, l.cfg.KafkaOptions...)
	return kgo.NewClient(append(options, own...)...)
}
