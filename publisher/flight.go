package publisher

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// flight is a batch whose records Kafka's client has taken and the brokers may not have confirmed. It is used
// again after it has landed.
type flight struct {
	batch   Batch // memory of the records
	records []kgo.Record

	done chan struct{} // closed by the last answer

	mu      sync.Mutex
	waiting int   // records without an answer
	err     error // the first
}

// board takes the records of a batch, then more. The batch gets the memory that f has had, if any.
func (f *flight) board(b *Batch, more []kgo.Record) {
	f.batch.swap(b)
	f.records = recycle(f.records)
	for _, r := range f.batch.Records() {
		f.records = append(f.records, kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value, Headers: r.Headers})
	}
	f.records = append(f.records, more...)
	f.waiting, f.done = len(f.records), make(chan struct{})
	if f.waiting == 0 {
		close(f.done)
	}
}

// landed notes what became of a record. The client's goroutines call it.
func (f *flight) landed(r *kgo.Record, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("produce to %s: %w", r.Topic, err)
	}
	if f.waiting--; f.waiting == 0 {
		close(f.done)
	}
}

// wait waits for the answers to all records, and returns the first that is an error.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
