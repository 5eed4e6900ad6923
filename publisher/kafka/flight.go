package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kgo"
)

// flight is a batch that was given to Kafka's client and may not be acknowledged by the brokers yet. Its memory is reused afterwards.
type flight struct {
	batch   record.Batch // memory of the records
	records []kgo.Record
	headers []kgo.RecordHeader // of the records, one after the other

	done chan struct{} // closed by the last acknowledgement or error

	mu      sync.Mutex
	waiting int    // records not yet acknowledged or failed
	err     error  // the first error
	topic   string // topic of the first error
}

// fill takes over the records of a batch, followed by those in more. The batch receives the memory of f in exchange. topics describes their topics.
func (f *flight) fill(ctx context.Context, b *record.Batch, topics map[string]*brokerTopic, more []kgo.Record) error {
	f.batch.Swap(b)
	f.records, f.headers = record.Recycle(f.records), record.Recycle(f.headers)
	for _, r := range f.batch.Records() {
		out := kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: f.copyHeaders(r.Headers)}
		if r.First {
			out.Partition = inPartition(0)
		}
		if r.Key != nil {
			f.records = append(f.records, out)
			continue
		}
		if err := f.fillKeyless(ctx, out, r.Everywhere, topics[r.Topic], b.StandIn); err != nil {
			return err
		}
	}
	f.records = append(f.records, more...)
	f.waiting, f.done, f.err, f.topic = len(f.records), make(chan struct{}), nil, ""
	if f.waiting == 0 {
		close(f.done)
	}
	return nil
}

// copyHeaders copies headers into the memory of the flight. Slices that it returned earlier stay valid when that memory grows.
func (f *flight) copyHeaders(headers []record.Header) []kgo.RecordHeader {
	first := len(f.headers)
	for _, h := range headers {
		f.headers = append(f.headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return f.headers[first:len(f.headers):len(f.headers)]
}

// fillKeyless adds a record without a key. It goes to partition 0, or to every partition. In a compacted topic Kafka requires a key, so the record
// gets a unique one.
func (f *flight) fillKeyless(ctx context.Context, r kgo.Record, everywhere bool, topic *brokerTopic, standIn record.StandInKeys) error {
	if topic == nil {
		topic = &brokerTopic{}
	}
	copies := 1
	if everywhere {
		copies = max(1, topic.partitions)
	}
	for partition := range copies {
		part := r
		part.Partition = inPartition(partition)
		id := eventIDOf(r.Headers)
		if partition > 0 {
			id = append(slices.Clip(id), "."+strconv.Itoa(partition)...)
			part.Headers = slices.Clone(r.Headers)
			for i, h := range part.Headers {
				if h.Key == record.EventIDHeader {
					part.Headers[i].Value = id
				}
			}
		}
		if topic.compacted {
			var err error
			if part.Key, err = standInKey(ctx, standIn, id); err != nil {
				return err
			}
		}
		f.records = append(f.records, part)
	}
	return nil
}

func standInKey(ctx context.Context, standIn record.StandInKeys, eventID []byte) ([]byte, error) {
	if standIn == nil {
		return eventID, nil
	}
	key, err := standIn.AppendStandInKey(ctx, nil, eventID)
	if err != nil {
		return nil, record.Unencoded("the key of a record without one", err)
	}
	return key, nil
}

// eventIDOf returns the event id among the headers of a record, or nil if there is none.
func eventIDOf(headers []kgo.RecordHeader) []byte {
	for _, h := range headers {
		if h.Key == record.EventIDHeader {
			return h.Value
		}
	}
	return nil
}

// acknowledged is the promise of each record. The client's goroutines call it.
func (f *flight) acknowledged(r *kgo.Record, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.err == nil {
		f.err, f.topic = fmt.Errorf("produce to %s: %w", r.Topic, err), r.Topic
	}
	if f.waiting--; f.waiting == 0 {
		close(f.done)
	}
}

// wait waits until every record is acknowledged or has failed, and returns the first error with its topic.
func (f *flight) wait(ctx context.Context) (topic string, err error) {
	select {
	case <-f.done:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.topic, f.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// hasEvents reports whether the application's events are what the flight sends to a topic.
func (f *flight) hasEvents(topic string) bool {
	for i := range f.batch.Len() {
		if f.batch.Topic(i) == topic {
			return f.batch.IsEvent(i)
		}
	}
	return false
}
