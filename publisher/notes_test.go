package publisher

import (
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
)

// TestNotesOfAGiantAreForgotten: their texts are no memory that is kept for the next transaction.
func TestNotesOfAGiantAreForgotten(t *testing.T) {
	const keptBytes = 4 << 20
	giant := &outbox.Transaction{Notes: make([]note.Note, 9)}
	for i := range giant.Notes {
		giant.Notes[i].SQL = []byte("INSERT INTO t VALUES ('" + strings.Repeat("a", keptBytes/8) + "')")
	}
	n := notes{text: Full}
	n.Begin(giant)
	n.Begin(&outbox.Transaction{})
	if cap(n.sql) > keptBytes {
		t.Errorf("%d bytes are kept", cap(n.sql))
	}
}
