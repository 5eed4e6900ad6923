package proxy

import (
	"crypto/tls"
	"io"
	"net"
)

// patient is a connection that waits for bytes without memory for them: most sessions are idle most of the time.
// lend is called when there may be something to read, and unused when there was nothing yet.
type patient interface {
	readLate(lend func() []byte, unused func()) (int, error)
}

// waiting is how a buffer reads from such a connection.
type waiting struct {
	patient
	lend   func() []byte
	unused func()
}

// firstBytes of an encrypted connection are waited for with so much memory: TLS cannot be asked for less than a read.
const firstBytes = 512

// attach makes the buffer wait for conn with little memory or none. All later reads must be from conn.
func (b *buffer) attach(conn net.Conn) {
	switch conn := conn.(type) {
	case *tls.Conn:
		b.first = make([]byte, firstBytes)
	case patient:
		b.waiting = &waiting{conn, b.lend, b.release}
	}
}

func (b *buffer) lend() []byte {
	b.makeRoom()
	return b.data
}

// receive reads behind what is kept of a message; in the middle of a long one, without a wait for memory.
func (b *buffer) receive(from io.Reader) (int, error) {
	idle := b.relax()
	switch {
	case idle && b.waiting != nil:
		return b.waiting.readLate(b.waiting.lend, b.waiting.unused)
	case idle && b.first != nil:
		b.data = b.first
	default:
		b.makeRoom()
	}
	return from.Read(b.data[b.end:])
}

// relax gives the memory back between two messages, if the buffer waits without it, and reports whether this is so. What
// was received has been flushed.
func (b *buffer) relax() (idle bool) {
	idle = b.next == b.end && b.rest == 0
	if idle && (b.waiting != nil || b.first != nil) {
		b.release()
	}
	return idle
}
