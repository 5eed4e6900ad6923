//go:build !linux || 386

package proxy

import "net"

// unscheduled changes nothing here (see socket_linux.go): the syscall package has no such calls, or no number for them.
func unscheduled(conn net.Conn) net.Conn { return conn }

// loops are not known here.
type loops struct{}

func (*loops) stop() {}

// move moves both directions until they end.
func (s *session) move(up, down direction) (release func()) {
	s.moveByGoroutines(up, down)
	return func() {}
}

// watchClient cannot tell here.
func (*session) watchClient() {}

func (*session) stopWatching() {}
