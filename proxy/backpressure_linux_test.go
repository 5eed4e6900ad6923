//go:build !386

package proxy

import (
	"testing"
	"time"
)

// The kernel refuses soon what a peer does not read: it must not store megabytes.
func TestUnsentIsLimited(t *testing.T) {
	a, _ := pair(t)
	a.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	const most = 1 << 20
	if n, err := a.Write(make([]byte, 16*most)); n > most || err == nil {
		t.Errorf("%d bytes go to a peer that does not read, more than %d (%v)", n, most, err)
	}
}
