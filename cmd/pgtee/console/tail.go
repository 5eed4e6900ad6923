package console

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Limits of what is kept for viewers of a stream.
const (
	maxTailEvents = 10_000
	maxTailBytes  = 16 << 20 // size of the records from which the events were read
	tailLingers   = 30 * time.Second
	tailRetries   = time.Second
)

// tail follows the audit topic of a stream while there are viewers, reads each record once for all of them, and keeps the newest. A viewer that falls
// behind misses events, and learns how many; it does not slow down others.
type tail struct {
	topics        *topics
	stream, topic string

	mu      sync.Mutex
	viewers int
	linger  *time.Timer
	stop    context.CancelFunc // nil: it is not running
	ready   chan struct{}      // closed when its start position is known
	events  []*event           // oldest first
	first   int64              // number of events[0]
	bytes   int
	next    position
	trouble string        // why Kafka delivers nothing at present
	news    chan struct{} // closed at the next event or change of trouble
}

func newTail(t *topics, stream, topic string) *tail {
	return &tail{topics: t, stream: stream, topic: topic, news: make(chan struct{})}
}

// join registers a viewer. The tail has all events from number on; older events are in the topic before the position at. Each join requires a leave,
// even if it fails.
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
		go t.run(own, t.ready) // ends when there have been no viewers for a while, or with close
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

// since returns the events from a number on, and how many of them are no longer available. news is closed when there are more.
func (t *tail) since(number int64) (events []*event, missed int64, trouble string, news <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	missed = max(0, t.first-number)
	at := max(0, min(number-t.first, int64(len(t.events))))
	return slices.Clone(t.events[at:]), missed, t.trouble, t.news
}

// run follows the topic until ctx ends. Errors are reported to the viewers, and reading is retried.
func (t *tail) run(ctx context.Context, ready chan struct{}) {
	told := false
	for ctx.Err() == nil {
		err := t.begin(ctx)
		if err == nil {
			t.notify("")
			if !told {
				told = true
				close(ready)
			}
			err = t.follow(ctx)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, errNoTopic) {
			t.notify(err.Error())
		}
		if errors.Is(err, errNoTopic) && !told { // all events will be new
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

// begin determines where to start; when called again, it continues at its last position.
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
		if t.next[partition] = max(at, start); at > ends[partition] { // the topic was recreated
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
	client, err := t.topics.reader(t.topic, from)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollRecords(ctx, 1000)
		if ctx.Err() != nil {
			return nil
		}
		records, err := recordsOf(client, fetches)
		if err != nil {
			return err
		}
		var list []*event
		for _, r := range records {
			list = append(list, eventOf(t.stream, r))
		}
		t.add(ctx, list)
	}
}

// add adds events, and drops the oldest ones.
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
	t.notifyLocked("")
}

func (t *tail) notify(trouble string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notifyLocked(trouble)
}

func (t *tail) notifyLocked(trouble string) {
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
