package snapshot

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// merge decides which rows of a chunk are published, and how: use is called for each with its number. A row that a transaction
// touched which the chunk does not see is left to the stream; if the stream lacks values of it that the chunk has under the
// same key, what both know together is published.
//
// Nothing is looked up as long as the stream has not touched the table.
//
// relation is what judge has returned: if it is newer than what the stream has told, and has other keys, the chunk sees all
// that was recorded.
func (o *overlay) merge(chunk *outbox.Chunk, relation *pgoutput.Relation, use func(i int, row pgoutput.Tuple) error) error {
	t := o.tables[chunk.Relation.OID]
	if t == nil || len(t.rows) == 0 || !t.tellsApart(relation) {
		for i := range chunk.Len() {
			if err := use(i, chunk.Row(i)); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range chunk.Len() {
		row := chunk.Row(i)
		key, _ := o.identityOf(t, row, false)
		if touched, found := t.rows[key]; found && !chunk.Visible.Sees(touched.xid) {
			if touched.lacking == nil || touched.elsewhere(&chunk.Visible) {
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

// elsewhere reports whether the row has another key in what a snapshot sees.
func (row *overtaken) elsewhere(v *outbox.Visible) bool { return row.mover != 0 && !v.Sees(row.mover) }

// tellsApart reports whether the rows of a relation have the columns that tell the table's rows apart, where the table has them.
func (t *overtakenTable) tellsApart(relation *pgoutput.Relation) bool {
	for _, i := range t.Columns {
		if i >= len(relation.Columns) || relation.Columns[i].Name != t.relation.Columns[i].Name {
			return false
		}
	}
	return true
}
