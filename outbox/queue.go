package outbox

import (
	"context"
	"errors"
	"sync"
)

// ErrClosed is returned by calls that wait on a Stream after its Close.
var ErrClosed = errors.New("stream closed")

// queue holds transactions, and parts of giants. The reader of the connection pushes them; the publisher reads the head and drops it later. Each side is
// one goroutine.
//
// It accepts another transaction while it holds less than maxBytes, so a transaction of any size passes.
type queue struct {
	maxBytes int
	arrived  chan struct{} // one token: check again
	room     chan struct{} // one token: check again
	ended    chan struct{} // closed by fail

	mu    sync.Mutex
	items []*Transaction
	bytes int
	last  LSN // everything up to here was pushed, whether still queued or not
	err   error
}

func newQueue(last LSN, maxBytes int) *queue {
	return &queue{
		maxBytes: maxBytes,
		arrived:  make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		ended:    make(chan struct{}),
		last:     last,
	}
}

// push appends t, waiting for room. It returns false after fail. A marker replaces a preceding marker, so that an idle stream does not let the queue
// grow.
func (q *queue) push(t *Transaction) bool {
	for {
		added, failed := q.tryPush(t)
		if added {
			signal(q.arrived)
			return true
		}
		if failed {
			return false
		}
		select {
		case <-q.room:
		case <-q.ended:
			return false
		}
	}
}

func (q *queue) tryPush(t *Transaction) (added, failed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return false, true
	}
	n := len(q.items)
	if t.IsMarker() && n > 0 && q.items[n-1].IsMarker() {
		q.items[n-1] = t // both are markers of the same size: bytes stays right
		q.last = t.EndLSN
		return true, false
	}
	if q.bytes >= q.maxBytes && n > 0 {
		return false, false
	}
	q.items = append(q.items, t)
	q.bytes += t.Bytes
	q.last = t.Through()
	return true, false
}

// head waits for a transaction and returns the oldest ones in a new slice: at least one, more if together they hold no more than maxBytes. They stay
// in the queue.
func (q *queue) head(ctx context.Context, maxBytes int) ([]*Transaction, error) {
	for {
		if head, err := q.tryHead(maxBytes); head != nil || err != nil {
			return head, err
		}
		select {
		case <-q.arrived:
		case <-q.ended:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (q *queue) tryHead(maxBytes int) ([]*Transaction, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return nil, q.err
	}
	n, bytes := 1, q.items[0].Bytes
	for n < len(q.items) && bytes+q.items[n].Bytes <= maxBytes {
		bytes += q.items[n].Bytes
		n++
	}
	return append([]*Transaction(nil), q.items[:n]...), nil
}

// drop removes the transactions that head returned, or the first of them. A marker that was replaced in the meantime stays, because its replacement
// has not been returned yet.
func (q *queue) drop(head []*Transaction) {
	q.mu.Lock()
	n := 0
	for n < min(len(head), len(q.items)) && q.items[n] == head[n] {
		q.bytes -= q.items[n].Bytes
		n++
	}
	clear(q.items[:n]) // the array is kept, but must not keep the dropped transactions alive
	q.items = q.items[n:]
	q.mu.Unlock()
	if n > 0 {
		signal(q.room)
	}
}

// fail ends the queue: push accepts nothing more, and head returns err once the queue is empty. The first err is kept.
func (q *queue) fail(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		close(q.ended)
	}
}

// failed returns the error that ended the queue, or nil.
func (q *queue) failed() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}

// received returns the position up to which everything was pushed.
func (q *queue) received() LSN {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last
}

// held returns the number of transactions in the queue and the memory they hold.
func (q *queue) held() (transactions, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items), q.bytes
}

// signal puts a token into a channel of capacity 1, unless it already has one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
