package proxy

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pgtee/pgtee/parser"
)

func TestOpeningOfLongText(t *testing.T) {
	lexis := parser.Lexis{StandardConformingStrings: true}
	for text, want := range map[string]string{
		"INSERT INTO t VALUES ('long":                  "INSERT",
		"SELECT 1; INSERT INTO t VALUES ('long":        "SELECT INSERT",
		"INSERT INTO t VALUES ('a;b'); UPDATE t SET v": "INSERT",
		"/* it's */ DELETE FROM t WHERE v = $$long":    "DELETE",
		"'": "",
	} {
		list := appendOpening(nil, []byte(text), lexis)
		var verbs []string
		for _, st := range list {
			verbs = append(verbs, st.Verb)
			if st.Start > st.End || st.End > len(text) {
				t.Errorf("%q: statement from %d to %d", text, st.Start, st.End)
			}
		}
		if got := strings.Join(verbs, " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Of a Query that is longer than any buffer the end is not known when its beginning is sent: a note stands for all
// that follows, unless it is one long SELECT.
func TestNoteForTheRest(t *testing.T) {
	long := "SELECT '" + strings.Repeat("x", maxTextBytes) + "'"
	for text, before := range map[string]string{
		long: "",
		"SELECT '" + strings.Repeat("x", maxBufferBytes) + "'; DELETE FROM t": "DELETE", // seen whole
		"SELECT 1; " + long + "; DELETE FROM t":                               "SELECT '",
		"INSERT INTO t VALUES (1);" + long + ";DELETE FROM t":                 "SELECT '",
		"INSERT INTO t VALUES ('" + long[8:] + ")":                            "INSERT",
		"SELECT 1; SET application_name = " + long[7:]:                        "",
	} {
		synctest.Test(t, func(t *testing.T) {
			h := noting(t)
			ann := h.enter("abcd", annInShop)
			ann.says("Query `" + text + "`")
			_, got := ann.heard()
			last := strings.LastIndex(got, ",current_user);")
			switch {
			case before == "" && last >= 0, before != "" && (last < 0 || !strings.HasPrefix(got[last+len(",current_user);"):], before)):
				t.Errorf("%.40s…: the last note stands before %.60q", text, got[max(last, 0):])
			}
		})
	}
}
