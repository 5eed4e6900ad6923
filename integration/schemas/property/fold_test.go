package property

import (
	"encoding/json"
	"strings"
	"testing"
)

// play folds events, each written as op, key, before and after, in JSON.
func playEvents(t *testing.T, lines string) *fold {
	t.Helper()
	f := newFold()
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		var parts [4]any
		decoder := json.NewDecoder(strings.NewReader("[" + strings.TrimSpace(line) + "]"))
		decoder.UseNumber()
		var list []any
		if err := decoder.Decode(&list); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		copy(parts[:], list)
		e := &event{op: parts[0].(string), text: line}
		e.key, _ = parseRow(parts[1])
		e.before, _ = parseRow(parts[2])
		e.after, e.kinds = parseRow(parts[3])
		if e.op == "resync" {
			e.op, e.resync = "t", true
		}
		f.add(e)
	}
	return f
}

func TestFold(t *testing.T) {
	for name, c := range map[string]struct {
		events        string
		rows          map[string]row
		style         *style
		epochs, kinds int
		want          string // part of the only finding; "": none
	}{
		"all is well": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a","c5":"x"}
				"r", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a","c5":"x"}
				"d", {"c4":"a"}, {"c4":"a"}, null
				"", {"c4":"a"}
				"c", {"c4":"b"}, null, {"c0":1,"c1":2,"c4":"b","c5":"__debezium_unavailable_value"}
				"r", {"c4":"b"}, null, {"c0":1,"c1":2,"c4":"b","c5":"x"}`,
			rows: map[string]row{"1": {0: "1", 1: "2", 4: "b", 5: "x"}},
		},
		"a delete that finds nothing": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"d", {"c4":"other"}, {"c4":"other"}, null`,
			want: "row 1 is in the topic, and not in the table",
		},
		"two rows under one key": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"c", {"c4":"a"}, null, {"c0":2,"c1":2,"c4":"a"}`,
			rows: map[string]row{"1": {0: "1", 1: "1", 4: "é"}, "2": {0: "2", 1: "2", 4: "a"}},
			want: "row 1 is missing",
		},
		"a stale row": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"u", {"c4":"a"}, null, {"c0":1,"c1":3,"c4":"a"}
				"r", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"u", {"c4":"a"}, null, {"c0":1,"c1":4,"c4":"a"}`,
			rows: map[string]row{"1": {0: "1", 1: "4", 4: "a"}},
			want: "version 1 of row 1 after version 3",
		},
		"a row that comes back": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"d", {"c4":"a"}, {"c4":"a"}, null
				"r", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"d", {"c4":"a"}, {"c4":"a"}, null`,
			want: "row 1 after its end",
		},
		"copied afresh": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"resync", null, null, null
				"r", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}`,
			rows: map[string]row{"1": {0: "1", 1: "1", 4: "a"}},
		},
		"keys change": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"u", {"c0":1}, null, {"c0":1,"c1":2,"c4":"a"}`,
			rows: map[string]row{"1": {0: "1", 1: "2", 4: "a"}},
			want: "the columns of the keys are [[4] [0]] in turn",
		},
		"keys change by DDL": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"u", {"c0":1}, null, {"c0":1,"c1":2,"c4":"a"}`,
			rows: map[string]row{"1": {0: "1", 1: "2", 4: "a"}}, epochs: 2,
		},
		"another key of copies": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a"}
				"r", {"c4":"a","c1":1}, null, {"c0":1,"c1":1,"c4":"a"}`,
			rows: map[string]row{"1": {0: "1", 1: "1", 4: "a"}},
			want: "a copied row has another key",
		},
		"no key": {
			events: `"c", null, null, {"c0":1,"c1":1,"c4":"a"}
				"u", null, {"c0":1,"c1":1,"c4":"a"}, {"c0":1,"c1":2,"c4":"a"}
				"c", null, null, {"c0":2,"c1":1,"c4":"a"}
				"d", null, {"c0":2,"c1":1,"c4":"a"}, null`,
			rows: map[string]row{"1": {0: "1", 1: "2", 4: "a"}}, style: &style{},
		},
		"another JSON type": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a","c5":5}
				"u", {"c4":"a"}, null, {"c0":1,"c1":2,"c4":"a","c5":"5"}`,
			rows: map[string]row{"1": {0: "1", 1: "2", 4: "a", 5: "5"}},
			want: "number, string",
		},
		"another type": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a","c5":5}
				"u", {"c4":"a"}, null, {"c0":1,"c1":2,"c4":"a","c5":"5"}`,
			rows: map[string]row{"1": {0: "1", 1: "2", 4: "a", 5: "5"}}, kinds: 2,
		},
		"a lost value": {
			events: `"c", {"c4":"a"}, null, {"c0":1,"c1":1,"c4":"a","c5":"__debezium_unavailable_value"}`,
			rows:   map[string]row{"1": {0: "1", 1: "1", 4: "a", 5: "x"}},
			want:   "__debezium_unavailable_value, want x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.style == nil {
				c.style = &style{columns: []int{columnCode}}
			}
			var columns []*column
			for _, n := range []int{0, 1, 4, 5} {
				columns = append(columns, &column{number: n, kind: kindText, kinds: max(1, c.kinds)})
			}
			j := judged{table: &table{style: c.style, columns: columns, epochs: c.epochs}, fold: playEvents(t, c.events), held: c.rows, major: 18}
			found := append(append(j.keysChanged(), j.fold.stale...), j.unequal()...)
			if c.want == "" && len(found) > 0 || c.want != "" && (len(found) == 0 || !strings.Contains(strings.Join(found, "\n"), c.want)) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

// A value has one form on both sides.
func TestForm(t *testing.T) {
	for _, same := range [][]string{
		{"1.50", "1.5"}, {"1e+100", "1.0E100"}, {`{"b": 1, "a": [null]}`, `{"a":[null],"b":1}`}, {"2024-02-29T10:00:00.5Z", "2024-02-29T10:00:00.500000Z"},
	} {
		if form(same[0]) != form(same[1]) {
			t.Errorf("%q is %q, %q is %q", same[0], form(same[0]), same[1], form(same[1]))
		}
	}
	for _, other := range [][]string{{"a", "b"}, {"12345678901234567890", "12345678901234567891"}, {"é", "\ufffd"}, {"", null}} {
		if form(other[0]) == form(other[1]) {
			t.Errorf("%q and %q are both %q", other[0], other[1], form(other[0]))
		}
	}
}
