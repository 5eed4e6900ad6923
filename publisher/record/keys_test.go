package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// A key stays while its index is there, whatever comes before it in the list, whatever its columns are called, and through the progress record.
func TestKeys(t *testing.T) {
	code, ref, named := []string{"code"}, []string{"ref", "id"}, []string{"reference", "id"}
	numbers := map[string]int{"code": 4, "ref": 2, "id": 1}
	renamed := map[string]int{"code": 4, "reference": 2, "id": 1}
	swapped := map[string]int{"ref": 4, "code": 2, "id": 1}
	k := &Keys{}
	k.Resume(ChosenKeys{})
	for _, c := range []struct {
		candidates [][]string
		numbers    map[string]int
		want       []string
	}{
		{[][]string{code}, nil, code},
		{[][]string{ref, code}, nil, code},
		{[][]string{ref, code}, numbers, code},
		{[][]string{{"ref"}, {"code", "id"}}, swapped, []string{"ref"}},
		{[][]string{ref, code}, numbers, code},
		{[][]string{ref}, numbers, ref},
		{[][]string{code, named}, renamed, named},
		{[][]string{code, ref}, numbers, ref},
	} {
		if got := k.Choose(7, c.candidates, c.numbers); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("of %v: %v, want %v", c.candidates, got, c.want)
		}
	}
	position := k.Recorded()
	k.Choose(8, [][]string{code}, nil)
	raw, err := json.Marshal(position)
	if err != nil {
		t.Fatal(err)
	}
	var read ChosenKeys
	if err := json.Unmarshal(raw, &read); err != nil || len(read.Names) != 1 || len(read.Numbers) != 1 {
		t.Fatalf("%s read as %+v, %v", raw, read, err)
	}
	k = &Keys{}
	k.Resume(read)
	if got := k.Choose(7, [][]string{code, named}, renamed); fmt.Sprint(got) != fmt.Sprint(named) {
		t.Errorf("after a restart %v, want %v", got, named)
	}
	k.Forget(7)
	if left := k.Recorded(); len(left.Names)+len(left.Numbers) != 0 {
		t.Errorf("kept of a dropped table: %v", left)
	}
	k.Resume(ChosenKeys{Names: map[uint32][]string{7: ref}}) // of an earlier version
	if got := k.Choose(7, [][]string{code, ref}, numbers); fmt.Sprint(got) != fmt.Sprint(ref) {
		t.Errorf("by names alone %v, want %v", got, ref)
	}
}

// The keys fit the progress record, however many tables there are and whatever their columns are called.
func TestKeysAreBounded(t *testing.T) {
	long := make([]string, 32) // as many columns as an index can have, of the longest names
	for i := range long {
		long[i] = fmt.Sprintf("%s%02d", strings.Repeat("\x01", 61), i)
	}
	for name, columns := range map[string][]string{"short": {"code"}, "long": long} {
		k := &Keys{}
		for table := range uint32(2 * maxChosenKeys) {
			if got := k.Choose(table, [][]string{columns, {"other"}}, nil); fmt.Sprint(got) != fmt.Sprint(columns) {
				t.Fatalf("%s: table %d: %q", name, table, got)
			}
		}
		raw, err := json.Marshal(k.Recorded())
		if err != nil || len(raw) > maxChosenBytes+16*maxChosenKeys || len(k.Recorded().Names) == 0 || len(k.Recorded().Names) > maxChosenKeys {
			t.Errorf("%s: %d keys are %d bytes, %v", name, len(k.Recorded().Names), len(raw), err)
		}
	}
}
