package record

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Place is the position of a change in the WAL: its record is encoded with the definition that the table had there.
type Place struct {
	LSN outbox.LSN // LSN of the change's own WAL record; 0: now
	XID outbox.XID // its transaction, which may not be visible to others yet; 0: it is visible
}

// PlaceOf returns the place of a change of a transaction. Rows read by a snapshot belong to transactions that the snapshot saw.
func PlaceOf(tx *outbox.Transaction, c *outbox.Change) Place {
	if c.Op == outbox.Read {
		return Place{LSN: c.LSN}
	}
	return Place{c.LSN, tx.XID}
}

// Identity says which values of the old rows of a table are in the WAL.
type Identity struct {
	Columns []int // indexes in the Relation, ascending, of the columns that every old row has; none: old rows cannot be identified

	// Whole says that old rows have all columns, so that NULL in one is NULL. Otherwise NULL may stand for a value that is not in the WAL. The kind
	// of an old row does not reveal this: for a partition it follows the partitioned table's replica identity.
	Whole bool

	// Ambiguous says that several rows may have the same values in Columns, because the WAL leaves out a generated column of the key. Rows may also be
	// equal if they are Whole.
	Ambiguous bool
}

// LoggedIdentity returns the Identity of a table that is not partitioned, from the stream alone.
func LoggedIdentity(r *pgoutput.Relation) Identity {
	id := Identity{Whole: r.Identity == 'f'}
	for i, c := range r.Columns {
		if c.Key {
			id.Columns = append(id.Columns, i)
		}
	}
	return id
}
