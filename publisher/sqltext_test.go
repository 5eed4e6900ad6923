package publisher

import (
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
)

// A note's SQL is read with the settings of its session, or a literal would survive.
func TestTextIsReadAsTheSessionDid(t *testing.T) {
	tests := []struct {
		name  string
		flags note.Flags
		sql   string
		want  string
	}{
		{"standard", 0, `UPDATE t SET a = 'x\' WHERE b = 'secret'`, `UPDATE t SET a = $1 WHERE b = $2`},
		{"backslash escapes", note.FlagBackslash, `UPDATE t SET a = 'it\'s', b = 'secret'`, `UPDATE t SET a = $1, b = $2`},
		{"second byte is a backslash", note.FlagMultiByte, "UPDATE t SET a = '\x83\x5c', b = 'secret'", "UPDATE t SET a = $1, b = $2"},
		{"second byte may be an escape", note.FlagMultiByte, "UPDATE t SET a = E'\x83\x5c', b = 'secret'", "<redacted>"},
		{"an operator, or a second byte, and a literal", note.FlagMultiByte, "DELETE FROM t WHERE \xd0\xd5~$$secret$$", "<redacted>"},
		{"second byte may be an escape, nonstandard", note.FlagMultiByte | note.FlagBackslash, "UPDATE t SET a = '\x83\x5c', b = 'secret'", "<redacted>"},
	}
	for _, test := range tests {
		n := notes{text: Normalised}
		note := &note.Note{Payload: note.Payload{Flags: test.flags}, SQL: []byte(test.sql)}
		got := string(n.appendText(nil, note))
		if got != test.want || strings.Contains(got, "secret") {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}
