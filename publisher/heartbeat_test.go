package publisher

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

type beatingFormat struct{ tableFormat }

func (beatingFormat) AppendHeartbeat(b *Batch) error {
	start := len(b.Buf)
	b.Buf = append(b.Buf, "alive"...)
	b.AddWithoutID("heartbeat", Null, start)
	return nil
}

// TestHeartbeat: a quiet publisher says at every interval that it is alive, and nothing else.
func TestHeartbeat(t *testing.T) {
	for interval, want := range map[time.Duration]int{0: 0, time.Second: 61, 25 * time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			log, source := &memoryLog{}, listOf(&outbox.Transaction{EndLSN: 100})
			config := testConfig(nil)
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
