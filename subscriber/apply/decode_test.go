package apply

import (
	"fmt"
	"maps"
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

// Names with dots are not those of another table.
func TestIdentities(t *testing.T) {
	for want, e := range map[string]envelope{
		"public.t": {schema: []byte(`"public"`), table: []byte(`"t"`)}, `"sales.eu".orders`: {schema: []byte(`"sales.eu"`), table: []byte(`"orders"`)},
		`sales."eu.orders"`: {schema: []byte(`"sales"`), table: []byte(`"eu.orders"`)}, `"a""b".t`: {schema: []byte(`"a\"b"`), table: []byte(`"t"`)},
	} {
		if got := string(e.identity(nil)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// NULL in a configured key is neither the text null nor an empty one, and is found as NULL.
func TestKeysWithNull(t *testing.T) {
	var d decoder
	tbl := tableOf("tenant", "id")
	sql := map[string]string{}
	for _, text := range []string{`{"tenant":null,"id":"5"}`, `{"tenant":"null","id":"5"}`, `{"tenant":"","id":"5"}`} {
		b := newBatch()
		key, err := d.keyOf(b, tbl, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		bytes := b.arena[key.start:key.end]
		sql[text] = fmt.Sprintf("%s %q %t", sameKey(tbl, tbl.keys.columns, bytes), rowParams(b, bytes, nil, nil)[0][20:], hasNull(bytes))
	}
	want := map[string]string{
		`{"tenant":null,"id":"5"}`:   `t.tenant IS NULL AND t.id::pg_catalog.text = (x.c1)::pg_catalog.text "\xff\xff\xff\xff" true`,
		`{"tenant":"null","id":"5"}`: `t.tenant::pg_catalog.text = (x.c0)::pg_catalog.text AND t.id::pg_catalog.text = (x.c1)::pg_catalog.text "\x00\x00\x00\x04null" false`,
		`{"tenant":"","id":"5"}`:     `t.tenant::pg_catalog.text = (x.c0)::pg_catalog.text AND t.id::pg_catalog.text = (x.c1)::pg_catalog.text "\x00\x00\x00\x00" false`,
	}
	if !maps.Equal(sql, want) {
		t.Errorf("got %q", sql)
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

// A text of a client that looks like the placeholder is not an unchanged value: the record tells it.
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
