package outbox

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// rowsUpTo is a transaction that ends at end and takes size bytes.
func rowsUpTo(end LSN, size int) *Transaction {
	return &Transaction{EndLSN: end, Bytes: size, Changes: make([]Change, 1)}
}

// dropUpTo drops what ends at upTo or before.
func dropUpTo(q *queue, upTo LSN) {
	head, _ := q.tryHead(math.MaxInt)
	n := 0
	for n < len(head) && head[n].EndLSN <= upTo {
		n++
	}
	q.drop(head[:n])
}

func marker(end LSN) *Transaction { return &Transaction{EndLSN: end, Bytes: transactionBytes} }

func ends(transactions []*Transaction) []LSN {
	var ends []LSN
	for _, t := range transactions {
		ends = append(ends, t.EndLSN)
	}
	return ends
}

func wantHead(t *testing.T, q *queue, maxBytes int, want ...LSN) {
	t.Helper()
	head, err := q.head(t.Context(), maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	if got := ends(head); !slices.Equal(got, want) {
		t.Fatalf("head of %d bytes ends at %v, want %v", maxBytes, got, want)
	}
}

func TestQueueHead(t *testing.T) {
	q := newQueue(0, 1000)
	for i := range 5 {
		q.push(rowsUpTo(LSN(10*i+10), 100))
	}
	wantHead(t, q, 0, 10) // at least one, however large
	wantHead(t, q, 299, 10, 20)
	wantHead(t, q, 300, 10, 20, 30)
	wantHead(t, q, 300, 10, 20, 30) // nothing was removed
	dropUpTo(q, 5)
	wantHead(t, q, 100, 10)
	dropUpTo(q, 29)
	wantHead(t, q, 1000, 30, 40, 50)
	if n, bytes := q.held(); n != 3 || bytes != 300 {
		t.Errorf("holds %d of %d bytes, want 3 of 300", n, bytes)
	}
	if q.received() != 50 {
		t.Errorf("received %s", q.received())
	}
	dropUpTo(q, 1<<40)
	if n, bytes := q.held(); n != 0 || bytes != 0 {
		t.Errorf("holds %d of %d bytes, want nothing", n, bytes)
	}
}

// An idle stream never grows the queue, and what was handed out does not change.
func TestQueueMarkers(t *testing.T) {
	q := newQueue(0, 1) // full from the first push on
	q.push(marker(10))
	head, err := q.head(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for end := LSN(11); end < 100; end++ {
		q.push(marker(end))
	}
	if head[0].EndLSN != 10 {
		t.Errorf("the transaction in hand ends at %s now", head[0].EndLSN)
	}
	wantHead(t, q, 1000, 99)
	q.drop(head) // what was in hand; the newer marker stays
	wantHead(t, q, 1000, 99)

	q = newQueue(0, 1000)
	q.push(rowsUpTo(10, 1))
	q.push(marker(20))
	q.push(marker(30))
	q.push(rowsUpTo(40, 1))
	q.push(marker(50))
	wantHead(t, q, 1000, 10, 30, 40, 50)
}

func TestQueueBlocksWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(0, 250)
		pushed := 0
		go func() {
			for q.push(rowsUpTo(LSN(pushed+1), 100)) {
				pushed++
			}
		}()
		synctest.Wait()
		if _, bytes := q.held(); pushed != 3 || bytes != 300 {
			t.Fatalf("%d pushed, %d bytes, want 3 and 300: below 250 there is room for one more", pushed, bytes)
		}
		dropUpTo(q, 2)
		synctest.Wait()
		if pushed != 5 {
			t.Fatalf("%d pushed after two were dropped, want 5", pushed)
		}
		q.fail(ErrClosed)
		synctest.Wait() // the pusher ends, or synctest reports a deadlock
	})
}

// A transaction that is larger than the queue passes when it is alone.
func TestQueueLargerThanItself(t *testing.T) {
	q := newQueue(0, 10)
	if !q.push(rowsUpTo(1, 1<<30)) {
		t.Fatal("refused")
	}
	wantHead(t, q, 0, 1)
}

func TestQueueHeadWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(0, 1000)
		go func() {
			time.Sleep(time.Hour)
			q.push(rowsUpTo(7, 1))
		}()
		start := time.Now()
		wantHead(t, q, 1, 7)
		if waited := time.Since(start); waited != time.Hour {
			t.Errorf("waited %s, want 1h", waited)
		}
		dropUpTo(q, 7)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := q.head(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

// After a failure the whole transactions come first, then the first error.
func TestQueueFail(t *testing.T) {
	q := newQueue(0, 1000)
	q.push(rowsUpTo(1, 1))
	first := errors.New("first")
	q.fail(first)
	q.fail(ErrClosed)
	if q.push(rowsUpTo(2, 1)) {
		t.Error("push after fail")
	}
	wantHead(t, q, 1, 1)
	dropUpTo(q, 1)
	if _, err := q.head(t.Context(), 1); err != first {
		t.Errorf("got %v, want %v", err, first)
	}
}
