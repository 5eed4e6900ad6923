package apply

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Event is a record in its place in the order of the source.
type Event struct {
	Record     *kgo.Record
	ID         []byte // pgtee-event-id
	Key, Value []byte // JSON, without framing and schema; no key: nil
	Commit     LSN    // of its transaction; of a row that a snapshot has read, of the last one before it
	Snapshot   bool   // it is such a row: no transaction holds it together with others
}

// Events hands out what the topics of a publisher hold of rows and DDL, in the order of the source's commits and whole
// transactions only. It is used by one goroutine.
type Events struct {
	cfg    Config
	first  *progress
	feed   feed
	mark   *progress // nil: none has come yet
	head   event     // what Next has returned, until it is called again
	headed bool      // there is one
	failed chan error
	told   bool // that everything before the mark was taken
	skipTo LSN  // what committed before it is left out
	tick   *time.Ticker

	cancel  context.CancelFunc
	running sync.WaitGroup
}

// Read goes on behind a mark; that of an archive which is new is zero, but for its EndLSN: then it begins at the first record
// that committed at or behind that.
func Read(ctx context.Context, cfg Config, from Mark) (*Events, error) {
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
	s, err := cfg.open(first.Slot, &p)
	if err != nil {
		w.client.Close()
		return nil, err
	}
	e := &Events{cfg: cfg, first: first, feed: feed{s, w.out, make(chan kgo.Fetches)}, failed: make(chan error, 2), tick: time.NewTicker(idleTick)}
	if p.fresh {
		s.fromStart, e.skipTo = from.EndLSN > 0, from.EndLSN
	}
	ctx, e.cancel = context.WithCancel(ctx)
	e.running.Go(func() { e.failed <- w.run(ctx, first) })
	e.running.Go(func() { e.failed <- s.poll(ctx, e.feed.fetched) })
	return e, nil
}

// Newest is the publisher's position when the reading began.
func Newest(ctx context.Context, cfg Config) (Mark, error) {
	w, first, err := cfg.watch(ctx)
	if err != nil {
		return Mark{}, err
	}
	w.client.Close()
	return Mark{EndLSN: first.EndLSN, Timeline: first.Timeline, SystemID: first.SystemID, Database: first.Database, Slot: first.Slot}, nil
}

// idleTick is how often Next returns without an event while none comes.
const idleTick = time.Second

// Next returns the next event, valid until it is called again. false: there is none now, and everything before Mark was taken; that
// is so whenever a watermark was reached, and then about once a second.
func (e *Events) Next(ctx context.Context) (next Event, ok bool, err error) {
	s := e.feed.source
	for {
		if next, ok, err = e.at(ctx); ok || err != nil {
			return next, ok, err
		}
		if e.mark != nil && s.drained() && !e.told {
			e.told = true
			return next, false, nil
		}
		s.throttle()
		select {
		case <-ctx.Done():
			return next, false, ctx.Err()
		case err := <-e.failed:
			return next, false, err
		case mark := <-e.feed.marks:
			e.told = e.told && mark.EndLSN == e.mark.EndLSN
			e.mark = &mark.progress
			err = s.advance(&mark)
		case fetches := <-e.feed.fetched:
			err = s.add(fetches)
		case <-e.tick.C:
			e.told = false
		}
		if err != nil {
			return next, false, err
		}
	}
}

// at is the event at the head of the source.
func (e *Events) at(ctx context.Context) (next Event, ok bool, err error) {
	s := e.feed.source
	for e.mark != nil {
		if e.headed {
			s.take()
		}
		if e.head, e.headed = s.peek(); !e.headed {
			break
		}
		e.told = false
		if e.head.commit >= e.skipTo {
			next, err = e.event(ctx)
			return next, err == nil, err
		}
	}
	return next, false, nil
}

func (e *Events) event(ctx context.Context) (next Event, err error) {
	record := e.head.record
	next = Event{Record: record, ID: headerOf(record, headerEventID), Commit: e.head.commit, Snapshot: e.head.snapshot != nil}
	if next.Value, err = e.cfg.payloadOf(ctx, record.Value); err != nil {
		return next, err
	}
	if record.Key != nil {
		next.Key, err = e.cfg.payloadOf(ctx, record.Key)
	}
	return next, err
}

// Whole reports whether everything before the newest watermark was taken.
func (e *Events) Whole() bool { return e.mark != nil && !e.headed && e.feed.source.drained() }

// Mark is the cut before the event that Next has returned last, or, if all are taken, at the newest watermark: then it is exact.
func (e *Events) Mark() Mark {
	m := markOf(e.mark, e.feed.source)
	if e.headed {
		m.EndLSN, m.Exact, m.Copies = e.head.commit, false, nil
	}
	return m
}

// Published is up to where Kafka holds the source.
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
