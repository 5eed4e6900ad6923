package proxy

import (
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
			last := strings.LastIndex(got, ",current_user);")
			switch {
			case before == "" && last >= 0, before != "" && (last < 0 || !strings.HasPrefix(got[last+len(",current_user);"):], before)):
				t.Errorf("%.40s…: the last note stands before %.60q", text, got[max(last, 0):])
			}
		})
	}
}
