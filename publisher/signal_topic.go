package publisher

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
)

// Signals come through a topic, too, as Debezium's do: for them nothing is written into the database. The value of a record is a
// signal, its key the prefix of the publisher that is to obey it; others leave it alone. How far the topic is read is in the
// progress record that has what came of it, so each signal is obeyed once.

// SignalPlace is how far the topic of signals is read.
type SignalPlace struct {
	Topic string `json:"topic"`
	Next  int64  `json:"next"` // offset
}

// queuedSignal is one that was read and not obeyed yet.
type queuedSignal struct {
	*outbox.SignalRecord
	next int64 // offset behind it
}

// signalTopic reads the topic in the background, from a place on.
type signalTopic struct {
	client  *kgo.Client
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu   sync.Mutex
	list []queuedSignal
}

// maxQueuedSignals bounds those that are read ahead.
const maxQueuedSignals = 64

// signalPause is how long to wait after the topic could not be read.
const signalPause = 5 * time.Second

// openSignals reads from the recorded place on; the first time, what comes from now on.
func (c Config) openSignals(ctx context.Context, recorded *Snapshots) (t *signalTopic, place *SignalPlace, err error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Brokers...), kgo.ClientID("pgtee-signals"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(4 << 20), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd())}, c.KafkaOptions...)...)
	if err != nil {
		return nil, nil, &Halt{ErrKafkaRefused, err.Error(), "correct the Kafka options"}
	}
	if place, err = c.signalPlace(ctx, client, recorded); err != nil {
		client.Close()
		return nil, nil, classify(fmt.Errorf("topic of signals: %w", err))
	}
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{c.SignalTopic: {0: kgo.NewOffset().At(place.Next)}})
	t = &signalTopic{client: client}
	ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.running.Go(func() { t.read(ctx, c.Prefix, c.Log) }) // close waits for it
	return t, place, nil
}

// signalPlace makes the topic unless it exists.
func (c Config) signalPlace(ctx context.Context, client *kgo.Client, recorded *Snapshots) (*SignalPlace, error) {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	t, _, err := ensureTopic(ctx, client, c.SignalTopic, 1, c.ReplicationFactor, nil)
	if err != nil {
		return nil, err
	}
	if t.partitions > 1 {
		return nil, &Halt{ErrSignalTopic, fmt.Sprintf("%s has %d partitions, want 1: signals have an order", c.SignalTopic, t.partitions), "name another one in --signal-topic"}
	}
	if recorded != nil && recorded.Signals != nil && recorded.Signals.Topic == c.SignalTopic {
		return recorded.Signals, nil
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, c.SignalTopic)
	if err != nil {
		return nil, err
	}
	end, _ := ends.Lookup(c.SignalTopic, 0)
	return &SignalPlace{c.SignalTopic, max(0, end.Offset)}, end.Err
}

// read reads until ctx ends; the client tries again by itself what fails.
func (t *signalTopic) read(ctx context.Context, prefix string, log *zap.Logger) {
	for ctx.Err() == nil {
		fetches := t.client.PollRecords(ctx, maxQueuedSignals)
		fetches.EachError(func(_ string, _ int32, err error) {
			if ctx.Err() == nil {
				log.Warn("the topic of signals cannot be read, the stream goes on; grant READ on it if that is missing", zap.Error(err))
				_ = pause(ctx, signalPause)
			}
		})
		fetches.EachRecord(func(r *kgo.Record) {
			if string(r.Key) == prefix {
				t.add(queuedSignal{parseSignal(r), r.Offset + 1})
			}
		})
		for t.full() && pause(ctx, time.Second) == nil {
		}
	}
}

// parseSignal reads a record; what is longer than any request may be is refused unread.
func parseSignal(r *kgo.Record) *outbox.SignalRecord {
	id := fmt.Sprintf("kafka-%d", r.Offset)
	if len(r.Value) > maxPendingBytes {
		return &outbox.SignalRecord{ID: id, Refused: fmt.Sprintf("it has %d bytes, more than %d", len(r.Value), maxPendingBytes)}
	}
	s := outbox.ParseSignal(r.Value, "", id)
	return &s
}

func (t *signalTopic) add(s queuedSignal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.list = append(t.list, s)
}

func (t *signalTopic) full() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.list) >= maxQueuedSignals
}

// take empties the queue.
func (t *signalTopic) take() []queuedSignal {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.list
	t.list = nil
	return list
}

func (t *signalTopic) close() {
	t.cancel()
	t.running.Wait()
	t.client.Close()
}

// readSignals begins to read the topic, if there is one. What was read before and is not in the progress record comes again.
func (p *Publisher) readSignals(ctx context.Context) (err error) {
	state := p.copier.state
	if p.cfg.SignalTopic == "" {
		return nil
	}
	var place *SignalPlace
	if p.signals, place, err = p.cfg.openSignals(ctx, state); err != nil {
		return err
	}
	p.copier.dirty = p.copier.dirty || state.Signals == nil || *state.Signals != *place
	state.Signals = place
	return nil
}

func (p *Publisher) closeSignals() {
	if p.signals != nil {
		p.signals.close()
		p.signals = nil
	}
}

// obeySignals has what came through the topic carried out, for the next progress record.
func (p *Publisher) obeySignals() error {
	if p.signals == nil {
		return nil
	}
	for _, s := range p.signals.take() {
		if err := p.signal(s.SignalRecord); err != nil {
			return err
		}
		p.copier.state.Signals = &SignalPlace{p.cfg.SignalTopic, s.next}
		p.copier.dirty = true
	}
	return nil
}

// SendSignal asks the publisher of cfg for something through cfg.SignalTopic, and returns the signal's id, a new one if it had none.
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
		return "", fmt.Errorf("there is no topic %s: start the publisher with --signal-topic %s, it makes the topic", cfg.SignalTopic, cfg.SignalTopic)
	}
	if err != nil {
		return "", fmt.Errorf("topic %s: %w", cfg.SignalTopic, err)
	}
	return s.ID, nil
}
