package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"os"
	"syscall"
)

// waiting reads from a socket into a buffer that takes its memory only when there is something to read: most
// sessions are idle most of the time.
type waiting struct {
	socket syscall.RawConn
	try    func(fd uintptr) (done bool)
	n      int
	err    error
}

// firstBytes of an encrypted connection are waited for with so much memory: TLS cannot be asked for less than a read.
const firstBytes = 512

// attach makes the buffer wait for conn with little memory or none. All later reads must be from conn.
func (b *buffer) attach(conn net.Conn) {
	switch conn := conn.(type) {
	case *tls.Conn:
		b.first = make([]byte, firstBytes)
	case syscall.Conn:
		if socket, err := conn.SyscallConn(); err == nil {
			b.waiting = &waiting{socket: socket, try: b.tryRead}
		}
	}
}

// receive reads behind what is kept of a message; in the middle of a long one, without a wait for memory.
func (b *buffer) receive(from io.Reader) (int, error) {
	idle := b.next == b.end && b.rest == 0
	switch {
	case idle && b.waiting != nil:
		b.release()
		if err := b.waiting.socket.Read(b.waiting.try); err != nil {
			return 0, err
		}
		return b.waiting.n, b.waiting.err
	case idle && b.first != nil:
		b.release()
		b.data = b.first
	default:
		b.makeRoom()
	}
	return from.Read(b.data[b.end:])
}

// tryRead reads what is there. It is false if that is nothing yet: then it is called again when there is.
func (b *buffer) tryRead(fd uintptr) (done bool) {
	w := b.waiting
	b.makeRoom()
	for {
		n, err := syscall.Read(int(fd), b.data)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			b.release()
			return false
		case err != nil:
			w.n, w.err = 0, os.NewSyscallError("read", err)
		case n == 0:
			w.n, w.err = 0, io.EOF
		default:
			w.n, w.err = n, nil
		}
		return true
	}
}
