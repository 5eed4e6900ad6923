//go:build !386

package proxy

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// loop handles many directions of sessions on one thread, each as soon as its bytes have arrived. Forwarding one message costs a fifth less CPU time
// than with one waiting goroutine per direction, since there is no scheduling and there are no speculative reads.
//
// A direction that the loop handles is a turn. If a turn has to wait before all that has arrived is handled, for a server's reply or for a peer that
// does not read, it leaves the loop first: a new goroutine takes over as leader, and the present one finishes the turn by itself.
type loop struct {
	epoll int
	wake  [2]int // a pipe: closing its write end stops the loop

	// Used by the leading goroutine only.
	ready []ready // a slice of all
	all   [maxReady]ready
	woken bool      // this turn has woken another goroutine
	seen  time.Time // when Go's scheduler last saw this goroutine

	mu    sync.Mutex
	wires map[int]*wire // by file descriptor
}

// ready is an event of a wire, or of the wake pipe if wire is nil.
type ready struct {
	wire   *wire
	events uint32
}

// maxReady is how many events are fetched at once.
const maxReady = 64

// loops are started as sessions need them, one per two processors: the server needs processors as well (it may run on the same machine).
type loops struct {
	mu   sync.Mutex
	all  []*loop
	next int
}

// choose returns the loop for the next session.
func (l *loops) choose() (*loop, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.all) < (runtime.GOMAXPROCS(0)+1)/2 {
		started, err := startLoop()
		if err != nil {
			return nil, err
		}
		l.all = append(l.all, started)
		return started, nil
	}
	l.next = (l.next + 1) % len(l.all)
	return l.all[l.next], nil
}

// stop ends the loops. The caller ensures that no session remains.
func (l *loops) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, each := range l.all {
		syscall.Close(each.wake[1])
	}
	l.all = nil
}

func startLoop() (*loop, error) {
	epoll, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &loop{epoll: epoll, wires: map[int]*wire{}}
	if err := syscall.Pipe2(l.wake[:], syscall.O_CLOEXEC); err != nil {
		syscall.Close(epoll)
		return nil, err
	}
	if err := l.control(syscall.EPOLL_CTL_ADD, l.wake[0], syscall.EPOLLIN); err != nil {
		syscall.Close(epoll)
		syscall.Close(l.wake[0])
		syscall.Close(l.wake[1])
		return nil, err
	}
	go l.lead()
	return l, nil
}

func (l *loop) control(operation, fd int, events uint32) error {
	return syscall.EpollCtl(l.epoll, operation, fd, &syscall.EpollEvent{Events: events, Fd: int32(fd)})
}

// lead handles events until another goroutine leads or the loop stops.
func (l *loop) lead() {
	for {
		for len(l.ready) > 0 {
			r := l.ready[0]
			l.ready[0] = ready{}
			l.ready = l.ready[1:]
			if r.wire == nil {
				syscall.Close(l.epoll)
				syscall.Close(l.wake[0])
				return
			}
			if !r.wire.happen(r.events) {
				return
			}
		}
		l.await()
	}
}

// await waits for events. Gosched lets a goroutine woken by this turn run first; with a single processor it would otherwise wait for us. It is also
// called every 5 ms, because Go's monitor treats a goroutine unseen for 10 ms as stuck and tries to take its processor. It costs half a round trip,
// so it is not done each time.
func (l *loop) await() {
	if now := time.Now(); l.woken || now.Sub(l.seen) > 5*time.Millisecond {
		runtime.Gosched()
		l.woken, l.seen = false, now
	}
	var events [maxReady]syscall.EpollEvent
	n, err := syscall.EpollWait(l.epoll, events[:], -1)
	if err != nil && err != syscall.EINTR {
		panic("epoll_wait: " + err.Error()) // no other error is possible with these arguments
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ready = l.all[:0]
	for i := range max(n, 0) {
		fd := int(events[i].Fd)
		if w := l.wires[fd]; w != nil || fd == l.wake[0] {
			l.ready = append(l.ready, ready{w, events[i].Events})
		}
	}
}

func (l *loop) enter(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wires[w.fd] = w
}

func (l *loop) forget(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.wires, w.fd)
}

// turn is one direction of a session, handled by a loop.
type turn struct {
	direction
	from *wire
	away atomic.Bool // running outside the loop
}

// newTurn returns a turn that the loop does not know yet.
func newTurn(d direction, from *wire) *turn {
	t := &turn{direction: d, from: from}
	t.away.Store(true)
	return t
}

// leave is called before the turn has to wait.
func (t *turn) leave() {
	if t.away.Swap(true) {
		return
	}
	t.from.await(t.from.farewell(), syscall.EPOLLIN)
	go t.from.loop.lead()
}

// begin handles what was received before the loop took over the turn.
func (t *turn) begin() { t.rest(t.process()) }

// run moves what has been received, and reports whether this goroutine still leads the loop.
func (t *turn) run() (leads bool) {
	t.away.Store(false)
	err := t.read()
	if err == nil {
		err = t.process()
	}
	if leads = !t.away.Load(); leads && t.from.writer.away.Load() {
		t.from.loop.woken = true // the other direction may have been waiting for this
	}
	t.rest(err)
	return leads
}

// rest lets the loop wait for more, or ends the direction. In the first case the next run may begin before rest returns.
func (t *turn) rest(err error) {
	t.buffer.relax()
	if err == nil && !t.away.Load() {
		return
	}
	if err == nil {
		err = t.from.await(syscall.EPOLLIN, syscall.EPOLLRDHUP)
	}
	if err != nil {
		t.away.Store(true)
		t.from.await(0, syscall.EPOLLIN|syscall.EPOLLRDHUP)
		t.end(err)
	}
}
