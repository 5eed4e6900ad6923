package proxy

import (
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
)

// Of a Query that is longer than any buffer the end is not known when its beginning is sent: a note stands for all
// that follows.
func TestNoteForTheRest(t *testing.T) {
	long := "SELECT '" + strings.Repeat("x", maxTextBytes) + "'"
	for text, before := range map[string]string{
		long: "SELECT",
		"SELECT '" + strings.Repeat("x", maxBufferBytes) + "'; DELETE FROM t": "DELETE", // seen whole
		"SELECT 1; " + long + "; DELETE FROM t":                               "SELECT '",
		"INSERT INTO t VALUES (1);" + long + ";DELETE FROM t":                 "SELECT '",
		"INSERT INTO t VALUES ('" + long[8:] + ")":                            "INSERT",
		"SELECT 1; SET application_name = " + long[7:]:                        "SET",
		"BEGIN ISOLATION LEVEL SERIALIZABLE; " + long[8:] + "INSERT":          "xxx",
		"BEGIN; /*" + long + "*/ INSERT INTO t VALUES (1)":                    " /*",
		strings.Repeat(" ", maxTextBytes) + "DELETE FROM t":                   "   ",
		"WITH a AS (" + long + ") INSERT INTO t SELECT 1":                     "WITH",
	} {
		synctest.Test(t, func(t *testing.T) {
			h := noting(t)
			ann := h.enter("abcd", annInShop)
			ann.says("Query `" + text + "`")
			_, got := ann.heard()
			ends := noteEnd.FindAllStringIndex(got, -1)
			switch {
			case before == "" && len(ends) > 0, before != "" && (len(ends) == 0 || !strings.HasPrefix(got[ends[len(ends)-1][1]:], before)):
				t.Errorf("%.40s…: the notes end at %v, in %.600q", text, ends, got)
			}
		})
	}
}

var noteEnd = regexp.MustCompile(`',current_user(,true,false)?\);`)

// In the part of a text that the proxy cannot keep nothing may call for a note, wherever that call is cut by what arrives together.
func TestCallInTheRest(t *testing.T) {
	const call = "pgtee.sign('x',current_user)"
	blanks := strings.Repeat(" ", maxTextBytes)
	for name, c := range map[string]struct {
		message string
		ends    bool
	}{
		"Query":             {"Query `SELECT 1; " + blanks + "ROLLBACK; SELECT " + call + "; DELETE FROM t`", true},
		"Parse":             {"Parse s `CALL p(" + blanks + call + ")`", true},
		"read, and long":    {"Query `SELECT 1 /* " + call + " */; " + blanks + "ROLLBACK; DELETE FROM t`", true},
		"quoted":            {"Query `SELECT '" + blanks + strings.ReplaceAll(call, "'", "''") + "'`", false},
		"of something else": {"Query `SELECT '" + blanks + "' || pgtee.ready()`", false},
	} {
		for _, size := range []int{1, 7, 1000, maxTextBytes + 19, 1 << 20} {
			synctest.Test(t, func(t *testing.T) {
				h := noting(t)
				ann := h.enter("abcd", annInShop)
				p := said(clientShapes, c.message)
				for len(p) > maxTextBytes-20 && size < 100 { // in small pieces around the end of the buffer, and at the end
					ann.client.say <- p[:maxTextBytes-20]
					p = p[maxTextBytes-20:]
					synctest.Wait()
				}
				for ; len(p) > size; p = p[size:] {
					ann.client.say <- p[:size]
					synctest.Wait()
				}
				ann.client.say <- p
				synctest.Wait()
				if _, closed := ann.server.heard(); closed != c.ends {
					t.Fatalf("%s, %d bytes at a time: the server's connection is closed: %v", name, size, closed)
				}
				ann.server.conn.Close()
				if got, _ := ann.heard(); strings.Contains(got, "C54000") != c.ends {
					t.Errorf("%s, %d bytes at a time: the client hears %q", name, size, got)
				}
			})
		}
	}
}
