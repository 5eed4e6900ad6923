package proxy

import (
	"os"
	"testing"

	"github.com/pgtee/pgtee/parser"
)

// Each row of the table has a conversation.
func TestPathTable(t *testing.T) {
	names := map[parser.Need]string{
		parser.Never: "read", parser.Always: "write", parser.InBlock: "block", parser.IfNoted: "maybe", parser.After: "after",
	}
	for _, row := range paths {
		if got := pathOf(row.message, row.need); got.message != row.message || got.need != row.need {
			t.Errorf("%c %d finds the row of %c %d", row.message, row.need, got.message, got.need)
		}
		if (row.form == unsent) != (row.sent == "") {
			t.Errorf("%c %d: the table does not say what is sent", row.message, row.need)
		}
		file := "testdata/" + map[byte]string{'Q': "simple_", 'E': "extended_"}[row.message] + names[row.need] + ".txt"
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
	if len(paths) != 2*len(names) {
		t.Errorf("%d rows, want %d", len(paths), 2*len(names))
	}
}
