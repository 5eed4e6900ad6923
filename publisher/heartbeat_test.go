package publisher

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
)

type beatingFormat struct{ tableFormat }

func (beatingFormat) AppendHeartbeat(ctx context.Context, b *record.Batch) error {
	start := len(b.Buf)
	b.Buf = append(b.Buf, "alive"...)
	b.AddWithoutID("heartbeat", record.Null, start)
	return nil
}

// TestHeartbeat: a quiet publisher says at every interval that it is alive, and nothing else.
func TestHeartbeat(t *testing.T) {
	for interval, want := range map[time.Duration]int{0: 0, time.Second: 61, 25 * time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			log, source := &memoryLog{}, listOf(&outbox.Transaction{EndLSN: 100})
			config := testConfig()
			config.Heartbeat = interval
			p := newPublisher(config, func(context.Context) (Source, error) { return source, nil }, log, beatingFormat{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute+time.Millisecond)
			defer cancel()
			if err := p.Run(ctx); err != nil {
				t.Fatal(err)
			}
			if log.events != want || log.recorded.EndLSN != 100 {
				t.Errorf("every %s: %d records, want %d; position %s", interval, log.events, want, log.recorded.EndLSN)
			}
		})
	}
}

// slowLog takes longer for a record than the time to the next heartbeat.
type slowLog struct{ *memoryLog }

func (l slowLog) Publish(ctx context.Context, b *record.Batch, p Position) error {
	time.Sleep(2 * time.Millisecond)
	return l.memoryLog.Publish(ctx, b, p)
}

// goneSource is a stream that is gone.
type goneSource struct {
	*listSource
	err error
}

func (s goneSource) Next(context.Context, int) ([]*outbox.Transaction, error) { return nil, s.err }
func (s goneSource) Err() error                                               { return s.err }

// TestHeartbeatHidesNoLoss: a publisher whose heartbeats are always due sees that its stream is gone, whatever it
// died of.
func TestHeartbeatHidesNoLoss(t *testing.T) {
	for _, err := range []error{errors.New("gone"), fmt.Errorf("read: %w", context.DeadlineExceeded)} {
		synctest.Test(t, func(t *testing.T) {
			sources := []Source{goneSource{listOf(), err}, listOf(rowAt(100))}
			config := testConfig()
			config.Heartbeat = time.Millisecond
			open := func(context.Context) (source Source, err error) {
				source, sources = sources[0], sources[1:]
				return source, nil
			}
			log := &memoryLog{}
			p := newPublisher(config, open, slowLog{log}, beatingFormat{})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if err := p.Run(ctx); err != nil || log.recorded.EndLSN != 100 {
				t.Errorf("%v; position %s", err, log.recorded.EndLSN)
			}
		})
	}
}
