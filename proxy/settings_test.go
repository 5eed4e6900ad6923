package proxy

import (
	"testing"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

func TestSettingsTellHowSQLIsRead(t *testing.T) {
	plain := &settings{lexis: parser.Lexis{StandardConformingStrings: true}}
	tests := []struct {
		name, value string
		want        note.Flags
	}{
		{"standard_conforming_strings", "on", 0},
		{"standard_conforming_strings", "off", note.FlagBackslash},
		{"client_encoding", "UTF8", 0},
		{"client_encoding", "SJIS", note.FlagMultiByte},
	}
	for _, test := range tests {
		if got := plain.with(test.name, test.value).lexisFlags(); got != test.want {
			t.Errorf("%s = %s: flags %b, want %b", test.name, test.value, got, test.want)
		}
	}
}
