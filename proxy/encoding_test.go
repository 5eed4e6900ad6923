package proxy

import (
	"testing"

	"github.com/pgtee/pgtee/parser"
)

func TestEncodingCountsAndCuts(t *testing.T) {
	for _, c := range []struct {
		name, text string
		count      int
		limit      int
		cut        string
	}{
		{"UTF8", "aé€𝄞", 4, 5, "aé"},
		{"LATIN1", "a\xe9\xe9", 3, 2, "a\xe9"},
		{"SJIS", "\x83\x5c\xb1a", 3, 1, ""},
		{"EUC_JP", "\x8f\xa2\xafa", 2, 3, "\x8f\xa2\xaf"},
		{"EUC_TW", "\x8e\xa2\xa1\xa1a", 2, 3, ""},
		{"GB18030", "\x81\x30\x81\x30\xb0\xa1", 2, 5, "\x81\x30\x81\x30"},
		{"GBK", "\x81\x5c'", 2, 2, "\x81\x5c"},
		{"BIG5", "\xa4", 1, 1, "\xa4"},
	} {
		e := encodingOf(c.name)
		if n := e.count([]byte(c.text)); n != c.count {
			t.Errorf("%s %q: %d characters, want %d", c.name, c.text, n, c.count)
		}
		if cut := string(e.cut([]byte(c.text), c.limit)); cut != c.cut {
			t.Errorf("%s %q cut at %d: %q, want %q", c.name, c.text, c.limit, cut, c.cut)
		}
	}
}

// In SHIFT_JIS_2004 two characters become a backslash and ~ before the server reads the text.
func TestTextsOfShiftJIS2004(t *testing.T) {
	hidden := []byte("SELECT E'\x81\x5f', ';DELETE FROM t;--'")
	for text, want := range map[string]bool{
		string(hidden):                  false,
		"SELECT 1 \x81\xb0> 2":          false,
		"SELECT '\x83\x5c'; SELECT 2":   true,
		"SELECT '\x88\x81_'; SELECT 2":  true,
		"SELECT '\x81\x41\xb0'":         true,
		"SELECT 'a', E'\\'', \xb1 AS b": true,
	} {
		if _, ok := parser.Split(nil, encodingOf("SHIFT_JIS_2004").lexable([]byte(text)), plainLexis); ok != want {
			t.Errorf("%q is read: %v", text, ok)
		}
	}
	list, ok := parser.Split(nil, lexable2004(lexableAnywhere(hidden)), plainLexis)
	if !ok || len(list) != 2 || list[1].Verb != "DELETE" {
		t.Errorf("while the encoding is not known: %+v", list)
	}
}
