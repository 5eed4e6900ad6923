package console

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/proxy"
)

// oneSession is a proxy with one busy session, and one that has written nothing.
type oneSession struct{ noSessions }

const lastStatement = `UPDATE till SET note = '"><img src=x onerror=alert(1)>'`

func (oneSession) Sessions() []proxy.SessionInfo {
	return []proxy.SessionInfo{{ID: "8", User: "bea", State: "idle"}, {ID: "7", Session: "652f", User: "ann", Database: "shop", Client: "10.0.0.9:51000", State: "active", Queries: 1234, Notes: 56, NoteBytes: 2048, ClientBytes: 3 << 10, ServerBytes: 4 << 20,
		Statement: lastStatement, StatementAt: time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)}}
}

// TestSessions: who is busy, and what each has written; a reader may not end a session.
func TestSessions(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Sessions = oneSession{} })
	page := f.page("/sessions")
	f.expect(page, "ann", "active", "1\u202f234", "2.0 kB sent for them", "3.0 kB", "4.0 MB", `href="/live?session=652f"`, `href="/session?id=652f"`)
	f.expect(page, "<code>UPDATE till SET note = &#39;&#34;&gt;&lt;img", "2025-01-31 12:00:00.000")
	if strings.Contains(page, "/sessions/terminate") {
		t.Error("a reader is offered to end a session")
	}
	f = newFixture(t, func(c *Config) { c.Sessions, c.Open = oneSession{}, Admin })
	page = f.page("/sessions")
	f.expect(page, "End the session of bea, from a Unix socket? What it runs", "10.0.0.9:51000? Its last statement: UPDATE till SET note = &#39;&#34;&gt;&lt;img")
	if strings.Contains(page, "<img") {
		t.Error("a statement is markup")
	}
}

// TestPlayback: what a session has written, in the order of time, and nothing of others.
func TestPlayback(t *testing.T) {
	f := newFixture(t, nil)
	f.make("shop.audit", 1)
	f.make("shop.public.orders", 1)
	for n := range shownPlayed + 2 {
		f.write(ann, "INSERT", fmt.Sprintf("statement number %d.", n), "public.orders", fmt.Sprintf(`{"id":%d}`, n), "null", "{}")
	}
	f.commit(record("shop.audit", "", `{"v":1,"commit_time":"2025-01-31T12:00:00Z","session":{"id":"77","user":"bea"},"statements":[{"number":1,"command":"INSERT","text":"of another session","rows":1}]}`, "7300/pgtee/1/0/FFFF/audit"))
	page := f.page("/session?id=652f")
	f.expect(page, "<b>ann</b>", "10.0.0.9:51000", "of public.orders", "later")
	first, last := strings.Index(page, "statement number 2."), strings.Index(page, fmt.Sprintf("statement number %d.", shownPlayed+1))
	if first < 0 || last < first || strings.Contains(page, "statement number 1.") || strings.Contains(page, "of another session") {
		t.Errorf("the first statement is at %d, the last one at %d:\n%s", first, last, page)
	}
	link := regexp.MustCompile(`href="([^"]+)">Earlier`).FindStringSubmatch(page)
	if link == nil {
		t.Fatal("there is no link to what precedes")
	}
	earlier := f.page(strings.ReplaceAll(link[1], "&amp;", "&"))
	f.expect(earlier, "statement number 0.", "statement number 1.")
	if strings.Contains(earlier, "statement number 2.") || strings.Contains(earlier, "Earlier") {
		t.Error("the page before it goes on too far")
	}
	f.expect(f.page("/session?id=none"), "has nothing that this session has written")
}
