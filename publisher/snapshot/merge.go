package snapshot

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// merge decides which rows of a chunk are published, and in which form: it calls use for each of them with its number. A row changed by a transaction
// that the chunk does not see is left to the stream. If the stream lacks values of that row that the chunk has under the same key, merge publishes
// the row with the values of both. Where rows may be equal, as many copies are left out as the stream has removed.
//
// As long as the stream has not changed the table, nothing is looked up.
//
// relation is the result of judge: if it is newer than the latest one in the stream and has another key, the chunk sees every recorded change.
func (o *overlay) merge(chunk *outbox.Chunk, relation *pgoutput.Relation, use func(i int, row pgoutput.Tuple) error) error {
	t := o.tables[chunk.Relation.OID]
	if t == nil || len(t.rows) == 0 && len(t.copies) == 0 || !t.hasSameIdentity(relation) {
		for i := range chunk.Len() {
			if err := use(i, chunk.Row(i)); err != nil {
				return err
			}
		}
		return nil
	}
	shares := map[string]*share{}
	defer func() {
		for key, s := range shares {
			o.settle(t, key, &chunk.Visible, s)
		}
	}()
	for i := range chunk.Len() {
		row := chunk.Row(i)
		key, _ := o.identityOf(t, row, false)
		if changed := t.copies[key]; changed != nil {
			s := shares[key]
			if s == nil {
				s = &share{removed: changed.removed(&chunk.Visible)}
				shares[key] = s
			}
			if s.leaveOut() {
				continue
			}
		}
		if touched, found := t.rows[key]; found && !chunk.Visible.Sees(touched.xid) {
			if touched.lacking == nil || touched.underOtherKey(&chunk.Visible) {
				continue
			}
			row = filled(touched.lacking, row)
		}
		if err := use(i, row); err != nil {
			return err
		}
	}
	return nil
}

// underOtherKey reports whether the row has another key in the state that a snapshot sees.
func (row *overtaken) underOtherKey(v *outbox.Visible) bool {
	return row.mover != 0 && !v.Sees(row.mover)
}

// hasSameIdentity reports whether the rows of a relation have the table's identity columns at the same places.
func (t *overtakenTable) hasSameIdentity(relation *pgoutput.Relation) bool {
	for _, i := range t.Columns {
		if i >= len(relation.Columns) || relation.Columns[i].Name != t.relation.Columns[i].Name {
			return false
		}
	}
	return true
}
