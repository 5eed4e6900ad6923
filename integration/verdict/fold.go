package verdict

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Unavailable is the placeholder in a record for a value that is not in the WAL.
const Unavailable = "__debezium_unavailable_value"

// Fold is the state of a table for a consumer that has read its topic, of one partition, from the start: the last row of each key.
type Fold struct {
	Rows     map[string]Row // by the text of the key columns
	Copied   int            // records of op r
	Repeated []string       // what is in the topic twice and must not be

	table string
	key   []string
	gone  map[string]Row // last row of each deleted key: a row under a new key takes its missing values from there
	seen  map[string]bool
	moved map[string]bool // keys that rows have been moved to since they were last read
}

// FoldTopic folds the committed records of a table's topic. The key columns identify the rows of the table.
func FoldTopic(table string, key []string, records []Record) (*Fold, error) {
	f := newFold(table, key)
	for _, r := range records {
		if err := f.add(r); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func newFold(table string, key []string) *Fold {
	return &Fold{Rows: map[string]Row{}, table: table, key: key, gone: map[string]Row{}, seen: map[string]bool{}, moved: map[string]bool{}}
}

// add adds the next committed record.
func (f *Fold) add(r Record) error {
	e, err := ParseEvent(r)
	if err != nil {
		return err
	}
	f.once("event " + e.ID)
	if e.Op == "r" {
		f.read(&e)
	}
	if e.Tombstone {
		key, err := parseRow(r.Key)
		delete(f.Rows, key.Text())
		return err
	}
	switch e.Op {
	case "d":
		id := e.Before.Key(f.key)
		f.gone[id] = f.Rows[id]
		delete(f.Rows, id)
	case "t":
		clear(f.Rows)
		clear(f.gone)
		if e.Headers["pgtee-resync"] != "" {
			clear(f.moved)
		}
	case "r", "c", "u":
		return f.put(&e)
	default:
		return fmt.Errorf("%s: event %s has op %q", f.table, e.ID, e.Op)
	}
	return nil
}

// put stores a row. Values that are missing from the record are taken from the former row, under the old key if the key has changed.
func (f *Fold) put(e *Event) error {
	id := e.After.Key(f.key)
	before := f.Rows[id]
	if old := e.Headers["__debezium.oldkey"]; old != "" {
		key, err := parseRow([]byte(old))
		if err != nil {
			return err
		}
		before = f.gone[key.Text()]
		f.moved[string(e.Key)] = true
	}
	for column, value := range e.After {
		if value == Unavailable && before != nil {
			e.After[column] = before[column]
		}
	}
	f.Rows[id] = e.After
	return nil
}

// read counts a row read by a snapshot. Its event id ends in "snapshot.ID.NUMBER", where NUMBER is that of the row within the snapshot. Within a
// snapshot each key occurs once, and again if a row was moved to it; a row without a key may occur again after it was moved on disk.
func (f *Fold) read(e *Event) {
	f.Copied++
	row := e.ID[strings.LastIndex(e.ID, "/")+1:]
	f.once(row)
	if e.Key != nil {
		name := fmt.Sprintf("row %s of %s", e.Key, strings.TrimRight(row, "0123456789"))
		if f.moved[string(e.Key)] {
			delete(f.moved, string(e.Key))
			delete(f.seen, name)
		}
		f.once(name)
	}
}

func (f *Fold) once(id string) {
	if f.seen[id] {
		f.Repeated = append(f.Repeated, f.table+": "+id+" occurs twice")
	}
	f.seen[id] = true
}

// Compare returns the differences from the rows of the table, as lines of text; none if there are no differences.
func (f *Fold) Compare(rows map[string]Row) (wrong []string) {
	for _, id := range slices.Sorted(maps.Keys(rows)) {
		got, want := f.Rows[id], rows[id].Text()
		switch {
		case got == nil:
			wrong = append(wrong, fmt.Sprintf("%s: row %s is missing", f.table, id))
		case strings.Contains(got.Text(), Unavailable):
			wrong = append(wrong, fmt.Sprintf("%s: row %s has lost a value: %.300s", f.table, id, got.Text()))
		case got.Text() != want:
			wrong = append(wrong, fmt.Sprintf("%s: row %s is %.300s, want %.300s", f.table, id, got.Text(), want))
		}
	}
	for _, id := range slices.Sorted(maps.Keys(f.Rows)) {
		if rows[id] == nil {
			wrong = append(wrong, fmt.Sprintf("%s: there is no row %s any more", f.table, id))
		}
	}
	return wrong
}
