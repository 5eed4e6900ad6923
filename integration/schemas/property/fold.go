package property

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/integration/verdict"
)

// event is a record in the topic of a table.
type event struct {
	place         string // position in Kafka, in readable form
	op            string // c, u, d, r, t; "": a tombstone
	key           row    // nil: null
	before, after row
	kinds         map[int]string // kinds of JSON of the values in after
	resync        bool
	text          string // readable form
}

// fold is what a consumer makes of a topic: the last row under each key. When the key of the records changes, the consumer finds its rows by the new
// columns; rows without a key are identified by all of their values.
type fold struct {
	rows   map[string]row // by key
	gone   map[int]row    // by id: the last version of deleted rows
	newest map[int]int    // by id: highest version seen
	keys   [][]int        // columns of the successive keys, in the order of the stream
	by     string         // columns by which rows are currently stored

	kinds  map[int][]string // by column: the successive kinds of JSON, in the order of the stream
	stale  []string
	strays []string // keys of snapshot records that differ from those of the stream
}

func newFold() *fold {
	return &fold{rows: map[string]row{}, gone: map[int]row{}, newest: map[int]int{}, kinds: map[int][]string{}}
}

// keyless is the prefix of the key under which rows without a key are stored.
const keyless = "id "

func (f *fold) add(e *event) {
	switch e.op {
	case "":
		delete(f.rows, keyText(e.key))
	case "t":
		for _, r := range f.rows {
			f.gone[r.id()] = r
		}
		clear(f.rows)
		if e.resync { // the rows themselves still exist
			clear(f.gone)
			clear(f.newest)
		}
	case "d":
		f.followKey(e)
		f.remove(e)
	case "c", "u", "r":
		f.followKey(e)
		if e.key == nil && e.op == "u" {
			f.remove(e)
		}
		f.put(e)
	}
}

// followKey detects that the key of the records has changed, and then stores the rows under the new key.
func (f *fold) followKey(e *event) {
	columns := slices.Sorted(maps.Keys(e.key))
	by := fmt.Sprint(columns)
	if e.op == "r" {
		if len(f.keys) > 0 && !slices.ContainsFunc(f.keys, func(known []int) bool { return slices.Equal(known, columns) }) {
			f.strays = append(f.strays, e.text)
		}
	} else if len(f.keys) == 0 || !slices.Equal(f.keys[len(f.keys)-1], columns) {
		f.keys = append(f.keys, columns)
	}
	if by == f.by {
		return
	}
	f.by = by
	rows := f.rows
	f.rows = map[string]row{}
	for _, r := range rows {
		f.rows[keyOf(r, columns)] = r
	}
}

func keyOf(r row, columns []int) string {
	if len(columns) == 0 {
		return keyless + r[columnID]
	}
	key := row{}
	for _, n := range columns {
		key[n] = r[n]
	}
	return keyText(key)
}

func keyText(key row) string {
	var b strings.Builder
	for _, n := range slices.Sorted(maps.Keys(key)) {
		fmt.Fprintf(&b, "%d=%s\x00", n, key[n])
	}
	return b.String()
}

func (f *fold) remove(e *event) {
	name := keyText(e.key)
	if e.key == nil {
		name = f.find(e.before)
	}
	if r, there := f.rows[name]; there {
		f.gone[r.id()] = r
		delete(f.rows, name)
	}
}

// find returns the key of a row that has the values of before; "" if there is none.
func (f *fold) find(before row) string {
	for name, r := range f.rows {
		same := true
		for n, v := range before {
			if had, known := r[n]; known && v != verdict.Unavailable && had != v {
				same = false
			}
		}
		if same && before != nil {
			return name
		}
	}
	return ""
}

// put stores a row. Values that are missing from the record are unchanged.
func (f *fold) put(e *event) {
	id := e.after.id()
	if version := e.after.version(); e.op == "r" && version < f.newest[id] {
		f.stale = append(f.stale, fmt.Sprintf("version %d of row %d after version %d: %s", version, id, f.newest[id], e.text))
	} else if _, gone := f.gone[id]; e.op == "r" && gone {
		f.stale = append(f.stale, fmt.Sprintf("row %d after its end: %s", id, e.text))
	}
	f.newest[id] = max(f.newest[id], e.after.version())
	name := keyText(e.key)
	if e.key == nil {
		name = keyless + e.after[columnID]
	}
	old, there := f.rows[name]
	if !there || old.id() != id {
		old = f.gone[id]
	}
	delete(f.gone, id)
	for n, v := range e.after {
		if before, known := old[n]; v == verdict.Unavailable && known {
			e.after[n] = before
		}
	}
	f.rows[name] = e.after
	if e.op == "r" {
		return
	}
	for n, kind := range e.kinds {
		if turns := f.kinds[n]; len(turns) == 0 || turns[len(turns)-1] != kind {
			f.kinds[n] = append(turns, kind)
		}
	}
}
