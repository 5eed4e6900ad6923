package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"reflect"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// overlay records which rows the stream has changed, so that a chunk that was read earlier does not overwrite them. It contains at least the changes
// of every transaction that some present or future chunk does not see.
type overlay struct {
	tables map[uint32]*overtakenTable // by OID of the Relation
	bytes  int                        // approximate memory usage
	key    []byte                     // scratch
}

// overtakenTable records what the stream did to a table.
type overtakenTable struct {
	relation        *pgoutput.Relation
	record.Identity            // no columns: the stream has only INSERT and TRUNCATE, or nothing identifies its rows
	since           outbox.XID // first transaction that used this version of the table
	blind           outbox.XID // last transaction whose changes, or those before it, are not recorded; 0: there is none
	emptied         bool
	emptier         outbox.XID // the last transaction with a TRUNCATE, if emptied
	rows            map[string]overtaken
	copies          map[string]copies // in place of rows, if old rows are whole, since rows without a unique key may be equal
}

// overtaken records what the stream did to the row with a key.
type overtaken struct {
	xid outbox.XID // last transaction that changed it

	// lacking is the resulting row, if no record in the stream since recording began has all of its values: those that are Unchanged are TOASTed
	// values that no statement has touched. It has all of them if several records together do; a reader that has no row yet needs a record with all.
	// nil: nothing is lacking, or the row has been deleted.
	lacking pgoutput.Tuple
	mover   outbox.XID // for a lacking row: the last transaction that changed its key, 0 if there is none
	at      [][]byte   // for a lacking row: the values of its key
}

const overtakenBytes = 128 // approximate size of an entry in addition to key and row

func (o *overlay) reset() { *o = overlay{tables: map[uint32]*overtakenTable{}} }

// record records a change of the transaction xid, in a table with this identity.
func (o *overlay) record(c *outbox.Change, xid outbox.XID, id record.Identity) {
	t := o.table(c.Relation, xid, id)
	switch c.Op {
	case outbox.Truncate:
		o.forget(t)
		t.emptied, t.emptier = true, xid
	case outbox.Insert:
		o.touch(t, xid, c.New, nil)
	case outbox.Update:
		o.touch(t, xid, c.New, c.Old)
	case outbox.Delete:
		o.touch(t, xid, nil, c.Old)
	}
}

// table returns the record of a table. A new version of the table starts with an empty one: chunks of older versions are read again.
func (o *overlay) table(relation *pgoutput.Relation, xid outbox.XID, id record.Identity) *overtakenTable {
	t := o.tables[relation.OID]
	if t != nil && t.relation == relation {
		return t
	}
	if t != nil && reflect.DeepEqual(t.relation, relation) && reflect.DeepEqual(t.Identity, id) {
		t.relation = relation
		return t
	}
	fresh := &overtakenTable{relation: relation, Identity: id, since: xid, rows: map[string]overtaken{}, copies: map[string]copies{}}
	if t != nil {
		o.forget(t)
		fresh.emptied, fresh.emptier, fresh.blind = t.emptied, t.emptier, xid
	}
	o.tables[relation.OID] = fresh
	return fresh
}

// forget removes the rows of a table.
func (o *overlay) forget(t *overtakenTable) {
	for key, row := range t.rows {
		o.bytes -= row.size(key)
	}
	clear(t.rows)
	for key, c := range t.copies {
		o.bytes -= c.size(key)
	}
	clear(t.copies)
}

// touch records that a row became new, or was deleted if new is nil. old is the part of the former row that is in the WAL, if any.
func (o *overlay) touch(t *overtakenTable, xid outbox.XID, new, old pgoutput.Tuple) {
	if len(t.Columns) == 0 || t.Ambiguous {
		return
	}
	if t.Whole {
		new = filled(new, old)
	}
	before, after, known := "", "", true
	if old != nil {
		before, known = o.identityOf(t, old, !t.Whole)
	}
	if new != nil && known {
		after, known = o.identityOf(t, filledKey(t, new, old), false)
	}
	if !known { // it is unknown which row it is: chunks that do not see the change are read again
		o.forget(t)
		t.blind = xid
		return
	}
	if t.Whole {
		if old != nil {
			o.count(t, before, xid, -1)
		}
		if new != nil {
			o.count(t, after, xid, 1)
		}
		return
	}
	if old == nil {
		before = after
	}
	prior, recorded := t.rows[before]
	if before != after || new == nil {
		o.put(t, before, overtaken{xid: xid})
	}
	if new == nil {
		return
	}
	row := overtaken{xid: xid}
	switch {
	case !hasUnchanged(new) || recorded && prior.lacking == nil:
	case recorded:
		row.lacking, row.mover = filled(new, prior.lacking), prior.mover
	default:
		row.lacking = new
	}
	if row.lacking != nil {
		row.lacking, row.at = bytes.Clone(row.lacking), keyOf(t.Columns, new, old)
		if before != after {
			row.mover = xid
		}
	}
	o.put(t, after, row)
}

func (o *overlay) put(t *overtakenTable, key string, row overtaken) {
	if was, found := t.rows[key]; found {
		o.bytes -= was.size(key)
	}
	t.rows[key] = row
	o.bytes += row.size(key)
}

// count records that the stream has added a copy of a row, or has removed one.
func (o *overlay) count(t *overtakenTable, key string, xid outbox.XID, n int) {
	was := t.copies[key]
	if was != nil {
		o.bytes -= was.size(key)
	}
	t.copies[key] = was.add(xid, n)
	o.bytes += t.copies[key].size(key)
}

func (row overtaken) size(key string) int {
	n := overtakenBytes + len(key) + len(row.lacking)
	for _, value := range row.at {
		n += 24 + len(value)
	}
	return n
}

// prune removes the changes that every chunk sees.
func (o *overlay) prune(seen func(outbox.XID) bool) {
	for oid, t := range o.tables {
		for key, row := range t.rows {
			if seen(row.xid) {
				o.bytes -= row.size(key)
				delete(t.rows, key)
			}
		}
		o.filter(t, func(xid outbox.XID) bool { return xid == read || seen(xid) })
		t.emptied = t.emptied && !seen(t.emptier)
		if t.blind != 0 && seen(t.blind) {
			t.blind = 0
		}
		if len(t.rows) == 0 && len(t.copies) == 0 && !t.emptied && t.blind == 0 && seen(t.since) {
			delete(o.tables, oid)
		}
	}
}

// longestKey is the length up to which a key is stored unchanged; for a longer key only a hash is stored.
const longestKey = 64

// identityOf returns a map key for a tuple; false if the tuple lacks a value of its key. In an old tuple that is partial, NULL stands for a value
// that is not in the WAL. Values are compared by the text that PostgreSQL prints. Two different texts may be equal to PostgreSQL, but then the WAL
// has both of them when a row changes from one to the other.
func (o *overlay) identityOf(t *overtakenTable, tuple pgoutput.Tuple, partial bool) (string, bool) {
	o.key = o.key[:0]
	next, column := 0, 0
	for c := tuple.Columns(); next < len(t.Columns) && c.Next(); column++ {
		if column != t.Columns[next] {
			continue
		}
		if c.Kind() == pgoutput.Unchanged || partial && c.Kind() == pgoutput.Null {
			return "", false
		}
		o.key = appendIdentity(o.key, c.Kind(), c.Value())
		next++
	}
	if next < len(t.Columns) {
		return "", false
	}
	return shortened(o.key), true
}

func appendIdentity(dst []byte, kind byte, value []byte) []byte {
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// shortened returns the key, or a hash of a long key.
func shortened(key []byte) string {
	if len(key) > longestKey {
		sum := sha256.Sum256(key)
		return string(sum[:])
	}
	return string(key)
}

// hasUnchanged reports whether a tuple lacks values.
func hasUnchanged(t pgoutput.Tuple) bool {
	for c := t.Columns(); c.Next(); {
		if c.Kind() == pgoutput.Unchanged {
			return true
		}
	}
	return false
}

// filled returns a tuple whose Unchanged values are taken from another tuple of the same relation, if that has them.
func filled(tuple, from pgoutput.Tuple) pgoutput.Tuple {
	if from == nil || tuple.Len() != from.Len() || !hasUnchanged(tuple) {
		return tuple
	}
	dst := append(make(pgoutput.Tuple, 0, len(tuple)+len(from)), tuple[:2]...)
	other := from.Columns()
	for c := tuple.Columns(); c.Next() && other.Next(); {
		if c.Kind() == pgoutput.Unchanged {
			dst = appendColumn(dst, other.Kind(), other.Value())
		} else {
			dst = appendColumn(dst, c.Kind(), c.Value())
		}
	}
	return dst
}

// filledKey returns a tuple whose identity is complete if the old tuple has the values it lacks.
func filledKey(t *overtakenTable, tuple, old pgoutput.Tuple) pgoutput.Tuple {
	if old == nil || !hasUnchanged(tuple) {
		return tuple
	}
	return filled(tuple, old)
}

func appendColumn(dst pgoutput.Tuple, kind byte, value []byte) pgoutput.Tuple {
	dst = append(dst, kind)
	if value != nil { // otherwise it is Null or Unchanged
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(value)))
		dst = append(dst, value...)
	}
	return dst
}

// Verdict says what to do with a chunk.
type Verdict byte

const (
	Publish   Verdict = iota
	Empty             // the table was truncated after it was read
	ReadAgain         // the table has changed since
)

// judge decides about a chunk. relation is the version of the table with which its rows are encoded.
func (o *overlay) judge(chunk *outbox.Chunk) (v Verdict, relation *pgoutput.Relation) {
	t := o.tables[chunk.Relation.OID]
	switch {
	case t == nil:
		return Publish, chunk.Relation
	case t.emptied && !chunk.Visible.Sees(t.emptier):
		return Empty, chunk.Relation
	case t.blind != 0 && !chunk.Visible.Sees(t.blind):
		return ReadAgain, nil
	case reflect.DeepEqual(t.relation, chunk.Relation):
		relation = t.relation
	case !chunk.Visible.Sees(t.since):
		return ReadAgain, nil
	default:
		relation = chunk.Relation // newer than the latest version in the stream
	}
	return Publish, relation
}
