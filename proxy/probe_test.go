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
		ann := h.enter("anna", annInShop)
		ann.answers("ErrorResponse S=ERROR V=ERROR C=42501 M=no", "ReadyForQuery I")
		if got, _ := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") || strings.Contains(got, "42501") {
			t.Errorf("the client hears %q", got)
		}
		bob := h.enter("bobb", annInShop)
		bob.answers(sameSchema...)
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
		ann.answers("DataRow t", "CommandComplete `SELECT 1`", "ReadyForQuery I")
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
