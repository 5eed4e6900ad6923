package kafka

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// Signals can be sent through a topic too, as with Debezium; then nothing is written to the database. The key of a record is the prefix of the
// publisher that the signal is for, the value is the signal. The offset is part of the progress record that holds the signal's effect, so each
// signal takes effect once.

// signalTopic reads the topic in the background.
type signalTopic struct {
	client  *kgo.Client
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	list []publisher.QueuedSignal
}

// maxQueuedSignals bounds the signals that are read ahead.
const maxQueuedSignals = 64

// maxSignalBatchBytes is the maximum size of a batch after decompression: a few kilobytes can become gigabytes.
const maxSignalBatchBytes = 16 << 20

// signalPause is the delay after a failed read.
const signalPause = 5 * time.Second

// OpenSignals implements SignalLog.
func (l *Log) OpenSignals(ctx context.Context, recorded *snapshot.SignalPlace) (s publisher.Signals, place *snapshot.SignalPlace, err error) {
	c := l.cfg
	client, err := c.signalReader()
	if err != nil {
		return nil, nil, halt.New(halt.ErrKafkaRefused, err.Error(), "correct the Kafka options")
	}
	if place, err = c.signalPlace(ctx, client, recorded); err != nil {
		client.Close()
		return nil, nil, classify(fmt.Errorf("topic of signals: %w", err))
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{c.SignalTopic: {0: kgo.NewOffset().At(place.Next)}})
	t := &signalTopic{client: client}
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.running.Go(func() { t.read(ctx, c.Prefix, c.Log) }) // Close waits for it
	return t, place, nil
}

// signalReader returns a client that receives one batch at a time: all batches of a response are decompressed at once, and a broker sends the first one
// whole, however low the limit is.
func (c Config) signalReader() (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID("pgtee-signals"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(1), kgo.MaxDecompressBatchBytes(maxSignalBatchBytes), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd())}, c.KafkaOptions...)...)
}

// signalPlace creates the topic unless it exists, and returns the offset to start from.
func (c Config) signalPlace(ctx context.Context, client *kgo.Client, recorded *snapshot.SignalPlace) (*snapshot.SignalPlace, error) {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	t, _, err := ensureTopic(ctx, client, c.SignalTopic, 1, c.ReplicationFactor, nil)
	if err != nil {
		return nil, err
	}
	if t.partitions > 1 {
		return nil, halt.New(halt.ErrSignalTopic, fmt.Sprintf("%s has %d partitions, want 1: signals must stay in order", c.SignalTopic, t.partitions), "name another one in --signal-topic")
	}
	if recorded != nil && recorded.Topic == c.SignalTopic {
		return recorded, nil
	}
	ends, err := kadm.NewClient(client).ListCommittedOffsets(ctx, c.SignalTopic)
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(c.SignalTopic, 0)
	return &snapshot.SignalPlace{Topic: c.SignalTopic, Next: max(0, end.Offset)}, end.Err
}

// read reads until ctx ends. The client retries failed requests itself.
func (t *signalTopic) read(ctx context.Context, prefix string, log *zap.Logger) {
	for ctx.Err() == nil {
		fetches := t.client.PollRecords(ctx, maxQueuedSignals)
		fetches.EachError(func(_ string, _ int32, err error) {
			if large, found := errors.AsType[*kgo.ErrDecompressTooLarge](err); found {
				log.Warn("signals are skipped, because their batch is too large; later ones are read", zap.String("finding", "signal-topic-unreadable"), zap.Int64("offset", large.Offset), zap.Int("limit", maxSignalBatchBytes))
				t.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{large.Topic: {large.Partition: {Epoch: large.Epoch, Offset: large.NextOffset}}})
				return
			}
			if ctx.Err() == nil {
				log.Warn("the signal topic cannot be read, but the stream continues; if READ on the topic is missing, grant it", zap.String("finding", "signal-topic-unreadable"), zap.Error(err))
				_ = publisher.Pause(ctx, signalPause)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Key) == prefix {
				t.add(publisher.QueuedSignal{SignalRecord: parseSignal(r), Next: r.Offset + 1})
			}
		})
		for t.full() && publisher.Pause(ctx, time.Second) == nil {
		}
	}
}

// parseSignal parses a record. A value longer than any request can be is refused unread.
func parseSignal(r *kgo.Record) *outbox.SignalRecord {
	id := fmt.Sprintf("kafka-%d", r.Offset)
	if len(r.Value) > snapshot.MaxPendingBytes {
		return &outbox.SignalRecord{ID: id, Refused: fmt.Sprintf("it has %d bytes, more than %d", len(r.Value), snapshot.MaxPendingBytes)}
	}
	s := outbox.ParseSignal(r.Value, "", id)
	return &s
}

func (t *signalTopic) add(s publisher.QueuedSignal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, s)
}

func (t *signalTopic) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.list) >= maxQueuedSignals
}

// Take implements Signals.
func (t *signalTopic) Take() []publisher.QueuedSignal {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.list
	t.list = nil
	return list
}

// Close implements Signals.
func (t *signalTopic) Close() {
	t.cancel()
	t.running.Wait()
	t.client.Close()
}

// SendSignal sends a signal to the publisher of cfg through cfg.SignalTopic, and returns the signal's id, which is generated if it had none.
func SendSignal(ctx context.Context, cfg Config, s *outbox.SignalRecord) (id string, err error) {
	if s.ID == "" {
		var random [6]byte
		rand.Read(random[:])
		s.ID = hex.EncodeToString(random[:])
	}
	value, err := s.Marshal()
	if err != nil {
		return "", err
	}
	if parsed := outbox.ParseSignal(value, "", ""); parsed.Refused != "" {
		return "", errors.New(parsed.Refused)
	}
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...), kgo.RecordDeliveryTimeout(deliverTimeout)}, cfg.KafkaOptions...)...)
	if err != nil {
		return "", err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	record := &kgo.Record{Topic: cfg.SignalTopic, Key: []byte(cfg.Prefix), Value: value}
	err = client.ProduceSync(ctx, record).FirstErr()
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return "", fmt.Errorf("topic %s does not exist: start the publisher with --signal-topic %s, which creates it", cfg.SignalTopic, cfg.SignalTopic)
	}
	if err != nil {
		return "", fmt.Errorf("topic %s: %w", cfg.SignalTopic, err)
	}
	return s.ID, nil
}
