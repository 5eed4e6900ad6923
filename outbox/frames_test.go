package outbox

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// readConn is a connection that only reads.
type readConn struct {
	net.Conn
	io.Reader
}

func (c readConn) Read(p []byte) (int, error)      { return c.Reader.Read(p) }
func (c readConn) SetReadDeadline(time.Time) error { return nil }

func frame(kind byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

func TestFrames(t *testing.T) {
	bodies := append([]string{"", "a", strings.Repeat("b", framesBytes-5), "c", strings.Repeat("d", 5*framesBytes+3), "e", strings.Repeat("f", framesBytes)}, slices.Repeat([]string{"g"}, patientFrames+2)...)
	var sent []byte
	for i, body := range bodies {
		sent = append(sent, frame(byte('0'+i), body)...)
	}
	for name, reader := range map[string]io.Reader{
		"as much as fits": bytes.NewReader(sent),
		"byte by byte":    iotest.OneByteReader(bytes.NewReader(sent)),
		"error with data": iotest.DataErrReader(bytes.NewReader(sent)),
	} {
		t.Run(name, func(t *testing.T) {
			f := newFrames(readConn{Reader: reader})
			for i, want := range bodies {
				kind, body, err := f.next()
				if err != nil || kind != byte('0'+i) || string(body) != want {
					t.Fatalf("message %d: kind %q, %d bytes, %v, want %d bytes", i, kind, len(body), err, len(want))
				}
			}
			if _, _, err := f.next(); err != io.EOF {
				t.Errorf("after the last message: %v", err)
			}
			if len(f.buffer) != framesBytes {
				t.Errorf("the buffer stays at %d bytes", len(f.buffer))
			}
		})
	}
}

func TestFramesRefuseLength(t *testing.T) {
	for _, length := range []uint32{0, 3, maxFrameBytes + 1, 1<<32 - 1} {
		raw := binary.BigEndian.AppendUint32([]byte{'d'}, length)
		if _, _, err := newFrames(readConn{Reader: bytes.NewReader(raw)}).next(); err == nil || err == io.EOF {
			t.Errorf("length %d: %v", length, err)
		}
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(append(frame('d', "hello"), frame('N', "")...))
	f.Add(binary.BigEndian.AppendUint32([]byte{'d'}, maxFrameBytes)) // claims much, brings nothing
	f.Fuzz(func(t *testing.T, sent []byte) {
		frames := newFrames(readConn{Reader: bytes.NewReader(sent)})
		var got []byte
		for {
			kind, body, err := frames.next()
			if err != nil {
				break
			}
			got = append(got, frame(kind, string(body))...)
		}
		if !bytes.HasPrefix(sent, got) || len(frames.buffer) > max(framesBytes, 2*len(sent)) {
			t.Fatalf("got %x of %x with a buffer of %d", got, sent, len(frames.buffer))
		}
	})
}
