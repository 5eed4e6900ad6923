//go:build !linux || 386

package proxy

import "net"

// unscheduled changes nothing here (see socket_linux.go): the syscall package has no such calls, or no number for them.
func unscheduled(conn net.Conn) net.Conn { return conn }
