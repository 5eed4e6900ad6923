package proxy

import (
	"crypto/tls"
	"io"
	"net"
)

// patient is a connection that can wait for bytes without holding a buffer, because most sessions are idle most of the time. It calls lend when there
// may be something to read, and unused if there was nothing after all.
type patient interface {
	readLate(lend func() []byte, unused func()) (int, error)
}

// waiting is what a buffer needs to read from such a connection.
type waiting struct {
	patient
	lend   func() []byte
	unused func()
}

// firstBytes is the size of the buffer with which an encrypted connection waits: TLS offers no way to wait without a read.
const firstBytes = 512

// attach makes the buffer wait for conn with little or no memory. All later reads must be from conn.
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

// receive reads behind the kept part of a message. Only between two messages can it wait without memory.
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

// relax reports whether the buffer is between two messages. If it is, and can wait without memory, relax gives its memory back to the pools. Everything
// received must have been flushed.
func (b *buffer) relax() (idle bool) {
	idle = b.next == b.end && b.rest == 0
	if idle && (b.waiting != nil || b.first != nil) {
		b.release()
	}
	return idle
}
