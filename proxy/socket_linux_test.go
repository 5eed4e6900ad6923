//go:build !386

package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// pair returns both ends of a TCP connection, as sockets.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = unscheduled(dialed), unscheduled(accepted)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// More than the kernel takes at once goes through, and ends with the writer.
func TestSocketMoves(t *testing.T) {
	a, b := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	written := make(chan error, 1)
	go func() {
		_, err := a.Write(sent)
		closeWrite(a)
		written <- err
	}()
	got, err := io.ReadAll(b)
	if err := errors.Join(err, <-written); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes arrive of %d, or others", len(got), len(sent))
	}
	if n, err := b.Write([]byte("back")); n != 4 || err != nil {
		t.Errorf("the other half is closed, too: %d bytes written, %v", n, err)
	}
}

// Deadlines and Close end a wait, as with any net.Conn.
func TestSocketWaitEnds(t *testing.T) {
	a, b := pair(t)
	a.SetReadDeadline(time.Unix(1, 0))
	if n, err := a.Read(make([]byte, 8)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the deadline: %d bytes, %v", n, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := b.Read(make([]byte, 8))
		done <- err
	}()
	b.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("read of a closed socket: %v", err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write to a closed socket: %v", err)
	}
}

// What the other side has cut off ends with an error of the kernel.
func TestSocketReset(t *testing.T) {
	a, b := pair(t)
	b.(*socket).plain.(*net.TCPConn).SetLinger(0)
	b.Close()
	if _, err := a.Read(make([]byte, 8)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("read after a reset: %v", err)
	}
	var err error
	for range 3 {
		_, err = a.Write([]byte("x"))
	}
	if err == nil {
		t.Error("write after a reset succeeds")
	}
}
