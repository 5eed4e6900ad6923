package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
)

const (
	bufferBytes    = 16 << 10
	maxBufferBytes = 64 << 10
	maxTextBytes   = 256 << 10 // limit for a Query or Parse, whose last statement may be a write
	headerBytes    = 5         // kind and length of a message
)

// buffer holds one direction of a session: bytes are read from one socket, examined in place, and written to the other, with one write per read.
//
//	data[done:next]  examined, to be written
//	data[next:end]   received, not yet examined
//
// A buffer is used by one goroutine. Only received, the number of bytes so far, may also be read by others.
type buffer struct {
	data            []byte
	done, next, end int
	rest            int    // bytes still to come of a message that is not examined further
	discard         bool   // the rest of that message is dropped, not written
	out             []byte // written before data[done:next]; in use once something has been inserted or dropped, see cut
	waiting         *waiting
	first           []byte // buffer to wait with, if the connection is encrypted
	received        atomic.Int64
}

// message is one message of the protocol, as far as it has been received.
type message struct {
	kind byte
	size int    // header and body, in bytes
	body []byte // points into the buffer, valid until the next read
}

// whole reports whether the complete message has been received.
func (m message) whole() bool { return headerBytes+len(m.body) == m.size }

// errMalformed means that a message has an impossible length field: nothing after it can be parsed.
var errMalformed = errors.New("a message has an impossible length")

var (
	smallBuffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([maxBufferBytes]byte) }}
)

// read waits for bytes. Those that belong to the rest of an earlier message are passed on or dropped immediately.
func (b *buffer) read(from io.Reader) error {
	n, err := b.receive(from)
	b.received.Add(int64(n))
	b.end += n
	rest := min(b.rest, n)
	b.next += rest
	b.rest -= rest
	if b.discard {
		b.done = b.next
		b.discard = b.rest > 0
	}
	if n > 0 {
		return nil
	}
	return err
}

// makeRoom is called after a flush, when everything before next has been written.
func (b *buffer) makeRoom() {
	kept := b.data[b.next:b.end]
	switch {
	case len(b.data) < bufferBytes, len(b.data) >= maxBufferBytes && len(kept) == 0 && b.rest == 0:
		b.move(smallBuffers.Get().(*[bufferBytes]byte)[:], kept)
	case len(b.data) == bufferBytes && b.end == bufferBytes: // the other side sends faster than the proxy reads
		b.move(largeBuffers.Get().(*[maxBufferBytes]byte)[:], kept)
	case len(kept) == maxBufferBytes && len(b.data) == maxBufferBytes:
		b.move(make([]byte, maxTextBytes), kept)
	default:
		copy(b.data, kept)
		b.done, b.next, b.end = 0, 0, len(kept)
	}
}

// move continues in another block of memory.
func (b *buffer) move(to, kept []byte) {
	copy(to, kept)
	b.release()
	b.data, b.end = to, len(kept)
}

// clear discards the contents.
func (b *buffer) clear() {
	b.done, b.next, b.end, b.rest, b.discard, b.out = 0, 0, 0, 0, false, b.out[:0]
}

// release returns the memory to the pools and discards everything that was received.
func (b *buffer) release() {
	switch len(b.data) {
	case bufferBytes:
		smallBuffers.Put((*[bufferBytes]byte)(b.data))
	case maxBufferBytes:
		largeBuffers.Put((*[maxBufferBytes]byte)(b.data))
	}
	b.data = nil
	b.done, b.next, b.end = 0, 0, 0
	if cap(b.out) == bufferBytes && len(b.out) == 0 {
		smallBuffers.Put((*[bufferBytes]byte)(b.out[:bufferBytes]))
		b.out = nil
	}
}

// message returns the next message; ok is false until its header has been received.
func (b *buffer) message() (m message, ok bool, err error) {
	received := b.data[b.next:b.end]
	if len(received) < headerBytes {
		return m, false, nil
	}
	length := binary.BigEndian.Uint32(received[1:])
	if length < headerBytes-1 || length > math.MaxInt32-1 {
		return m, false, errMalformed
	}
	m.kind, m.size = received[0], int(length)+1
	m.body = received[headerBytes:min(m.size, len(received))]
	return m, true, nil
}

// holds reports whether the buffer has as much of m as it can ever hold: the complete message, or a full buffer.
func (b *buffer) holds(m message) bool {
	most := maxBufferBytes
	if m.kind == 'Q' || m.kind == 'P' {
		most = maxTextBytes
	}
	return m.whole() || b.end-b.next >= most
}

// pass lets m go to the other side unchanged, including the part that is still to come.
func (b *buffer) pass(m message) {
	have := headerBytes + len(m.body)
	b.next += have
	b.rest = m.size - have
}

// drop keeps m, including the part that is still to come, from the other side.
func (b *buffer) drop(m message) {
	b.cut()
	have := headerBytes + len(m.body)
	b.next += have
	b.done = b.next
	b.rest = m.size - have
	b.discard = b.rest > 0
}

// replaced records that the received part of m has been written to out in another form; the rest passes unchanged.
func (b *buffer) replaced(m message) {
	b.drop(m)
	b.discard = false
}

// passAll lets everything pass from now on, unexamined.
func (b *buffer) passAll() {
	b.next = b.end
	b.rest = math.MaxInt
}

// cut moves the examined bytes to out, so that others can be appended after them.
func (b *buffer) cut() {
	if b.out == nil {
		b.out = smallBuffers.Get().(*[bufferBytes]byte)[:0]
	}
	b.out = append(b.out, b.data[b.done:b.next]...)
	b.done = b.next
}

// flush writes everything that has been examined, in one write.
func (b *buffer) flush(to io.Writer) error {
	p := b.data[b.done:b.next]
	if len(b.out) > 0 {
		b.cut()
		p = b.out
	}
	b.done = b.next
	if len(p) == 0 {
		return nil
	}
	_, err := to.Write(p)
	if b.out = b.out[:0]; cap(b.out) > bufferBytes {
		b.out = nil
	}
	return err
}
