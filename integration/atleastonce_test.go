package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// Without transactions of Kafka around them, events may come again after the publisher was killed: with the same id, and none is
// missing or, seen for the first time, out of order.
func TestAtLeastOnce(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Start("CREATE TABLE public.ticks (id int PRIMARY KEY, note text);")
	r.Kill(r.publisher)
	start := func() {
		r.publisher = r.process("publish", append(r.publishArgs(), "--delivery", "at-least-once")...)
	}
	start()
	conn := r.dial(r.ProxyURL("postgres", "ticker"))
	defer conn.Close(r.ctx)
	rows, enough, done := 0, make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-enough:
				done <- nil
				return
			default:
			}
			if _, err := conn.Exec(r.ctx, "INSERT INTO public.ticks VALUES ($1, 'a tick')", rows); err != nil {
				done <- err
				return
			}
			rows++
		}
	}()
	for range 4 {
		recorded := len(r.Topic("progress"))
		r.must(harness.Eventually(time.Minute, func(context.Context) error {
			if n := len(r.Topic("progress")); n < recorded+3 {
				return fmt.Errorf("%d positions are recorded, %d were before", n, recorded)
			}
			return nil
		}))
		r.Kill(r.publisher)
		start()
	}
	close(enough)
	r.must(<-done)
	r.Drain()
	r.expectInOrder(rows)
}

// expectInOrder expects the rows from 0 to n, each under an id of its own, in the order in which they are seen first.
func (r *runner) expectInOrder(n int) {
	keys, next := map[string]string{}, 0
	events := r.Events("public.ticks")
	for _, e := range events {
		key, again := keys[e.ID]
		switch {
		case again && key != string(e.Key):
			r.t.Fatalf("event %s is of %s, then of %s", e.ID, key, e.Key)
		case again:
			continue
		case string(e.Key) != fmt.Sprintf(`{"id":%d}`, next):
			r.t.Fatalf("event %s is of %s, want row %d", e.ID, e.Key, next)
		case !e.Pgtee.Verified || e.Pgtee.Via != "proxy":
			r.t.Fatalf("event %s: %+v", e.ID, e.Pgtee)
		}
		keys[e.ID] = string(e.Key)
		next++
	}
	if next != n {
		r.t.Errorf("%d rows, want %d", next, n)
	}
	r.t.Logf("at-least-once rows=%d events=%d", next, len(events))
}
