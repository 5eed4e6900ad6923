package proxy

import (
	"strings"
	"testing"

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
