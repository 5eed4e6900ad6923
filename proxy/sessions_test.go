package proxy

import (
	"testing"
	"testing/synctest"
)

// TestSessions: who is there, what each does, and that one of them can be ended.
func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := noting(t)
		ann := h.enter("abcd", annInShop+"application_name\x00till\x00")
		ben := h.enter("efgh", annInShop)
		byApplication := func(name string) SessionInfo {
			t.Helper()
			for _, s := range h.proxy.Sessions() {
				if s.Application == name {
					return s
				}
			}
			t.Fatalf("no session of application %q in %+v", name, h.proxy.Sessions())
			return SessionInfo{}
		}
		first := byApplication("till")
		if first.User != "ann" || first.Database != "shop" || first.State != "idle" || first.Session == "" || first.PID == 0 || first.Since.IsZero() {
			t.Errorf("a session is %+v", first)
		}
		ann.says("Query `SELECT 1`")
		synctest.Wait()
		running := byApplication("till")
		if running.State != "active" {
			t.Errorf("a session that runs something is %s", running.State)
		}
		if running.Queries != 1 || running.Notes != 0 || running.ClientBytes-first.ClientBytes != int64(len("Q\x00\x00\x00\x0dSELECT 1\x00")) {
			t.Errorf("after one query a session is %+v, before it %+v", running, first)
		}
		ann.says("Query `INSERT INTO t VALUES (1)`")
		synctest.Wait()
		if writing := byApplication("till"); writing.Queries != 2 || writing.Notes != 1 || writing.NoteBytes == 0 {
			t.Errorf("after a write a session is %+v", writing)
		}
		go func() { (<-h.dialed).Close() }() // the CancelRequest
		if !h.proxy.Terminate(first.ID) {
			t.Fatal("there is no such session")
		}
		synctest.Wait()
		if _, closed := ann.client.heard(); !closed {
			t.Error("the client is still connected")
		}
		if _, closed := ann.server.heard(); !closed {
			t.Error("the server is still connected")
		}
		synctest.Wait()
		if left := h.proxy.Sessions(); len(left) != 1 || left[0].Application != "" {
			t.Errorf("left are %+v", left)
		}
		ben.says("Query `SELECT 1`")
		if _, heard := ben.heard(); heard == "" {
			t.Error("another session was hit")
		}
		if h.proxy.Terminate(first.ID) || h.proxy.Terminate("") {
			t.Error("a session was ended twice")
		}
	})
}
