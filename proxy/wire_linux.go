//go:build !386

package proxy

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// wire is a plain connection for which a loop waits instead of Go's scheduler. One direction reads from it, the other writes to it; any goroutine may
// close it or end its reads.
type wire struct {
	net.Conn // the original connection, closed: it still knows its addresses
	loop     *loop
	fd       int

	hungUp        func() // called when the peer hangs up while nothing reads from it; nil: not needed
	reader        *turn
	writer        *turn
	writable      chan struct{}
	writeDeadline time.Time

	mu       sync.Mutex
	events   uint32 // events for which the loop waits; 0: none
	ended    error  // why reads have ended, if the proxy has ended them; nil: it has not
	released bool   // fd has been closed and may be in use elsewhere
}

// replaceSockets replaces both connections by wires of a loop, if both are plain.
func (s *session) replaceSockets() (client, server *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, b := plainSocket(s.client), plainSocket(s.server)
	if a == nil || b == nil || s.closed || s.pending.reason() != nil { // an end already signalled to them would be lost
		return nil, nil
	}
	l, err := s.proxy.loops.choose()
	if err != nil {
		return nil, nil
	}
	fdA, errA := a.duplicate()
	fdB, errB := b.duplicate()
	if errA != nil || errB != nil {
		closeFile(fdA)
		closeFile(fdB)
		return nil, nil
	}
	client, server = l.newWire(a, fdA), l.newWire(b, fdB)
	s.client, s.server = client, server
	return client, server
}

// plainSocket returns the socket under conn if there is one and no byte read from it is left in conn, otherwise nil.
func plainSocket(conn net.Conn) *socket {
	if read, ok := conn.(*unreadConn); ok && len(read.unread) == 0 {
		conn = read.Conn
	}
	s, _ := conn.(*socket)
	return s
}

// duplicate returns another descriptor of the connection, or -1 and an error.
func (s *socket) duplicate() (fd int, err error) {
	fd = -1
	outer := s.raw.Control(func(old uintptr) {
		n, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if errno != 0 {
			err = errno
			return
		}
		fd = int(n)
	})
	if outer != nil {
		err = outer
	}
	return fd, err
}

func closeFile(fd int) {
	if fd >= 0 {
		syscall.Close(fd)
	}
}

// newWire makes a wire of the duplicate fd of a connection, and closes the original, because Go's scheduler would otherwise continue to handle each
// byte that arrives.
func (l *loop) newWire(of *socket, fd int) *wire {
	of.Close()
	w := &wire{Conn: of.plain, loop: l, fd: fd, writable: make(chan struct{}, 1)}
	l.enter(w)
	return w
}

// move starts to move both directions, in a loop if both connections are plain. release must be called when they have ended.
func (s *session) move(up, down direction) (release func()) {
	client, server := s.replaceSockets()
	if client == nil {
		s.moveByGoroutines(up, down)
		return func() {}
	}
	s.up.attach(client)
	s.down.attach(server)
	requests, replies := newTurn(up, client), newTurn(down, server)
	client.reader, server.writer = requests, requests
	server.reader, client.writer = replies, replies
	s.pending.leave, s.leaveLoop = requests.leave, replies.leave
	client.hungUp = s.pending.hangUp
	client.await(syscall.EPOLLRDHUP, 0)
	go requests.begin() // requests sent with the login may have to wait for replies, or for their end
	replies.begin()
	return func() {
		client.release()
		server.release()
	}
}

// happen is called by the goroutine that leads the loop, and reports whether that goroutine still does.
func (w *wire) happen(events uint32) bool {
	const over = syscall.EPOLLERR | syscall.EPOLLHUP
	w.mu.Lock()
	readable := w.events&syscall.EPOLLIN != 0 && events&(syscall.EPOLLIN|over) != 0
	if w.events&syscall.EPOLLOUT != 0 && events&(syscall.EPOLLOUT|over) != 0 {
		w.awaitLocked(w.events &^ syscall.EPOLLOUT)
		select {
		case w.writable <- struct{}{}:
			w.loop.woken = true
		default:
		}
	}
	gone := w.events&syscall.EPOLLRDHUP != 0 && events&(syscall.EPOLLRDHUP|over) != 0
	if gone {
		w.awaitLocked(w.events &^ syscall.EPOLLRDHUP)
	}
	w.mu.Unlock()
	if gone {
		w.hungUp()
		w.loop.woken = true
	}
	return !readable || w.reader.run()
}

// farewell returns the event to wait for while nothing reads from the wire.
func (w *wire) farewell() uint32 {
	if w.hungUp == nil {
		return 0
	}
	return syscall.EPOLLRDHUP
}

// await adds to and removes from the events for which the loop waits.
func (w *wire) await(more, less uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.awaitLocked(w.events&^less | more)
}

func (w *wire) awaitLocked(events uint32) (err error) {
	switch {
	case events == w.events:
		return nil
	case w.events == 0:
		err = w.loop.control(syscall.EPOLL_CTL_ADD, w.fd, events)
	case events == 0:
		err = w.loop.control(syscall.EPOLL_CTL_DEL, w.fd, 0)
	default:
		err = w.loop.control(syscall.EPOLL_CTL_MOD, w.fd, events)
	}
	if err == nil {
		w.events = events
	}
	return err
}

// readLate reads what has arrived into memory that is lent. It does not wait: it is not an error if nothing has.
func (w *wire) readLate(lend func() []byte, unused func()) (int, error) {
	n, err := w.Read(lend())
	if n == 0 {
		unused()
	}
	return n, err
}

// Read reads what has arrived. It does not wait: it is not an error if nothing has.
func (w *wire) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended != nil { // read no more: with unread data, the kernel resets the connection at its close; otherwise the peer could wait forever for room to send
		return 0, w.ended
	}
	in := transfer{p: p}
	if !in.move(syscall.SYS_RECVFROM, uintptr(w.fd)) {
		return 0, nil
	}
	if in.n == 0 && in.err == nil && len(p) > 0 {
		return 0, io.EOF
	}
	return in.n, in.err
}

// Write waits outside the loop if necessary.
func (w *wire) Write(p []byte) (int, error) {
	out := transfer{p: p}
	for !out.moveAll(syscall.SYS_SENDTO, uintptr(w.fd)) {
		if err := w.awaitWritable(); err != nil {
			return out.n, err
		}
	}
	return out.n, out.err
}

func (w *wire) awaitWritable() error {
	w.writer.leave()
	if err := w.await(syscall.EPOLLOUT, 0); err != nil {
		return err
	}
	var late <-chan time.Time
	if !w.writeDeadline.IsZero() {
		late = time.After(time.Until(w.writeDeadline))
	}
	select {
	case <-w.writable:
		return nil
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

// SetWriteDeadline may be called only by the goroutine that writes.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.writeDeadline = t
	return nil
}

// SetReadDeadline ends all reads if t has passed; a deadline in the future is ignored.
func (w *wire) SetReadDeadline(t time.Time) error {
	if time.Now().After(t) && !t.IsZero() {
		w.shutdown(syscall.SHUT_RD, os.ErrDeadlineExceeded)
	}
	return nil
}

func (w *wire) CloseWrite() error { return w.shutdown(syscall.SHUT_WR, nil) }

// Close ends reads and writes. The descriptor stays open until release, because a turn may use it.
func (w *wire) Close() error { return w.shutdown(syscall.SHUT_RDWR, net.ErrClosed) }

func (w *wire) shutdown(how int, reason error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.released {
		return net.ErrClosed
	}
	if w.ended == nil {
		w.ended = reason
	}
	return syscall.Shutdown(w.fd, how)
}

// release closes the descriptor. Both directions must have ended.
func (w *wire) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaitLocked(0)
	w.loop.forget(w)
	w.released = true
	syscall.Close(w.fd)
}
