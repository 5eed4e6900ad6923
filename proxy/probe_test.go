package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// That one session's question for the outbox is refused, because of what its client brought along, tells nothing of the
// outbox: the next one asks again, and then both have notes.
func TestRefusedQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Key: testKey})
		ann := h.enter("anna", annInShop)
		ann.answers("ErrorResponse S=ERROR V=ERROR C=42501 M=no", "ReadyForQuery I")
		if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") || strings.Contains(got, "42501") {
			t.Errorf("the client hears %q", got)
		}
		bob := h.enter("bobb", annInShop)
		bob.answers(sameSchema...)
		bob.heard()
		bob.answers(itsOwner...)
		bob.heard()
		bob.answers("DataRow t", "CommandComplete `SELECT 1`", "ReadyForQuery I")
		bob.heard()
		bob.answers(noWords...)
		bob.heard()
		for _, g := range []*guest{ann, bob} {
			g.says("Query `INSERT INTO t VALUES (1)`")
			if _, got := g.heard(); !isNote(got) {
				t.Errorf("the server hears %q", got)
			}
		}
	})
}

// A question that the client's own statement_timeout ends before it has set another one is asked again, and the client
// hears nothing of it, nor what it has asked to hear of its statements.
func TestCancelledQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Key: testKey, RequireOutbox: true})
		ann := h.enter("anna", annInShop+"options\x00-c statement_timeout=1\x00")
		for range 2 {
			ann.answers("ErrorResponse S=ERROR V=ERROR C=57014 M=no", "ReadyForQuery I")
			if got, asked := ann.heard(); got != "" || !strings.Contains(asked, "statement_timeout = 5000") {
				t.Errorf("the client hears %q, the server %q", got, asked)
			}
		}
		ann.answers("NoticeResponse S=LOG V=LOG C=00000 M=duration")
		ann.answers(sameSchema...)
		ann.answers(itsOwner...)
		ann.answers("DataRow t", "CommandComplete `SELECT 1`", "ReadyForQuery I")
		ann.answers(noWords...)
		if got, _ := ann.heard(); got != "Z\x00\x00\x00\x05I" {
			t.Errorf("the client hears %q", got)
		}
	})
}

// A question is asked on terms that the server knows.
func TestTermsOfTheQuestion(t *testing.T) {
	for version, want := range map[string]bool{"15.20 (Debian 15.20-1)": false, "17.5": true, "18beta1": true, "": false} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, Config{Key: testKey})
			ann := h.knock(annInShop)
			ann.meet()
			ann.answers("Authentication 0", "ParameterStatus server_version `"+version+"`", "BackendKeyData 4711 anna", "ReadyForQuery I")
			if _, asked := ann.heard(); strings.Contains(asked, "transaction_timeout") != want {
				t.Errorf("%s is asked %q", version, asked)
			}
		})
	}
}

// A database that was dropped and made again under its name is another one: nothing that was known of the first holds for
// it, even if the copy of a schema pgtee looks the same.
func TestDatabaseMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Key: testKey})
		row := func(value string) []string {
			return []string{"DataRow `" + value + "`", "CommandComplete `SELECT 1`", "ReadyForQuery I"}
		}
		yes, no, mayNot := row("t"), []string{"CommandComplete `SELECT 0`", "ReadyForQuery I"}, row("7,8 t f f t postgres")
		for i, c := range []struct {
			later   time.Duration
			answers [][]string
			noted   bool
		}{
			{0, [][]string{sameSchema, itsOwner, yes, noWords}, true},
			{0, [][]string{sameSchema}, true},
			{catalogLasts, [][]string{sameSchema, itsOwner}, true},
			{0, [][]string{row("base/6/1 ")}, false},
			{0, [][]string{row("base/6/1 9"), itsOwner, no}, false},
			{absenceLasts / 2, [][]string{row("base/6/1 9")}, false},
			{absenceLasts, [][]string{row("base/6/1 9"), no}, false},
			{0, [][]string{row("base/7/1 9"), itsOwner, yes, noWords}, true},
			{0, [][]string{row("base/7/1 10"), mayNot}, false},                          // a role that may not call it
			{0, [][]string{row("base/7/1 10"), row("7,8 t f t t postgres"), yes}, true}, // one that may
		} {
			time.Sleep(c.later)
			g := h.enter(string("abcdefghij"[i:i+1])+"bcd", annInShop)
			for _, lines := range c.answers {
				g.answers(lines...)
				g.heard()
			}
			g.says("Query `INSERT INTO t VALUES (1)`")
			if _, got := g.heard(); !strings.Contains(got, "INSERT") || isNote(got) != c.noted {
				t.Errorf("session %d: the server hears %q", i+1, got)
			}
		}
	})
}

// While the outbox is looked for, a transaction that has a note goes on with notes: without them, its writes would be attributed to that one. If it is
// gone, nothing is called any more, because somebody else may have created its functions: the session ends.
func TestNotesLastAsLongAsTheirTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := noting(t)
		var writers []*guest
		for _, key := range []string{"anna", "bobb", "carl", "dora", "emil"} {
			g := h.enter(key, annInShop)
			g.says("Query BEGIN")
			g.heard()
			g.answers("CommandComplete BEGIN", "ReadyForQuery T")
			g.heard()
			g.says("Query `INSERT INTO t VALUES (1)`")
			if _, got := g.heard(); !isNote(got) {
				t.Errorf("%s: the server hears %q", key, got)
			}
			g.answers("RowDescription note", "DataRow x", "CommandComplete `SELECT 1`", "CommandComplete `INSERT 0 1`", "ReadyForQuery T")
			g.heard()
			writers = append(writers, g)
		}
		ann, bob, carl, dora, emil := writers[0], writers[1], writers[2], writers[3], writers[4]
		d := h.proxy.outboxes.last("server", "shop")
		ends := func(g *guest, part string) {
			t.Helper()
			g.says("Query `INSERT INTO t VALUES (2)`")
			if client, got := g.heard(); got != "" || !strings.Contains(client, part) {
				t.Errorf("the server hears %q, the client %q", got, client)
			}
		}
		other, _ := readSchema([]byte("9,10 t t t t postgres"))
		d.see("9", other, time.Now())
		d.observe(other, time.Now()) // and ready() has not been answered yet
		ann.says("Query `INSERT INTO t VALUES (2)`")
		if _, got := ann.heard(); !isNote(got) {
			t.Errorf("a transaction with a note goes on with %q", got)
		}
		ann.answers("RowDescription note", "DataRow x", "CommandComplete `SELECT 1`", "CommandComplete `INSERT 0 1`", "ReadyForQuery T")
		ann.heard()
		d.forget()
		ends(ann, "is gone")
		d.see("9", other, time.Now())
		d.observe(nil, time.Now())
		ends(dora, "is gone")
		d.see("9", nil, time.Now())
		d.observe(nil, time.Now())
		ends(emil, "is gone")

		strange, _ := readSchema([]byte("7,8 t t t f mallory"))
		d.see("9", strange, time.Now())
		d.observe(strange, time.Now())
		ends(bob, "mallory")

		setUp(h.proxy, "server")
		carl.answers("CommandComplete nothing")
		if client, _ := carl.heard(); !strings.Contains(client, "08P01") {
			t.Errorf("after a reply that answers nothing, the client hears %q", client)
		}
	})
}
