package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// The next server is tried when one takes the connection and says nothing, or is not ready for clients.
func TestNextServer(t *testing.T) {
	for name, refuse := range map[string]func(*guest){
		"silent": func(g *guest) { time.Sleep(11 * time.Second) },
		"gone":   func(g *guest) { g.server.conn.Close() },
		"starting up": func(g *guest) {
			g.answers(`ErrorResponse S=FATAL V=FATAL C=57P03 "M=the database system is starting up"`)
		},
		"another kind": func(g *guest) { g.answers(`ErrorResponse S=FATAL V=FATAL C=28000 "M=no pg_hba.conf entry"`) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, Config{Servers: []Server{{Address: "one"}, {Address: "one"}}})
				ann := h.knock(annInShop)
				ann.meet()
				refuse(ann)
				ann.meet()
				ann.welcome("abcd")
				if got, asked := ann.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") || asked != string(message3(annInShop)) {
					t.Errorf("the client hears %q, the server %q", got, asked)
				}
			})
		})
	}
}

// The last server's answer is the client's, whatever it is, and a wrong password is not a reason to try another.
func TestLastServer(t *testing.T) {
	for _, code := range []string{"57P03", "28P01", "28000"} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t, Config{Servers: []Server{{Address: "one"}, {Address: "two"}}})
			ann := h.knock(annInShop)
			ann.meet()
			if code == "57P03" {
				ann.answers(`ErrorResponse S=FATAL V=FATAL C=57P03 "M=starting up"`)
				ann.meet()
			}
			ann.answers("ErrorResponse S=FATAL V=FATAL M=no C=" + code)
			if got, _ := ann.heard(); !strings.Contains(got, code) || len(h.dialed) != 0 {
				t.Errorf("%s: the client hears %q", code, got)
			}
		})
	}
}
