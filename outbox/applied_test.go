package outbox

import (
	"encoding/binary"
	"testing"
)

func originMessage(name string) []byte {
	message := binary.BigEndian.AppendUint64([]byte{'O'}, 42)
	return append(append(message, name...), 0)
}

// What apply has written is left out if that is asked for; relations that come with it are known all the same, and the next
// transaction is whole.
func TestAssembleSkipsWhatIsApplied(t *testing.T) {
	for _, c := range []struct {
		skip   bool
		origin string
		rows   int
	}{{true, AppliedOrigin + "shop", 0}, {true, "pg_16389", 2}, {true, "", 2}, {false, AppliedOrigin + "shop", 2}} {
		w := &wal{t: t}
		w.assembler = NewAssembler(0, 1<<30, nil)
		w.assembler.skipApplied = c.skip
		w.begin(7)
		if c.origin != "" {
			w.send(originMessage(c.origin))
		}
		w.relation(1, "public", "t", "a").insert(1, "x").message("app", "text")
		if got := w.commit(); len(got.Changes) != c.rows || (c.rows == 0) != got.IsMarker() {
			t.Errorf("%+v: %d changes", c, len(got.Changes))
		}
		w.begin(8).insert(1, "y")
		if got := w.commit(); len(got.Changes) != 1 {
			t.Errorf("%+v: behind it %d changes", c, len(got.Changes))
		}
	}
}
