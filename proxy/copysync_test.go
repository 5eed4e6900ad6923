package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// After a COPY of a Query a session is idle, whether the data was taken or refused: a proxy that shuts down ends it, and so
// does the limit of idle time. What comes next has its whole time.
func TestIdleAfterCopy(t *testing.T) {
	for name, answer := range map[string]string{"taken": `CommandComplete "COPY 1"`, "refused": "ErrorResponse S=ERROR V=ERROR C=22P02 M=no"} {
		copies := func(h *house) *guest {
			g := h.enter("copy", annInShop)
			g.says("Query `COPY t FROM STDIN`")
			g.heard()
			g.answers(`CopyInResponse "\x00\x00\x00"`)
			g.heard()
			g.says("CopyData x", "CopyDone")
			g.heard()
			g.answers(answer, "ReadyForQuery I")
			g.heard()
			return g
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Config{})
				g := copies(h)
				for _, s := range h.proxy.stop() {
					s.drain()
				}
				if got, _ := g.heard(); !strings.Contains(got, "57P01") {
					t.Errorf("the proxy shuts down, and the client hears %q", got)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Config{Limits: Limits{Query: 10 * time.Second, Idle: time.Minute}})
				g := copies(h)
				time.Sleep(9 * time.Second)
				g.says("Query `SELECT 1`")
				time.Sleep(9 * time.Second)
				g.answers(`CommandComplete "SELECT 1"`, "ReadyForQuery I")
				time.Sleep(2 * time.Minute)
				if got, _ := g.heard(); len(h.dialed) > 0 || !strings.Contains(got, "57P05") {
					t.Errorf("%d CancelRequests, and the client hears %q", len(h.dialed), got)
				}
			})
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Config{Limits: Limits{Idle: time.Minute}})
				g := copies(h)
				time.Sleep(2 * time.Minute)
				if got, _ := g.heard(); !strings.Contains(got, "57P05") {
					t.Errorf("idle, the client hears %q", got)
				}
			})
		})
	}
}
