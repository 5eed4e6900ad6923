package console

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Bounds of what is held for those who watch a stream.
const (
	maxTailEvents = 10_000
	maxTailBytes  = 16 << 20 // of the records that the events were read from
	tailLingers   = 30 * time.Second
	tailRetries   = time.Second
)

// tail follows the audit topic of a stream while somebody watches, reads each record once for all of them, and keeps the newest.
// A viewer that falls behind misses events, and is told how many; it slows nobody.
type tail struct {
	topics        *topics
	stream, topic string

	mu      sync.Mutex
	viewers int
	linger  *time.Timer
	stop    context.CancelFunc // nil: it does not run
	ready   chan struct{}      // closed when it is known where it began
	events  []*event           // oldest first
	first   int64              // number of events[0]
	bytes   int
	next    position
	trouble string        // why Kafka gives nothing at the moment
	news    chan struct{} // closed at the next event or change of trouble
}

func newTail(t *topics, stream, topic string) *tail {
	return &tail{topics: t, stream: stream, topic: topic, news: make(chan struct{})}
}

// join starts to watch: from the event with this number on the tail has all, and what is before stands before the position. Each
// join needs a leave, also one that fails.
func (t *tail) join(ctx context.Context) (number int64, at position, err error) {
	t.mu.Lock()
	t.viewers++
	if t.linger != nil {
		t.linger.Stop()
	}
	if t.stop == nil {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		t.stop, t.ready = cancel, make(chan struct{})
		t.events, t.bytes, t.next, t.trouble = nil, 0, nil, ""
		go t.run(own, t.ready) // ends when nobody has watched for a while, or with close
	}
	ready := t.ready
	t.mu.Unlock()
	select {
	case <-ready:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.first + int64(len(t.events)), clonePosition(t.next), nil
}

func (t *tail) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.viewers--; t.viewers == 0 {
		t.linger = time.AfterFunc(tailLingers, t.stopUnwatched)
	}
}

func (t *tail) stopUnwatched() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.viewers == 0 {
		t.stopLocked()
	}
}

func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stopLocked()
}

func (t *tail) stopLocked() {
	if t.stop != nil {
		t.stop()
		t.stop = nil
		t.first += int64(len(t.events))
		t.events = nil
	}
}

// since returns the events from a number on, and how many of those are gone already. news is closed when there are more.
func (t *tail) since(number int64) (events []*event, missed int64, trouble string, news <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	missed = max(0, t.first-number)
	at := max(0, min(number-t.first, int64(len(t.events))))
	return slices.Clone(t.events[at:]), missed, t.trouble, t.news
}

// run follows the topic until ctx ends. What goes wrong is told to who watches, and tried again.
func (t *tail) run(ctx context.Context, ready chan struct{}) {
	told := false
	for ctx.Err() == nil {
		err := t.begin(ctx)
		if err == nil {
			if !told {
				told = true
				close(ready)
			}
			err = t.follow(ctx)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, errNoTopic) {
			t.tell(err.Error())
		}
		if errors.Is(err, errNoTopic) && !told { // what comes is all new
			told = true
			t.mu.Lock()
			t.next = position{}
			t.mu.Unlock()
			close(ready)
		}
		select {
		case <-ctx.Done():
		case <-time.After(tailRetries):
		}
	}
}

// begin finds out where to start; a second time it goes on where it was.
func (t *tail) begin(ctx context.Context) error {
	starts, ends, err := t.topics.bounds(ctx, t.topic)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == nil {
		t.next = ends
		return nil
	}
	for partition, start := range starts {
		at := t.next[partition]
		if t.next[partition] = max(at, start); at > ends[partition] { // the topic was made anew
			t.next[partition] = start
		}
	}
	return nil
}

func (t *tail) follow(ctx context.Context) error {
	from := map[int32]kgo.Offset{}
	t.mu.Lock()
	for partition, offset := range t.next {
		from[partition] = kgo.NewOffset().At(offset)
	}
	t.mu.Unlock()
	client, err := kgo.NewClient(append(slices.Clone(t.topics.options),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.topic: from}), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxBytes(maxFetchBytes), kgo.FetchMaxWait(500*time.Millisecond), kgo.MaxConcurrentFetches(2))...)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, 1000)
		if ctx.Err() != nil {
			return nil
		}
		for _, failed := range fetches.Errors() {
			return kafkaError(failed.Err)
		}
		var list []*event
		fetches.EachRecord(func(r *kgo.Record) { list = append(list, eventOf(t.stream, r)) })
		t.add(ctx, list)
	}
}

// add takes events, and lets the oldest go.
func (t *tail) add(ctx context.Context, list []*event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if ctx.Err() != nil { // stopped meanwhile: another run may have begun
		return
	}
	for _, e := range list {
		t.events = append(t.events, e)
		t.bytes += e.bytes
		t.next[e.Partition] = e.Offset + 1
	}
	gone := 0
	for len(t.events)-gone > maxTailEvents || t.bytes > maxTailBytes && gone < len(t.events) {
		t.bytes -= t.events[gone].bytes
		gone++
	}
	if gone > 0 {
		t.events = append(t.events[:0:0], t.events[gone:]...)
		t.first += int64(gone)
	}
	t.tellLocked("")
}

func (t *tail) tell(trouble string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tellLocked(trouble)
}

func (t *tail) tellLocked(trouble string) {
	t.trouble = trouble
	close(t.news)
	t.news = make(chan struct{})
}

func clonePosition(p position) position {
	clone := position{}
	for partition, offset := range p {
		clone[partition] = offset
	}
	return clone
}
