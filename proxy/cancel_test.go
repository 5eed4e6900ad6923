package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
)

const cancelAbcd = "\x00\x00\x00\x10\x04\xd2\x16\x2e\x00\x00\x12\x67abcd"

// canceller sends a CancelRequest for the session with the key abcd.
func (h *house) canceller() *guest {
	g := h.knock("")
	g.client.say <- []byte(cancelAbcd)
	synctest.Wait()
	return g
}

// noting is a house whose notes are on.
func noting(t *testing.T) *house {
	h := newHouse(t, Config{Key: testKey, SQLText: true})
	setUp(h.proxy, "server")
	h.known = true
	return h
}

// vacuums are a VACUUM in each protocol, its end, and that of the note that follows.
var vacuums = map[string]struct{ asked, answered, noted []string }{
	"simple": {
		[]string{"Query `VACUUM t`"}, []string{"CommandComplete VACUUM", "ReadyForQuery I"},
		[]string{"RowDescription note", "DataRow ``", "CommandComplete `SELECT 1`", "ReadyForQuery I"},
	},
	"extended": {
		[]string{"Parse `` `VACUUM t`", "Bind `` ``", "Execute `` 0", "Sync"},
		[]string{"ParseComplete", "BindComplete", "CommandComplete VACUUM", "ReadyForQuery I"},
		[]string{"CloseComplete", "ParseComplete", "BindComplete", "DataRow ``", "CommandComplete `SELECT 1`", "CloseComplete", "ReadyForQuery I"},
	},
}

// A CancelRequest that is on its way when a VACUUM succeeds does not hit the note that follows.
func TestCancelBeforeNote(t *testing.T) {
	for name, vacuum := range vacuums {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := noting(t)
				ann := h.enter("abcd", annInShop)
				ann.says(vacuum.asked...)
				ann.heard()
				cancel := h.canceller()
				cancel.meet()
				ann.answers(vacuum.answered...)
				if _, got := ann.heard(); isNote(got) {
					t.Error("the note is sent while the CancelRequest is on its way")
				}
				cancel.server.conn.Close()
				if _, got := ann.heard(); !isNote(got) {
					t.Errorf("after the CancelRequest the server hears %q", got)
				}
			})
		})
	}
}

// A CancelRequest that comes while such a note runs is too late, as it would be after the VACUUM: the client gets its
// end at once.
func TestCancelDuringNote(t *testing.T) {
	for name, vacuum := range vacuums {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := noting(t)
				ann := h.enter("abcd", annInShop)
				ann.says(vacuum.asked...)
				ann.heard()
				ann.answers(vacuum.answered...)
				ann.heard()
				cancel := h.canceller()
				if _, closed := cancel.client.heard(); !closed || len(h.dialed) != 0 {
					t.Error("the CancelRequest goes to the server")
				}
				ann.answers(vacuum.noted...)
				if got, _ := ann.heard(); got != "Z\x00\x00\x00\x05I" {
					t.Errorf("the client hears %q", got)
				}
				h.canceller().meet() // it is idle for all that the proxy knows: the server decides
			})
		})
	}
}

// A CancelRequest that comes while a note runs in a group of its own, in front of the client's request, waits for that request.
func TestCancelDuringNoteAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := noting(t)
		ann := h.enter("abcd", annInShop)
		ann.says("Query `BEGIN; INSERT INTO t VALUES (1)`")
		ann.heard()
		ann.answers("CommandComplete BEGIN", "RowDescription note", "DataRow ``", "CommandComplete `SELECT 1`", "CommandComplete `INSERT 0 1`", "ReadyForQuery T")
		ann.heard()
		ann.says("FunctionCall x")
		if _, got := ann.heard(); !isNote(got) {
			t.Errorf("the server hears %q, no note", got)
		}
		cancel := h.canceller()
		if len(h.dialed) != 0 {
			t.Error("the CancelRequest goes to the server while the note runs")
		}
		ann.answers("CloseComplete", "ParseComplete", "BindComplete", "CommandComplete `SELECT 1`", "CloseComplete", "ReadyForQuery T")
		cancel.meet()
	})
}

// Before the session has begun its key means nothing: what runs is our question for the outbox.
func TestCancelDuringProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Key: testKey})
		ann := h.enter("abcd", annInShop)
		cancel := h.canceller()
		if _, closed := cancel.client.heard(); !closed || len(h.dialed) != 0 {
			t.Error("the CancelRequest goes to the server")
		}
		ann.answers("RowDescription `?column?`", "DataRow f", "CommandComplete `SELECT 1`", "ReadyForQuery I")
		if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") {
			t.Errorf("the client hears %q", got)
		}
	})
}

// A CancelRequest whose session is at another proxy goes to every server, once, whatever the ways to reach it.
func TestCancelElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Servers: []Server{{Address: "one"}, {Address: "one"}, {Address: "two"}}})
		cancel := h.canceller()
		for range 2 {
			if synctest.Wait(); len(h.dialed) == 0 {
				t.Fatal("a server does not hear of it")
			}
			cancel.meet()
			synctest.Wait()
			if got, _ := cancel.server.heard(); string(got) != cancelAbcd {
				t.Errorf("a server hears %q", got)
			}
			cancel.server.conn.Close()
		}
		synctest.Wait()
		if _, closed := cancel.client.heard(); !closed || len(h.dialed) != 0 {
			t.Errorf("closed %v, %d more servers hear of it", closed, len(h.dialed))
		}
	})
}
