package outbox

import (
	"encoding/binary"
	"fmt"
	"net"
	"time"
)

const (
	framesBytes = 256 << 10
	// patientFrames is the number of shorter messages after which the buffer shrinks: long rows of a table often come in groups.
	patientFrames = 16

	// maxFrameBytes exceeds what PostgreSQL can send: it allocates no more than 1 GB for a message.
	maxFrameBytes = 1<<30 + 64

	// serverSilence is how long the server may send nothing, although it is asked for a reply every 10 s. It is long because a server that is busy
	// with a huge transaction does not reply.
	serverSilence = 2 * time.Minute
)

// frames splits what the server sends into protocol messages: kind byte, int32 length that includes itself, body. Its buffer doubles only when it is
// full of received bytes, never because of a length alone, and shrinks when no long message has arrived for a while.
type frames struct {
	conn       net.Conn
	longest    int                 // longest message that is returned unchanged
	shorten    func(*digest) error // reduces a longer message to what may be kept
	buffer     []byte
	start, end int // received and not yet returned
	short      int // messages since the last one that did not fit the shortest buffer
}

func newFrames(conn net.Conn) *frames {
	return &frames{conn: conn, longest: DefaultRowBytes, shorten: (*digest).data, buffer: make([]byte, framesBytes)}
}

// next returns the next message. body is valid until the next call.
func (f *frames) next() (kind byte, body []byte, err error) {
	f.shrink()
	if err := f.need(5); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(f.buffer[f.start+1:])
	if length < 4 || length > maxFrameBytes {
		return 0, nil, fmt.Errorf("message of kind %q claims a length of %d", f.buffer[f.start], length)
	}
	size := 1 + int(length)
	if f.short++; size > framesBytes {
		f.short = 0
	}
	if size > f.longest {
		return f.digest(size)
	}
	if err := f.need(size); err != nil {
		return 0, nil, err
	}
	message := f.buffer[f.start : f.start+size]
	f.start += size
	return message[0], message[5:], nil
}

// need reads until n bytes are in the buffer.
func (f *frames) need(n int) error {
	for f.end-f.start < n {
		if f.start > 0 {
			f.end = copy(f.buffer, f.buffer[f.start:f.end])
			f.start = 0
		}
		if f.end == len(f.buffer) {
			f.resize(2 * len(f.buffer))
		}
		if err := f.read(); err != nil {
			return err
		}
	}
	return nil
}

func (f *frames) read() error {
	if err := f.conn.SetReadDeadline(time.Now().Add(serverSilence)); err != nil {
		return err
	}
	n, err := f.conn.Read(f.buffer[f.end:])
	f.end += n
	if n > 0 {
		return nil
	}
	return err
}

func (f *frames) shrink() {
	if len(f.buffer) > framesBytes && f.short > patientFrames && f.end-f.start <= framesBytes/2 {
		f.resize(framesBytes)
	}
}

// resize moves the bytes not yet returned to a new buffer.
func (f *frames) resize(size int) {
	buffer := make([]byte, size)
	f.end = copy(buffer, f.buffer[f.start:f.end])
	f.start = 0
	f.buffer = buffer
}
