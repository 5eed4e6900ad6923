package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// TestLatestStatement: Sessions shows the statement of the last note as it may be published, bounded, and none where notes have no text.
func TestLatestStatement(t *testing.T) {
	long := "INSERT INTO t VALUES (1, '" + strings.Repeat("é", maxLatestBytes) + "')"
	for name, test := range map[string]struct {
		alter func(*Config)
		says  []string // Query
		want  string
	}{
		"nothing yet":          {nil, nil, ""},
		"only reads":           {nil, []string{"SELECT 'a'"}, ""},
		"a write":              {nil, []string{" INSERT INTO t VALUES (1, 'a')"}, "INSERT INTO t VALUES ($1, $2)"},
		"a write, then a read": {nil, []string{"UPDATE t SET a = 1", "SELECT 'a'"}, "UPDATE t SET a = $1"},
		"the last of several":  {nil, []string{"UPDATE t SET a = 1; DELETE FROM t"}, "DELETE FROM t"},
		"extended protocol":    {nil, []string{"UPDATE t SET a = 1", "extended: DELETE FROM t WHERE a = 2"}, "DELETE FROM t WHERE a = $1"},
		"with literals":        {func(c *Config) { c.Literals = true }, []string{"UPDATE t SET a = 'x'"}, "UPDATE t SET a = 'x'"},
		"a credential":         {func(c *Config) { c.Literals = true }, []string{"ALTER ROLE ann PASSWORD 'x'"}, "ALTER ROLE ann PASSWORD '<redacted>'"},
		"a note of no text":    {func(c *Config) { c.SQLText = false }, []string{"UPDATE t SET a = 1"}, ""},
		"one note for all":     {func(c *Config) { c.Attribution = AttributionTransaction }, []string{"UPDATE t SET a = 1"}, ""},
		"cut in a literal":     {nil, []string{long}, "INSERT INTO t VALUES ($1, …"},
		"the same in full":     {func(c *Config) { c.Literals = true }, []string{long}, "INSERT INTO t VALUES (1, …"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := Config{Key: testKey, SQLText: true}
				if test.alter != nil {
					test.alter(&config)
				}
				h := newHouse(t, config)
				setUp(h.proxy, "server")
				h.known = true
				ann := h.enter("abcd", annInShop)
				time.Sleep(time.Second)
				for _, sql := range test.says {
					if text, extended := strings.CutPrefix(sql, "extended: "); extended {
						ann.says("Parse `` `"+text+"`", "Bind `` ``", "Execute `` 0", "Sync")
					} else {
						ann.says("Query `" + sql + "`")
					}
				}
				synctest.Wait()
				s := h.proxy.Sessions()[0]
				if s.Statement != test.want {
					t.Errorf("the last statement is %q, want %q", s.Statement, test.want)
				}
				if at := time.Now(); test.want == "" && !s.StatementAt.IsZero() || test.want != "" && !s.StatementAt.Equal(at) {
					t.Errorf("it was sent at %s, not at %s", s.StatementAt, at)
				}
			})
		})
	}
}
