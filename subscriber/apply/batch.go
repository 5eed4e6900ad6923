package apply

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// value is the text of a column, as a part of a batch's arena.
type value struct {
	start, end uint32
	kind       byte
}

// Kinds of a value. The zero value means that the value is not known: the column is left unchanged.
const (
	absent byte = iota
	isNull
	isText
)

// span is a part of an arena.
type span struct{ start, end uint32 }

// fate is the combined effect of a batch's changes on a row of the target.
type fate byte

const (
	inserted  fate = iota // must not exist
	updated               // must exist
	deleted               // must exist
	replaced              // must exist; another row takes its place
	transient             // must not exist, before or after
	upserted              // read by a snapshot, or possibly so
	corrected             // changed, and a snapshot may not have delivered it yet
	forgotten             // deleted, and a snapshot may not have delivered it yet
)

// netRow is a row of a table in a batch. Its values are in tableBatch.values.
type netRow struct {
	fate   fate
	moved  bool // its key has changed; the target still has it under origin
	origin span // key that it has in the target
}

// tableBatch holds the changes of a batch to one table.
type tableBatch struct {
	table  *table
	keys   []int // key columns; nil: the table has no key
	rows   []netRow
	values []value // len(table.columns) values for each row
	index  keyIndex
}

func (t *tableBatch) row(i int) []value {
	n := len(t.table.columns)
	return t.values[i*n : (i+1)*n]
}

// change is a single change that is written by itself, in the order of the source.
type change struct {
	table    *table
	op       byte // c, u, d, r
	keys     []int
	key      span // key before the change
	moved    bool
	cut      bool    // row lacks values that were too large for the record
	whole    bool    // row has a value for every column of the record
	row, old []value // old is the row before the change, for a table without a key; nil: not known, or not all of it
	record   *kgo.Record
	place    place
}

// batch is a sequence of changes. One goroutine fills it, then another one writes it.
type batch struct {
	arena  []byte
	tables []*tableBatch
	byName map[*table]*tableBatch

	changes  []change // used instead of tables if changes are written one by one
	truncate []*table
	resync   string     // id of the resync that truncate belongs to; "": a TRUNCATE
	ddl      *ddlRecord // nil: none

	more    bool // the rest of the batch's last transaction follows
	careful bool // changes are written under savepoints
	end     LSN  // with this batch, all transactions that committed before this LSN have been applied
	offsets map[string][]int64
	topics  map[string]string
	loading map[string]load
	copies  []copyID // snapshots that are known at end

	last         LSN // commit LSN of the last transaction
	commitTime   time.Time
	transactions int
	events       int
	began        time.Time
	spare        []*tableBatch
}

func newBatch() *batch { return &batch{byName: map[*table]*tableBatch{}} }

// maxKeptBytes is the largest arena that is reused.
const maxKeptBytes = 24 << 20

// reset empties a batch but keeps its memory.
func (b *batch) reset() {
	arena, byName, changes, spare := b.arena[:0], b.byName, b.changes, b.spare
	if cap(arena) > maxKeptBytes {
		arena = nil
	}
	clear(byName)
	clear(changes)
	for _, t := range b.tables {
		if len(spare) < 8 && cap(t.values) < 1<<20 {
			t.rows, t.values = t.rows[:0], t.values[:0]
			t.index.reset()
			spare = append(spare, t)
		}
	}
	*b = batch{arena: arena, byName: byName, changes: changes[:0], spare: spare}
}

func (b *batch) empty() bool { return b.events == 0 && b.ddl == nil && len(b.truncate) == 0 }

// of returns the part of a batch that belongs to a table.
func (b *batch) of(t *table) *tableBatch {
	if found := b.byName[t]; found != nil {
		return found
	}
	part := &tableBatch{}
	if n := len(b.spare); n > 0 {
		part, b.spare = b.spare[n-1], b.spare[:n-1]
	}
	part.table, part.keys = t, nil
	b.tables = append(b.tables, part)
	b.byName[t] = part
	return part
}

// add adds a row with the values of row.
func (t *tableBatch) add(f fate, key span, row []value) int {
	t.rows = append(t.rows, netRow{fate: f, origin: key})
	if row == nil { // a delete
		n := len(t.values) + len(t.table.columns)
		t.values = slices.Grow(t.values, len(t.table.columns))[:n]
		clear(t.values[n-len(t.table.columns):])
		return len(t.rows) - 1
	}
	t.values = append(t.values, row...)
	return len(t.rows) - 1
}

// merge overwrites the values of into by the known values of row.
func merge(into, row []value) {
	for i := range row {
		if row[i].kind != absent {
			into[i] = row[i]
		}
	}
}

// put applies a change to the batch. It returns false if the change cannot be combined with the batch's changes of the row, and must be written after
// them.
func (t *tableBatch) put(b *batch, op byte, key span, row []value) bool {
	loading := t.table.loading
	if t.keys == nil {
		t.add(inserted, key, row)
		return true
	}
	slot, found := t.index.find(b.arena, key)
	if !found {
		f := map[byte]fate{'c': inserted, 'u': updated, 'd': deleted, 'r': upserted}[op]
		if loading {
			f = map[byte]fate{'c': upserted, 'u': corrected, 'd': forgotten, 'r': upserted}[op]
			switch {
			case op == 'u' && t.replaces(row):
				f = upserted
			case op == 'u' && (t.table.described(row) || t.table.fixed(t.keys)): // the UPDATE does not find every existing row: see updateSQL
				return false
			}
		}
		t.index.insert(b.arena, slot, key, t.add(f, key, row))
		return true
	}
	i := t.index.at(slot)
	next, fits := transition(t.rows[i].fate, op)
	if !fits || t.rows[i].moved && (op == 'd' || op == 'r') {
		return false
	}
	if next == corrected && t.table.described(row) { // the snapshot leaves the row to the stream from here on
		if !t.replaces(row) {
			return false
		}
		next = upserted
	}
	if op == 'c' {
		copy(t.row(i), row)
	} else if op != 'd' {
		merge(t.row(i), row)
	}
	t.rows[i].fate = next
	return true
}

// replaces reports whether a row that a snapshot may not have delivered yet can be written as a whole: the record has all its values, and columns that only
// the target has keep theirs.
func (t *tableBatch) replaces(row []value) bool {
	return t.table.described(row) && (t.table.complete(row) || t.table.upserts(t.keys))
}

// replace applies a change of a key for a row with all values known: the old row is deleted and a new one inserted.
func (t *tableBatch) replace(b *batch, from, to span, row []value) bool {
	if at, taken := t.index.find(b.arena, to); taken {
		if _, fits := transition(t.rows[t.index.at(at)].fate, 'c'); !fits {
			return false
		}
	}
	return t.put(b, 'd', from, nil) && t.put(b, 'c', to, row)
}

// transition returns the fate of a row after a change, and whether the change can be combined with its fate so far.
func transition(f fate, op byte) (fate, bool) {
	switch op {
	case 'c':
		switch f {
		case deleted:
			return replaced, true
		case transient:
			return inserted, true
		case forgotten:
			return upserted, true
		}
	case 'u':
		switch f {
		case inserted, updated, replaced, upserted, corrected:
			return f, true
		}
	case 'd':
		switch f {
		case inserted:
			return transient, true
		case updated, replaced:
			return deleted, true
		case upserted, corrected:
			return forgotten, true
		}
	case 'r':
		switch f {
		case inserted, replaced, upserted:
			return f, true
		case corrected, forgotten:
			return upserted, true
		}
	}
	return f, false
}

// move applies a change of a key for a row of which not all values are known: the row continues under the new key.
func (t *tableBatch) move(b *batch, from, to span, row []value) bool {
	if t.table.loading {
		return false
	}
	slot, found := t.index.find(b.arena, from)
	at, taken := t.index.find(b.arena, to)
	if taken {
		return false
	}
	if !found {
		i := t.add(updated, from, row)
		t.rows[i].moved = true
		t.index.insert(b.arena, at, to, i)
		return true
	}
	i := t.index.at(slot)
	switch t.rows[i].fate {
	case updated:
		t.rows[i].moved = true
	case inserted:
	default:
		return false
	}
	merge(t.row(i), row)
	t.index.remove(slot)
	at, _ = t.index.find(b.arena, to)
	t.index.insert(b.arena, at, to, i)
	return true
}

// keyIndex maps keys to rows. It uses open addressing on the keys in the arena.
type keyIndex struct {
	slots []keySlot
	used  int
}

type keySlot struct {
	key  span
	row  int32 // index + 1; 0: free, -1: removed
	hash uint32
}

var seed = maphash.MakeSeed()

func (x *keyIndex) reset() {
	clear(x.slots)
	x.used = 0
}

func (x *keyIndex) find(arena []byte, key span) (slot int, found bool) {
	if x.used*2 >= len(x.slots) {
		x.grow()
	}
	bytes := arena[key.start:key.end]
	hash := uint32(maphash.Bytes(seed, bytes))
	free := -1
	for i := int(hash) & (len(x.slots) - 1); ; i = (i + 1) & (len(x.slots) - 1) {
		s := &x.slots[i]
		switch {
		case s.row == 0:
			if free >= 0 {
				return free, false
			}
			return i, false
		case s.row < 0:
			if free < 0 {
				free = i
			}
		case s.hash == hash && string(arena[s.key.start:s.key.end]) == string(bytes):
			return i, true
		}
	}
}

func (x *keyIndex) at(slot int) int { return int(x.slots[slot].row) - 1 }

func (x *keyIndex) insert(arena []byte, slot int, key span, row int) {
	if x.slots[slot].row == 0 {
		x.used++
	}
	x.slots[slot] = keySlot{key, int32(row) + 1, uint32(maphash.Bytes(seed, arena[key.start:key.end]))}
}

func (x *keyIndex) remove(slot int) { x.slots[slot] = keySlot{row: -1} }

func (x *keyIndex) grow() {
	old := x.slots
	x.slots, x.used = make([]keySlot, max(64, 2*len(old))), 0
	for _, s := range old {
		if s.row <= 0 {
			continue
		}
		i := int(s.hash) & (len(x.slots) - 1)
		for x.slots[i].row != 0 {
			i = (i + 1) & (len(x.slots) - 1)
		}
		x.slots[i] = s
		x.used++
	}
}

// nullPart is the length that stands for NULL in a key.
const nullPart = math.MaxUint32

// keyParts calls use with the text of each column of a key, nil for NULL. A length precedes each text.
func keyParts(key []byte, use func(text []byte)) {
	for len(key) >= 4 {
		length := binary.BigEndian.Uint32(key)
		key = key[4:]
		if length == nullPart {
			use(nil)
			continue
		}
		use(key[:length:length])
		key = key[length:]
	}
}

// hasNull reports whether a column of a key is NULL. A configured key may have such columns.
func hasNull(key []byte) (has bool) {
	keyParts(key, func(text []byte) { has = has || text == nil })
	return has
}

// tablesInOrder returns the parts of a batch by table name, so that messages are reproducible.
func (b *batch) tablesInOrder() []*tableBatch {
	return slices.SortedFunc(slices.Values(b.tables), func(a, b *tableBatch) int {
		switch {
		case a.table.name < b.table.name:
			return -1
		case a.table.name > b.table.name:
			return 1
		}
		return 0
	})
}
