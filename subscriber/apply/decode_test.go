package apply

import (
	"slices"
	"testing"

	"github.com/pgtee/pgtee/publisher/debezium"
)

// tableOf makes a table with columns of type text.
func tableOf(columns ...string) *table {
	forms := newForms(debezium.Modes{})
	t := &table{source: "public.t", name: "public.t", own: "ONLY public.t", plain: "public.t", byName: map[string]int{}}
	for i, name := range columns {
		t.byName[name] = i
		t.columns = append(t.columns, column{name: name, quoted: name, typ: "pg_catalog.text", form: forms.of(&pgType{name: "text"}, -1)})
	}
	return t
}

// The columns of a key are those of the last record, also if it has fewer than the one before.
func TestKeyShrinks(t *testing.T) {
	var d decoder
	tbl := tableOf("a", "b", "c")
	tbl.unique = []uniqueIndex{{columns: []int{0}}}
	for _, c := range []struct {
		key     string
		columns []int
		arbiter bool
	}{
		{`{"a":"1","b":"2"}`, []int{0, 1}, false}, {`{"a":"1"}`, []int{0}, true}, {`{"b":"2"}`, []int{1}, false}, {`{"a":"1","b":"2","c":"3"}`, []int{0, 1, 2}, false},
	} {
		b := newBatch()
		before := tbl.keys.columns
		kept := slices.Clone(before)
		key, err := d.keyOf(b, tbl, []byte(c.key))
		parts := 0
		keyParts(b.arena[key.start:key.end], func([]byte) { parts++ })
		if err != nil || !slices.Equal(tbl.keys.columns, c.columns) || tbl.keys.arbiter != c.arbiter || parts != len(c.columns) {
			t.Errorf("%s: columns %v, arbiter %v, %d parts (%v)", c.key, tbl.keys.columns, tbl.keys.arbiter, parts, err)
		}
		if !slices.Equal(before, kept) {
			t.Errorf("%s: the list that a batch keeps has become %v", c.key, before)
		}
	}
}

// A row is described if it has all columns of its record: the target may have more.
func TestDescribed(t *testing.T) {
	d := decoder{}
	tbl := tableOf("a", "b", "own")
	for _, c := range []struct {
		before string
		want   bool
	}{
		{`{"a":"1","b":null}`, true}, {`{"a":"1","b":"__debezium_unavailable_value"}`, false}, {`{"a":"1"}`, true},
	} {
		row, err := d.rowOf(newBatch(), tbl, []byte(c.before), nil, "before", nil)
		if err != nil || tbl.described(row) != c.want {
			t.Errorf("%s: %v (%v)", c.before, !c.want, err)
		}
	}
}

// A text of a client that looks like the placeholder is no unchanged value: the record tells it.
func TestPlaceholders(t *testing.T) {
	const placeholder = `"__debezium_unavailable_value"`
	d := decoder{}
	tbl := tableOf("a")
	for _, c := range []struct {
		row, values string
		want        byte
	}{
		{placeholder, "", absent}, {placeholder, placeholder, isText}, {"null", placeholder, absent}, {"null", "", isNull}, {`"x"`, "", isText},
	} {
		var values []byte
		if c.values != "" {
			values = []byte(`{"after.a":` + c.values + `}`)
		}
		b := newBatch()
		row, err := d.rowOf(b, tbl, []byte(`{"a":`+c.row+`}`), values, "after", nil)
		if err != nil || row[0].kind != c.want {
			t.Errorf("%s, told %s: kind %d (%v)", c.row, c.values, row[0].kind, err)
		}
		if c.values != "" && c.want == isText && string(b.arena[row[0].start:row[0].end]) != "__debezium_unavailable_value" {
			t.Errorf("%s, told %s: %s", c.row, c.values, b.arena)
		}
	}
}

// Every column that the target lacks halts, whatever its name is, unless it is ignored.
func TestUnknownColumns(t *testing.T) {
	d := decoder{ignore: func(_, column string) bool { return column == "__own" }}
	for row, halts := range map[string]bool{`{"a":"1","__note":"x"}`: true, `{"a":"1","note":"x"}`: true, `{"a":"1","__own":"x"}`: false} {
		if _, err := d.rowOf(newBatch(), tableOf("a"), []byte(row), nil, "after", nil); isHalt(err) != halts {
			t.Errorf("%s: %v", row, err)
		}
	}
}
