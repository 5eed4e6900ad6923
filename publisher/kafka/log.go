// Package kafka is the publisher.Log of a Kafka cluster: it fences, sends, commits, reads the position back, and creates the topics.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	fenceTimeout   = 30 * time.Second
	deliverTimeout = 30 * time.Second // of one record
	commitTimeout  = time.Minute
	abortTimeout   = 5 * time.Second
)

// Log implements publisher.Log for a Kafka cluster. Each Fence creates a new client, and any error closes it: the state of a client whose
// transaction failed is never used again.
//
// With AtLeastOnce, events go through a second client without transactions. The position follows, alone in its transaction, once they are
// acknowledged. A predecessor can no longer write a position; events that it still writes are published again anyway.
type Log struct {
	cfg    Config
	topics record.Topics
	client *kgo.Client                   // transactional; nil: not fenced
	events *kgo.Client                   // for events: the same client, or one without transactions
	begun  bool                          // a transaction is open
	known  map[string]*brokerTopic       // topics, as queried since the last fence
	others map[string]publisher.Position // positions of other slots with this prefix, by key of the progress record
	stale  []string                      // keys of progress records to delete with the next position

	keyed         map[string]bool         // topics that have refused records without a key
	rejected      map[string]*brokerTopic // topics of events that have refused their records
	largest       sync.Map                // topic -> maximum bytes of a batch (int32), if less than configured
	warned        map[string]bool         // warnings about topics without durability that have been logged
	checkedTopics bool                    // the topics of positions and transactions have been checked
	inFlight      []*flight               // sent and not acknowledged yet, oldest first
	spare         []*flight               // acknowledged: available for reuse
}

func newLog(cfg Config) *Log {
	return &Log{cfg: cfg, topics: record.TopicsOf(cfg.Prefix), keyed: map[string]bool{}, rejected: map[string]*brokerTopic{}, warned: map[string]bool{}}
}

// Find implements Neighbours.
func (l *Log) Find(ctx context.Context, topics ...string) (map[string]bool, error) {
	found, err := findTopics(ctx, l.client, topics...)
	if err != nil {
		return nil, classify(fmt.Errorf("look for topics: %w", err))
	}
	there := map[string]bool{}
	for topic := range found {
		there[topic] = true
	}
	return there, nil
}

// Others implements Neighbours.
func (l *Log) Others() map[string]publisher.Position { return l.others }

// Evict implements Neighbours.
func (l *Log) Evict(keys []string) { l.stale = append(l.stale, keys...) }

// maxFlights bounds the batches in flight while the next one is composed. The last records of each batch linger in the client until more
// follow, so with only two the client would have nothing to send in between.
const maxFlights = 4

// maxInFlightBytes bounds the records in flight, unless a single batch exceeds it: one record may be 90 MB.
const maxInFlightBytes = 16 << 20

// Send implements Log.
func (l *Log) Send(ctx context.Context, b *record.Batch) error {
	if err := l.send(ctx, l.events, b); err != nil {
		return err
	}
	for len(l.inFlight) >= maxFlights || len(l.inFlight) > 1 && l.inFlightBytes() > maxInFlightBytes {
		if err := l.awaitOldest(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) inFlightBytes() (n int) {
	for _, f := range l.inFlight {
		n += f.batch.Bytes()
	}
	return n
}

// deliver sends the batch and the records in more, and waits until Kafka has acknowledged everything in flight.
func (l *Log) deliver(ctx context.Context, client *kgo.Client, b *record.Batch, more ...kgo.Record) error {
	if err := l.send(ctx, client, b, more...); err != nil {
		return err
	}
	if err := client.Flush(ctx); err != nil {
		l.Close()
		return classify(l.explain(ctx, l.client, fmt.Errorf("flush: %w", err)))
	}
	for len(l.inFlight) > 0 {
		if err := l.awaitOldest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Publish implements Log.
func (l *Log) Publish(ctx context.Context, b *record.Batch, p publisher.Position) error {
	value, err := p.Marshal()
	if err != nil {
		return err
	}
	if l.cfg.Delivery == AtLeastOnce { // the position must not be ahead of the events
		if err := l.deliver(ctx, l.events, b); err != nil {
			return err
		}
		b = &record.Batch{}
	}
	more := []kgo.Record{{Topic: l.topics.Progress, Key: []byte(l.cfg.TransactionalID()), Value: value}}
	for _, key := range l.stale {
		more = append(more, kgo.Record{Topic: l.topics.Progress, Key: []byte(key)})
	}
	if err := l.deliver(ctx, l.client, b, more...); err != nil {
		return err
	}
	// The records have been sent: a shutdown must not leave it open whether they are committed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if err := l.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		l.disconnect()
		return classify(fmt.Errorf("commit: %w", err))
	}
	l.begun, l.stale = false, nil
	return nil
}

// send produces the records of the batch, followed by those in more. With the transactional client they join the open transaction, or begin one. The batch
// is empty afterwards.
func (l *Log) send(ctx context.Context, client *kgo.Client, b *record.Batch, more ...kgo.Record) error {
	if l.client == nil {
		return errors.New("not fenced")
	}
	if err := l.ensureTopics(ctx, b); err != nil {
		return classify(l.explain(ctx, l.client, err))
	}
	if client == l.client && !l.begun {
		if err := l.client.BeginTransaction(); err != nil {
			l.Close()
			return classify(fmt.Errorf("begin: %w", err))
		}
		l.begun = true
	}
	f := &flight{}
	if n := len(l.spare); n > 0 {
		f, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	if err := f.fill(ctx, b, l.known, more); err != nil {
		l.Close()
		return err
	}
	l.inFlight = append(l.inFlight, f)
	for i := range f.records {
		client.Produce(ctx, &f.records[i], f.acknowledged)
	}
	return nil
}

// awaitOldest waits until Kafka has acknowledged all records of the oldest flight.
func (l *Log) awaitOldest(ctx context.Context) error {
	f := l.inFlight[0]
	if topic, err := f.wait(ctx); err != nil {
		err = l.refusedRecords(ctx, f, topic, l.explain(ctx, l.client, err))
		l.Close()
		return err
	}
	f.batch.Reset()
	l.inFlight, l.spare = append(l.inFlight[:0], l.inFlight[1:]...), append(l.spare, f)
	return nil
}

// Close implements publisher.Log. It aborts the open transaction, rather than leaving that to the next Fence or to the transaction timeout,
// because read_committed consumers wait for the end of the transaction.
func (l *Log) Close() {
	if l.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), abortTimeout)
	defer cancel()
	if l.client.AbortBufferedRecords(ctx) == nil {
		_ = l.client.EndTransaction(ctx, kgo.TryAbort) // if it fails, the next Fence aborts
	}
	l.disconnect()
}

func (l *Log) disconnect() {
	l.client.Close()
	if l.events != l.client {
		l.events.Close()
	}
	l.client, l.events, l.inFlight, l.spare, l.begun = nil, nil, nil, nil, false
}
