package parser

import (
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for _, test := range []struct{ sql, want string }{
		{"SELECT a.B, \"C d\", 'e' FROM F -- g", "select a b C d from f"},
		{"SELECT x::work.noted <+> -1 /* y */ || z", "select x work noted <+> - || z"},
		{`SELECT "a""b"`, "select !"},
		{`SELECT U&"\0061"`, "select !"},
		{"SELECT 'open", "select !"},
		{"SELECT " + strings.Repeat("X", 70), "select " + strings.Repeat("x", 63)},
	} {
		var got []string
		names := NewNames([]byte(test.sql), Lexis{StandardConformingStrings: true})
		for name, ok := names.Next(); ok; name, ok = names.Next() {
			got = append(got, string(name))
		}
		if !names.Readable() {
			got = append(got, "!")
		}
		if line := strings.Join(got, " "); line != test.want {
			t.Errorf("%s: %s, want %s", test.sql, line, test.want)
		}
	}
}
