package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
)

// That one session's question for the outbox is refused, because of what its client brought along, tells nothing of the
// outbox: the next one asks again, and then both have notes.
func TestRefusedQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Config{Key: testKey})
		ann := h.enter("anna", annInShop+"options\x00-c statement_timeout=1\x00")
		ann.answers("ErrorResponse S=ERROR V=ERROR C=57014 M=no", "ReadyForQuery I")
		if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") || strings.Contains(got, "57014") {
			t.Errorf("the client hears %q", got)
		}
		bob := h.enter("bobb", annInShop)
		bob.answers("DataRow t", "CommandComplete `SELECT 1`", "ReadyForQuery I")
		bob.heard()
		bob.answers("DataRow t", "CommandComplete `SELECT 1`", "ReadyForQuery I")
		bob.heard()
		for _, g := range []*guest{ann, bob} {
			g.says("Query `INSERT INTO t VALUES (1)`")
			if _, got := g.heard(); !strings.Contains(got, "pgtee.note") {
				t.Errorf("the server hears %q", got)
			}
		}
	})
}
