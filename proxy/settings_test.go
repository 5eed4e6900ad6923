package proxy

import (
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/parser"
)

func TestSettingsTellHowSQLIsRead(t *testing.T) {
	plain := &settings{lexis: parser.Lexis{StandardConformingStrings: true}}
	tests := []struct {
		name, value string
		want        outbox.Flags
	}{
		{"standard_conforming_strings", "on", 0},
		{"standard_conforming_strings", "off", outbox.FlagBackslash},
		{"client_encoding", "UTF8", 0},
		{"client_encoding", "SJIS", outbox.FlagMultiByte},
	}
	for _, test := range tests {
		if got := plain.with(test.name, test.value).lexisFlags(); got != test.want {
			t.Errorf("%s = %s: flags %b, want %b", test.name, test.value, got, test.want)
		}
	}
}
