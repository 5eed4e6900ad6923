package apply

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Event is a record at its place in the order of the source.
type Event struct {
	Record     *kgo.Record
	ID         []byte // pgtee-event-id
	Key, Value []byte // JSON, without framing and schema; no key: nil
	Commit     LSN    // commit LSN of its transaction; for a row read by a snapshot, that of the last transaction before it
	Snapshot   bool   // it is a row read by a snapshot, which is not part of a transaction
}

// Events returns the rows and DDL in the topics of a publisher, in the order of the source's commits, and only whole transactions. It must be used by
// one goroutine at a time.
type Events struct {
	cfg    Config
	first  *progress
	feed   feed
	mark   *progress // nil: none received yet
	head   event     // the event returned by Next, until the next call
	isSet  bool      // head is set
	failed chan error
	idle   bool // Next has reported that everything before the mark was taken
	tick   *time.Ticker

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Read continues after a mark; the zero mark is the start of the topics. What committed before begins is left out, wherever its records are.
func Read(ctx context.Context, cfg Config, from Mark, begins LSN) (*Events, error) {
	cfg.archiving = true
	w, first, err := cfg.watch(ctx)
	if err != nil {
		return nil, err
	}
	p := from.position()
	if err := cfg.check(&p, first); err != nil {
		w.client.Close()
		return nil, err
	}
	s, err := cfg.open(first, &p)
	if err != nil {
		w.client.Close()
		return nil, err
	}
	s.begins = begins
	e := &Events{cfg: cfg, first: first, feed: feed{s, w.out, make(chan kgo.Fetches)}, failed: make(chan error, 2), tick: time.NewTicker(idleTick)}
	ctx, e.cancel = context.WithCancel(ctx)
	e.running.Go(func() { e.failed <- w.run(ctx, first) })
	e.running.Go(func() { e.failed <- s.poll(ctx, e.feed.fetched) })
	return e, nil
}

// Newest returns a mark at the current position of the publisher. Its offsets are those at which the topics begin now: no later record precedes them.
func Newest(ctx context.Context, cfg Config) (Mark, error) {
	w, first, err := cfg.watch(ctx)
	if err != nil {
		return Mark{}, err
	}
	defer w.client.Close()
	m := Mark{EndLSN: first.EndLSN, Timeline: first.Timeline, SystemID: first.SystemID, Database: first.Database, Slot: first.Slot, Cuts: first.Cuts}
	topics, _, err := w.topics(ctx)
	if err != nil || len(topics) == 0 {
		return m, err
	}
	m.Offsets, m.Topics = map[string][]int64{}, map[string]string{}
	var names []string
	for _, t := range topics {
		names = append(names, t.name)
		m.Offsets[t.name], m.Topics[t.name] = make([]int64, len(t.partitions)), t.id
	}
	starts, err := w.admin.ListStartOffsets(ctx, names...)
	if err = errors.Join(err, starts.Error()); err != nil {
		return m, fmt.Errorf("where the topics of %s begin: %w", cfg.Prefix, err)
	}
	starts.Each(func(o kadm.ListedOffset) {
		if list := m.Offsets[o.Topic]; int(o.Partition) < len(list) {
			list[o.Partition] = o.Offset
		}
	})
	return m, nil
}

// idleTick is how often Next returns without an event while there is none.
const idleTick = time.Second

// Next returns the next event, valid until the next call. It returns false if there is no event now and everything before Mark was taken: once for
// each watermark reached, and then about once a second.
func (e *Events) Next(ctx context.Context) (next Event, ok bool, err error) {
	s := e.feed.source
	for {
		if next, ok, err = e.at(ctx); ok || err != nil {
			return next, ok, err
		}
		if e.mark != nil && s.drained() && !e.idle {
			e.idle = true
			return next, false, nil
		}
		s.throttle()
		select {
		case <-ctx.Done():
			return next, false, ctx.Err()
		case err := <-e.failed:
			return next, false, err
		case mark := <-e.feed.marks:
			e.idle = e.idle && mark.EndLSN == e.mark.EndLSN
			e.mark = &mark.progress
			err = s.advance(&mark)
		case fetches := <-e.feed.fetched:
			err = s.add(fetches)
		case <-e.tick.C:
			e.idle = false
		}
		if err != nil {
			return next, false, err
		}
	}
}

// at takes the event that Next returned last and returns the next one.
func (e *Events) at(ctx context.Context) (next Event, ok bool, err error) {
	if e.mark == nil {
		return next, false, nil
	}
	if e.isSet {
		e.feed.source.take()
	}
	if e.head, e.isSet = e.feed.source.peek(); !e.isSet {
		return next, false, nil
	}
	e.idle = false
	next, err = e.event(ctx)
	return next, err == nil, err
}

func (e *Events) event(ctx context.Context) (next Event, err error) {
	record := e.head.record
	next = Event{Record: record, ID: headerOf(record, headerEventID), Commit: e.head.commit, Snapshot: e.head.snapshot != nil}
	if next.Value, err = e.cfg.payloadOf(ctx, record.Value); err != nil {
		return next, placed(record, err)
	}
	if record.Key != nil {
		next.Key, err = e.cfg.payloadOf(ctx, record.Key)
	}
	return next, placed(record, err)
}

// Whole reports whether everything before the newest watermark was taken.
func (e *Events) Whole() bool { return e.mark != nil && !e.isSet && e.feed.source.drained() }

// Mark returns the mark before the event that Next returned last or, if all events are taken, the mark at the newest watermark, which is exact.
func (e *Events) Mark() Mark {
	m := markOf(e.mark, e.feed.source)
	if e.isSet {
		m.EndLSN, m.Exact, m.Copies, m.CommitTime = e.head.commit, false, nil, time.Time{}
	}
	return m
}

// Published is the position up to which Kafka holds the source.
func (e *Events) Published() LSN {
	if e.mark == nil {
		return e.first.EndLSN
	}
	return e.mark.EndLSN
}

func (e *Events) Close() {
	e.cancel()
	e.tick.Stop()
	e.running.Wait()
	e.feed.source.client.Close()
}
