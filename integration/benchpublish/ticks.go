package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
)

const tickTable = "CREATE TABLE ticks (id bigint, part int, note text NOT NULL, PRIMARY KEY (id, part))"

// tick is a small transaction: three rows.
const tick = "INSERT INTO ticks SELECT $1, i, 'tick' FROM generate_series(1, 3) AS i"

// watcher is a read_committed consumer that records when it first saw each tick.
type watcher struct {
	client   *kgo.Client
	progress string // topic that gets one record per Kafka transaction

	mu           sync.Mutex
	seen         map[int64]time.Time
	transactions int // number of Kafka transactions
}

func (b *bench) watch(prefix string) (*watcher, error) {
	w := &watcher{progress: prefix + ".progress", seen: map[int64]time.Time{}}
	client, err := kgo.NewClient(kgo.SeedBrokers(b.broker.Address), kgo.ConsumeTopics(prefix+".public.ticks", w.progress),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(time.Second))
	if err != nil {
		return nil, err
	}
	w.client = client
	b.World.OnClose(func() error { client.Close(); return nil })
	go w.poll(b.ctx) // ends when the client is closed
	return w, nil
}

func (w *watcher) poll(ctx context.Context) {
	for {
		fetches := w.client.PollFetches(ctx)
		if fetches.IsClientClosed() {
			return
		}
		now := time.Now()
		w.mu.Lock()
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Topic == w.progress {
				w.transactions++
				return
			}
			var id int64
			if _, err := fmt.Sscanf(string(r.Key), `{"id":%d,`, &id); err == nil && w.seen[id].IsZero() {
				w.seen[id] = now
			}
		})
		w.mu.Unlock()
	}
}

func (w *watcher) kafkaTransactions() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.transactions
}

// ticks is a series of ticks at a steady rate: when they were committed, and seen.
type ticks struct {
	rate      int
	first     int64
	committed []time.Time
	seen      []time.Time
}

// writeTicks writes n ticks at this rate, each at its time even if earlier ones have not completed, as far as there are connections, and waits until
// all are visible.
func (b *bench) writeTicks(w *watcher, rate, n int) (*ticks, error) {
	t := &ticks{rate: rate, first: b.nextTick, committed: make([]time.Time, n), seen: make([]time.Time, n)}
	b.nextTick += int64(n)
	writers := min(max(rate/100, 1), 8)
	errs := make([]error, writers)
	start := time.Now()
	var running sync.WaitGroup
	for i := range writers {
		running.Go(func() { errs[i] = b.writeShare(t, start, i, writers) })
	}
	running.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return t, harness.Eventually(time.Minute, func(context.Context) error { return w.fill(t) })
}

// writeShare writes every step-th tick, starting with from.
func (b *bench) writeShare(t *ticks, start time.Time, from, step int) error {
	conn, err := pgx.Connect(b.ctx, b.Server.URL(ticksDatabase))
	if err != nil {
		return err
	}
	defer conn.Close(b.ctx)
	for i := from; i < len(t.committed); i += step {
		time.Sleep(time.Until(start.Add(time.Duration(i) * time.Second / time.Duration(t.rate))))
		if _, err := conn.Exec(b.ctx, tick, t.first+int64(i)); err != nil {
			return err
		}
		t.committed[i] = time.Now()
	}
	return nil
}

// fill records when the ticks were seen; it returns an error if some were not.
func (w *watcher) fill(t *ticks) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range t.seen {
		seen, ok := w.seen[t.first+int64(i)]
		if !ok {
			return fmt.Errorf("tick %d of %d is not visible", i, len(t.seen))
		}
		t.seen[i] = seen
	}
	return nil
}

// delays returns the milliseconds from commit to visible, starting with a tick. A consumer may see a tick before the client learns of the commit.
func (t *ticks) delays(from int) []float64 {
	var delays []float64
	for i := from; i < len(t.seen); i++ {
		delays = append(delays, max(0, milliseconds(t.seen[i].Sub(t.committed[i]))))
	}
	return delays
}

// silence returns the longest time in which no further tick became visible.
func (t *ticks) silence() time.Duration {
	var longest time.Duration
	for i := 1; i < len(t.seen); i++ {
		longest = max(longest, t.seen[i].Sub(t.seen[i-1]))
	}
	return longest
}
