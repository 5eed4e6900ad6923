package snapshot

import (
	"bytes"
	"slices"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// MovedRows are rows that moved while their table was copied, in statements that did not touch TOASTed values: their key changed, or, in a table that
// is read in the order of ctid, they were updated at all. The stream has such a row without those values, and the chunks may have it neither where it
// was nor where it is now. Therefore the row is read by its key later. The list is part of the progress record, because the recorded position is already
// past those transactions.
type MovedRows struct {
	By   []string   `json:"by,omitempty"`   // columns of the identity
	Keys [][][]byte `json:"keys,omitempty"` // their values, as texts; ascending, without duplicates

	bytes int // size of Keys in the progress record
}

// keySize returns the size of a key as JSON.
func keySize(key [][]byte) int {
	n := 3
	for _, value := range key {
		n += 3 + (len(value)+2)/3*4
	}
	return n
}

func compareKeys(a, b [][]byte) int { return slices.CompareFunc(a, b, bytes.Compare) }

func (m *MovedRows) add(by []string, key [][]byte) {
	if i, found := slices.BinarySearchFunc(m.Keys, key, compareKeys); !found {
		m.By, m.Keys = by, slices.Insert(m.Keys, i, key)
		m.bytes += keySize(key)
	}
}

func (m *MovedRows) has(key [][]byte) bool {
	_, found := slices.BinarySearchFunc(m.Keys, key, compareKeys)
	return found
}

// remove removes a key, and reports whether it was in the list.
func (m *MovedRows) remove(key [][]byte) bool {
	i, found := slices.BinarySearchFunc(m.Keys, key, compareKeys)
	if found {
		m.Keys = slices.Delete(m.Keys, i, i+1)
		m.bytes -= keySize(key)
	}
	return found
}

// sound reports whether the keys are sorted and have a value for each column, since a progress record may be damaged.
func (m *MovedRows) sound() bool {
	return !slices.ContainsFunc(m.Keys, func(key [][]byte) bool { return len(key) != len(m.By) }) && slices.IsSortedFunc(m.Keys, compareKeys)
}

// resume copies the list of a progress record, which must not be modified.
func (m *MovedRows) resume() {
	m.Keys, m.bytes = slices.Clone(m.Keys), 0
	for _, key := range m.Keys {
		m.bytes += keySize(key)
	}
}

// keyOf returns copies of a row's values in these columns, which ascend. Values that the row lacks are taken from the old row, unless that is nil.
func keyOf(columns []int, row, old pgoutput.Tuple) (key [][]byte) {
	before := old.Columns()
	i := 0
	for c := row.Columns(); c.Next() && len(key) < len(columns); i++ {
		value := c.Value()
		if old != nil && before.Next() && c.Kind() == pgoutput.Unchanged {
			value = before.Value()
		}
		if columns[len(key)] == i {
			key = append(key, bytes.Clone(value))
		}
	}
	return key
}

// namesOf returns the names of some columns; placesOf returns the positions of columns with these names, fewer if some do not exist.
func namesOf(relation *pgoutput.Relation, columns []int) (names []string) {
	for _, i := range columns {
		names = append(names, relation.Columns[i].Name)
	}
	return names
}

func placesOf(relation *pgoutput.Relation, names []string) (columns []int) {
	for i, c := range relation.Columns {
		if slices.Contains(names, c.Name) {
			columns = append(columns, i)
		}
	}
	return columns
}

// noteMove adds a row whose key changes to the list of every copy that has begun the row's table.
func (c *Copier) noteMove(change *outbox.Change, id record.Identity) {
	for i := range c.state.Copies {
		working := c.state.Copies[i].Working
		for j := range working {
			w := &working[j]
			if w.Root != change.Relation.OID || !c.hasBegun(w) {
				continue
			}
			if !w.noteMove(change, id) || c.movedBytes() > c.cfg.MaxMovedBytes {
				c.restart(w)
			}
		}
	}
}

// hasBegun reports whether any part of a table has been read, or is being read.
func (c *Copier) hasBegun(w *TableCopy) bool {
	return w.Last != nil || w.Read || slices.ContainsFunc(c.passes, func(p *tablePass) bool { return p.table == w.OID && !p.stale })
}

// noteMove returns false if the identity columns of the table have changed.
//
// Once the table has been read to its end, only rows in the list are noted: all values of any other row are in the topic, under whatever key.
func (w *TableCopy) noteMove(c *outbox.Change, id record.Identity) bool {
	if c.Op == outbox.Truncate {
		w.Moved = MovedRows{}
		return true
	}
	before := c.Old
	if w.ctid && before == nil && c.Op == outbox.Update { // under the same key, but in another place
		before = c.New
	}
	if before == nil || id.Whole || id.Ambiguous || len(id.Columns) == 0 { // it did not move, the WAL has all values, or nothing identifies it
		return true
	}
	by := namesOf(c.Relation, id.Columns)
	if len(w.Moved.Keys) > 0 && !slices.Equal(w.Moved.By, by) {
		return false
	}
	listed := w.Moved.remove(keyOf(id.Columns, before, nil))
	if c.Op == outbox.Update && hasUnchanged(c.New) && (listed || !w.Read) {
		w.Moved.add(by, keyOf(id.Columns, c.New, c.Old))
	}
	return true
}

// noteOvertaken lists the rows that have already moved in the stream, while future passes may see them under another key. It is called before the
// first pass of a table, and returns false if there are too many such rows.
func (c *Copier) noteOvertaken(w *TableCopy) bool {
	w.Moved, w.ctid = MovedRows{}, false
	return c.noteFrom(w, func(row *overtaken) bool { return row.mover != 0 && !c.latest.Sees(row.mover) })
}

// noteDisplaced lists the rows that the stream has updated, while future passes may see them in another place. It is called when the first chunk of a
// table shows that the table is read in the order of ctid, and returns false if there are too many such rows.
func (c *Copier) noteDisplaced(w *TableCopy) bool {
	return c.noteFrom(w, func(row *overtaken) bool { return !c.latest.Sees(row.xid) })
}

// noteFrom lists rows of the overlay that lack values. It returns false if there are too many.
func (c *Copier) noteFrom(w *TableCopy, moved func(*overtaken) bool) bool {
	t := c.overlay.tables[w.Root]
	if t == nil || len(t.Columns) == 0 {
		return true
	}
	by := namesOf(t.relation, t.Columns)
	for _, row := range t.rows {
		if row.lacking == nil || !moved(&row) {
			continue
		}
		w.Moved.add(by, row.at)
		if c.movedBytes() > c.cfg.MaxMovedBytes {
			w.Moved = MovedRows{}
			return false
		}
	}
	return true
}

// movedBytes returns the size of the lists in the progress record.
func (c *Copier) movedBytes() (n int) {
	for i := range c.state.Copies {
		for j := range c.state.Copies[i].Working {
			n += c.state.Copies[i].Working[j].Moved.bytes
		}
	}
	return n
}

// restart copies a table again from its start, with passes that see everything that the stream has delivered so far.
func (c *Copier) restart(w *TableCopy) {
	c.Log.Warn("too many rows of a table have changed their keys while it was copied, or its key columns have changed; it is copied again from its start",
		zap.String("finding", "snapshot-slow"), zap.Uint32("table", w.OID), zap.Int("rows", len(w.Moved.Keys)))
	*w = TableCopy{OID: w.OID, Root: w.Root, Name: w.Name}
	c.dirty = true
	if c.reader != nil {
		c.abandon()
		c.start()
	}
}

// restartTable restarts a table of the current copy.
func (c *Copier) restartTable(table uint32) {
	if w := c.Current().of(table); w != nil {
		c.restart(w)
	}
}

// maxKeys bounds the number of rows read by key in one pass.
const maxKeys = 256

// spanByKeys returns the rows that must be read by key now, if any: at the end of the table, or when the list is long. Rows beyond the current reading
// position are excluded, since reading the rest of the table will find them.
func (c *Copier) spanByKeys(w *TableCopy) (span outbox.Span, ok bool) {
	asked := slices.ContainsFunc(c.passes, func(p *tablePass) bool { return p.table == w.OID && p.keys != nil && !p.stale })
	upTo := c.reached[w.OID]
	if asked || len(w.Moved.Keys) == 0 || !w.Read && (upTo == nil || c.movedBytes() < c.cfg.LongMovedBytes) {
		return span, false
	}
	return outbox.Span{Table: w.OID, By: w.Moved.By, Keys: slices.Clone(w.Moved.Keys[:min(len(w.Moved.Keys), maxKeys)]), UpTo: upTo}, true
}

// removeRead removes from the list the rows that a chunk contains. At the end of a pass by keys it also removes those that no longer exist or will be
// read later. It keeps a row that the chunk sees under another key.
func (c *Copier) removeRead(w *TableCopy, chunk *HeldChunk) {
	if len(w.Moved.Keys) == 0 {
		return
	}
	remove := func(key [][]byte) {
		if !c.overlay.underOtherKey(chunk.Chunk, key) {
			w.Moved.remove(key)
		}
	}
	columns := placesOf(chunk.Relation, w.Moved.By)
	for i := range chunk.Len() {
		remove(keyOf(columns, chunk.Row(i), nil))
	}
	if chunk.End {
		for _, key := range chunk.pass.keys {
			remove(key)
		}
	}
}

// listed reports whether a row that was read by its key is still wanted, because no other chunk has contained it since.
func (c *Copier) listed(chunk *HeldChunk, row pgoutput.Tuple) bool {
	w := c.Current().of(chunk.Table)
	return w != nil && w.Moved.has(keyOf(placesOf(chunk.Relation, w.Moved.By), row, nil))
}

// underOtherKey reports whether the row that has this key now, and lacks values, has another key in the state that the chunk sees.
func (o *overlay) underOtherKey(chunk *outbox.Chunk, key [][]byte) bool {
	t := o.tables[chunk.Relation.OID]
	if t == nil {
		return false
	}
	o.key = o.key[:0]
	for _, value := range key {
		o.key = appendIdentity(o.key, pgoutput.Text, value)
	}
	row := t.rows[shortened(o.key)]
	return row.underOtherKey(&chunk.Visible)
}
