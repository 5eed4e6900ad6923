package proxy

import "syscall"

const (
	tcpNotsentLowat = 25 // linux/tcp.h

	// maxUnsentBytes is how much may wait in the kernel for a peer that does not read.
	maxUnsentBytes = 16 << 10
)

// limitUnsent keeps the kernel from buffering megabytes for a peer that does not read. Otherwise the sender would write on without noticing that
// nobody reads, and would learn of an error later than without the proxy. Data in flight is not limited, so long round trips cost no throughput. A
// Unix socket has no such buffer.
func limitUnsent(fd uintptr) {
	syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotsentLowat, maxUnsentBytes)
}
