package record

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/pgtee/pgtee/outbox"
)

// A key stays while its index is there, whatever comes before it in the list, and through the progress record.
func TestKeys(t *testing.T) {
	code, ref := []string{"code"}, []string{"ref", "id"}
	k := &Keys{}
	k.Resume(nil)
	for _, c := range []struct {
		candidates [][]string
		want       []string
	}{{[][]string{code}, code}, {[][]string{ref, code}, code}, {[][]string{ref}, ref}, {[][]string{code, ref}, ref}} {
		if got := k.Choose(7, c.candidates); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("of %v: %v, want %v", c.candidates, got, c.want)
		}
	}
	position := k.Recorded()
	k.Choose(8, [][]string{code})
	raw, err := json.Marshal(position)
	if err != nil {
		t.Fatal(err)
	}
	var read map[uint32][]string
	if err := json.Unmarshal(raw, &read); err != nil || len(read) != 1 {
		t.Fatalf("%s read as %+v, %v", raw, read, err)
	}
	k = &Keys{}
	k.Resume(read)
	if got := k.Choose(7, [][]string{code, ref}); fmt.Sprint(got) != fmt.Sprint(ref) {
		t.Errorf("after a restart %v, want %v", got, ref)
	}
	k.DDL(&outbox.DDLRecord{Objects: []outbox.DDLObject{{OID: 7, Type: "index", Dropped: true}, {OID: 7, Type: "table", Dropped: true}}})
	if len(k.Recorded()) != 0 {
		t.Errorf("kept of a dropped table: %v", k.Recorded())
	}
	for table := range uint32(2 * maxChosenKeys) {
		k.Choose(table, [][]string{code})
	}
	if n := len(k.Recorded()); n != maxChosenKeys {
		t.Errorf("%d keys in the progress record, want %d", n, maxChosenKeys)
	}
}
