package apply

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// While a snapshot is being loaded, a row that has not come yet cannot be updated or deleted.
func TestSettleWhileLoading(t *testing.T) {
	loading := tableOf("a")
	loading.loading = true
	for kind, op := range map[string]byte{"update_missing": 'u', "delete_missing": 'd'} {
		c := change{table: loading, op: op, row: make([]value, 1)}
		if err := (&target{}).settle(t.Context(), newBatch(), &c, &conflict{kind: kind}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// What the record of a change lacks depends on what the target needs of it.
func TestLack(t *testing.T) {
	plain := &kgo.Record{}
	long := &kgo.Record{Headers: []kgo.RecordHeader{{Key: headerLeftOut, Value: []byte("1")}}}
	key, old := []int{0}, []value{{kind: isText}}
	const tooLarge, unknown = "lacks values that were too large for its record", "has neither a key nor the whole row before the change"
	for _, c := range []struct {
		name   string
		change change
		want   string
	}{
		{"insert", change{op: 'c', record: plain}, ""},
		{"insert without a value", change{op: 'c', record: long, cut: true}, tooLarge},
		{"update by key", change{op: 'u', record: plain, keys: key}, ""},
		{"update by key, without a value", change{op: 'u', record: long, keys: key, cut: true}, tooLarge},
		{"update by key, without a value that the target does not have", change{op: 'u', record: long, keys: key}, ""},
		{"delete by key, without a value", change{op: 'd', record: long, keys: key}, ""},
		{"delete by the row", change{op: 'd', record: plain, old: old}, ""},
		{"delete by an unknown row", change{op: 'd', record: plain}, unknown},
		{"delete by a row without a value", change{op: 'd', record: long}, tooLarge},
		{"update by an unknown row", change{op: 'u', record: plain}, unknown},
	} {
		if got := c.change.lack(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
