//go:build !386

package proxy

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// socket is a TCP or Unix connection whose reads and writes do not notify Go's scheduler that they enter the kernel. They never block there, but a
// write takes as long as the kernel needs for delivery. The scheduler would take that for blocking and start another thread, which costs a quarter of
// the processor time of a hop. Reads must come from one goroutine and writes from one goroutine, or both from tls.Conn, which serializes them.
type socket struct {
	plain
	raw      syscall.RawConn
	in, out  transfer
	readable func(fd uintptr) (done bool)
	late     func(fd uintptr) (done bool) // like readable, with memory that is lent
	lend     func() []byte
	unused   func()
	writable func(fd uintptr) (done bool)
}

// plain has the methods of a TCP or Unix connection.
type plain interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// transfer is the buffer and the result of a read or write.
type transfer struct {
	p   []byte
	n   int
	err error
}

// unscheduled returns conn as a socket if it is a plain connection, otherwise conn itself.
func unscheduled(conn net.Conn) net.Conn {
	p, ok := conn.(plain)
	if !ok {
		return conn
	}
	raw, err := p.SyscallConn()
	if err != nil {
		return conn
	}
	raw.Control(limitUnsent)
	s := &socket{plain: p, raw: raw}
	s.readable = s.readNow
	s.late = s.readLent
	s.writable = s.writeNow
	return s
}

func (s *socket) Read(p []byte) (int, error) {
	s.in = transfer{p: p}
	return s.read(s.readable)
}

// readLate is Read into memory that is lent as soon as there is something to read.
func (s *socket) readLate(lend func() []byte, unused func()) (int, error) {
	s.in, s.lend, s.unused = transfer{}, lend, unused
	return s.read(s.late)
}

func (s *socket) read(try func(fd uintptr) (done bool)) (int, error) {
	if err := s.raw.Read(try); err != nil {
		return 0, err
	}
	if s.in.n == 0 && s.in.err == nil && len(s.in.p) > 0 {
		return 0, io.EOF
	}
	return s.in.n, s.in.err
}

func (s *socket) Write(p []byte) (int, error) {
	s.out = transfer{p: p}
	if err := s.raw.Write(s.writable); err != nil {
		return s.out.n, err
	}
	return s.out.n, s.out.err
}

func (s *socket) readNow(fd uintptr) (done bool) {
	return s.in.move(syscall.SYS_RECVFROM, fd)
}

func (s *socket) readLent(fd uintptr) (done bool) {
	s.in.p = s.lend()
	if done = s.in.move(syscall.SYS_RECVFROM, fd); !done {
		s.in.p = nil
		s.unused()
	}
	return done
}

func (s *socket) writeNow(fd uintptr) (done bool) {
	return s.out.moveAll(syscall.SYS_SENDTO, fd)
}

// moveAll calls move until nothing of p remains. done is false if it would have to wait.
func (t *transfer) moveAll(call, fd uintptr) (done bool) {
	for t.n < len(t.p) && t.err == nil {
		if !t.move(call, fd) {
			return false
		}
	}
	return true
}

// move calls recvfrom(2) or sendto(2) for the rest of p. read(2) and write(2) would work too, but go through the file system layer, which takes 4 %
// of a hop's processor time. done is false if it would have to wait.
func (t *transfer) move(call, fd uintptr) (done bool) {
	for {
		rest := t.p[t.n:]
		n, _, errno := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)),
			syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
		switch errno {
		case 0:
			t.n += int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.err = errno
			return true
		}
	}
}
