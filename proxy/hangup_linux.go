//go:build !386

package proxy

import (
	"crypto/tls"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// watchClient calls hungUp when the client hangs up while nothing reads from its connection, because its login or its requests wait. If a loop handles
// the session, the loop does this itself.
func (s *session) watchClient(hungUp func()) {
	if s.watching != nil {
		return
	}
	client := socketBelow(s.client)
	if client == nil {
		return
	}
	ended := make(chan struct{})
	s.watching = ended
	go func() {
		defer close(ended)
		if client.raw.Read(hasHungUp) == nil {
			hungUp()
		}
	}()
}

// stopWatching must be called before the client's connection is read again.
func (s *session) stopWatching() {
	if s.watching == nil {
		return
	}
	s.client.SetReadDeadline(time.Unix(1, 0))
	<-s.watching
	s.client.SetReadDeadline(time.Time{})
	s.watching = nil
}

// socketBelow returns the socket that carries a connection, or nil if there is none.
func socketBelow(conn net.Conn) *socket {
	for {
		switch c := conn.(type) {
		case *tls.Conn:
			conn = c.NetConn()
		case *unreadConn:
			conn = c.Conn
		case *socket:
			return c
		default:
			return nil
		}
	}
}

// pollHangUp is POLLRDHUP of poll(2): the peer has closed its sending side, or the connection.
const pollHangUp = 0x2000

// hasHungUp reports whether the peer has closed its side, even if unread data precede that.
func hasHungUp(fd uintptr) bool {
	poll := struct {
		fd              int32
		events, happens int16
	}{int32(fd), pollHangUp, 0}
	n, _, _ := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, uintptr(unsafe.Pointer(&syscall.Timespec{})), 0, 0, 0)
	return n == 1
}
