package verdict

import (
	"fmt"
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	event := func(op, key, before, after string) Record {
		if op == "" {
			return Record{Key: []byte(key)}
		}
		return Record{Key: []byte(key), Value: fmt.Appendf(nil, `{"op":"%s","before":%s,"after":%s}`, op, before, after)}
	}
	row := func(id, n int, big string) string { return fmt.Sprintf(`{"id":%d,"n":%d,"big":"%s"}`, id, n, big) }
	moved := event("c", `{"id":2}`, "null", row(2, 3, Unavailable))
	moved.Headers = map[string]string{"__debezium.oldkey": `{"id":1}`}
	copied, updated := event("r", `{"id":1}`, "null", row(1, 1, "x")), event("u", `{"id":1}`, "null", row(1, 2, Unavailable))
	gone, tombstone := event("d", `{"id":1}`, `{"id":1,"n":null,"big":null}`, "null"), event("", `{"id":1}`, "", "")
	tests := []struct {
		name    string
		records []Record
		table   []string // rows
		want    string   // in what Compare says; "": nothing
	}{
		{"copied", []Record{copied}, []string{row(1, 1, "x")}, ""},
		{"not copied", nil, []string{row(1, 1, "x")}, "is missing"},
		{"updated after the copy", []Record{copied, updated}, []string{row(1, 2, "x")}, ""},
		{"the copy hides an update", []Record{updated, copied}, []string{row(1, 2, "x")}, "want"},
		{"a value is lost", []Record{updated}, []string{row(1, 2, "x")}, "has lost a value"},
		{"deleted", []Record{copied, gone, tombstone}, nil, ""},
		{"the copy brings a deleted row back", []Record{gone, tombstone, copied}, nil, "no row"},
		{"another key", []Record{copied, gone, tombstone, moved}, []string{row(2, 3, "x")}, ""},
		{"another key before the copy", []Record{gone, tombstone, moved}, []string{row(2, 3, "x")}, "has lost a value"},
		{"truncated", []Record{copied, event("t", "", "null", "null")}, nil, ""},
		{"truncated before the copy", []Record{event("t", "", "null", "null"), copied}, nil, "no row"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFold("t", []string{"id"})
			for i, r := range test.records {
				headers := map[string]string{"pgtee-event-id": fmt.Sprintf("system/slot/1/0/1/%d", i)}
				for name, value := range r.Headers {
					headers[name] = value
				}
				r.Headers = headers
				if err := f.add(r); err != nil {
					t.Fatal(err)
				}
			}
			rows := map[string]Row{}
			for _, text := range test.table {
				r, err := parseRow([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				rows[r.Key([]string{"id"})] = r
			}
			wrong := f.Compare(rows)
			if got := strings.Join(wrong, "\n"); (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q", got, test.want)
			}
			if len(f.Repeated) > 0 {
				t.Errorf("repeated: %s", f.Repeated)
			}
		})
	}
}

// A row that got its key after the snapshot has read another under it may be read by that key.
func TestFoldTakesMovedRowsAgain(t *testing.T) {
	f := newFold("t", []string{"id"})
	add := func(id, op string, headers map[string]string) {
		headers["pgtee-event-id"] = "system/slot/1/" + id
		if err := f.add(Record{Key: []byte(`{"id":1}`), Value: fmt.Appendf(nil, `{"op":"%s","before":null,"after":{"id":1}}`, op), Headers: headers}); err != nil {
			t.Fatal(err)
		}
	}
	add("0/1/snapshot.a.1", "r", map[string]string{})
	add("0/2/1", "c", map[string]string{"__debezium.oldkey": `{"id":2}`})
	add("0/3/snapshot.a.2", "r", map[string]string{})
	if len(f.Repeated) > 0 {
		t.Errorf("repeated: %s", f.Repeated)
	}
	add("0/4/snapshot.a.3", "r", map[string]string{})
	if len(f.Repeated) != 1 {
		t.Errorf("read twice since it moved, and repeated is %s", f.Repeated)
	}
}

func TestFoldSeesRepeats(t *testing.T) {
	tests := []struct {
		name, id string
		key      string
		repeated int
	}{
		{"the same record", "0/1/snapshot.a.1", `{"id":1}`, 3},
		{"the same row read again", "0/2/snapshot.a.1", `{"id":1}`, 2},
		{"the same key", "0/2/snapshot.a.2", `{"id":1}`, 1},
		{"another key", "0/2/snapshot.a.2", `{"id":2}`, 0},
		{"another snapshot", "0/2/snapshot.b.1", `{"id":1}`, 0},
	}
	for _, test := range tests {
		f := newFold("t", []string{"id"})
		for _, r := range []struct{ id, key string }{{"0/1/snapshot.a.1", `{"id":1}`}, {test.id, test.key}} {
			record := Record{Key: []byte(r.key), Value: fmt.Appendf(nil, `{"op":"r","before":null,"after":%s}`, r.key), Headers: map[string]string{"pgtee-event-id": "system/slot/1/" + r.id}}
			if err := f.add(record); err != nil {
				t.Fatal(err)
			}
		}
		if len(f.Repeated) != test.repeated || f.Copied != 2 {
			t.Errorf("%s: %d copied, repeated: %s", test.name, f.Copied, f.Repeated)
		}
	}
}
