//go:build !linux || 386

package proxy

import "net"

// unscheduled returns conn unchanged on these platforms (see socket_linux.go): the syscall package lacks these calls, or their numbers.
func unscheduled(conn net.Conn) net.Conn { return conn }

// loops do not exist on these platforms.
type loops struct{}

func (*loops) stop() {}

// move moves both directions until they end.
func (s *session) move(up, down direction) (release func()) {
	s.moveByGoroutines(up, down)
	return func() {}
}

// watchClient does nothing on these platforms, which offer no way to detect a hang-up.
func (*session) watchClient(func()) {}

func (*session) stopWatching() {}
