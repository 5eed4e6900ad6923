package proxy

import "syscall"

const (
	tcpNotsentLowat = 25 // linux/tcp.h

	// maxUnsentBytes may wait in the kernel for a peer that takes no more.
	maxUnsentBytes = 16 << 10
)

// limitUnsent keeps the kernel from storing megabytes for a peer that does not read: who writes to us would write on
// without a hint that nobody reads, and learn of an error later than without us. What is under way is not limited,
// so distance costs no speed. A Unix socket has no such store.
func limitUnsent(fd uintptr) {
	syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxUnsentBytes)
}
