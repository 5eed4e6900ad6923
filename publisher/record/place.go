package record

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Place is the position of a change in the log: its record is encoded with the table as it was there.
type Place struct {
	LSN outbox.LSN // of the change's own record; 0: now
	XID outbox.XID // of its transaction, which others may not see yet; 0: they do
}

// PlaceOf is the place of a change of a transaction. The rows that a snapshot has read are of transactions that it saw.
func PlaceOf(tx *outbox.Transaction, c *outbox.Change) Place {
	if c.Op == outbox.Read {
		return Place{LSN: c.LSN}
	}
	return Place{c.LSN, tx.XID}
}

// Identity is what the log contains of the old rows of a table.
type Identity struct {
	Columns []int // of the Relation, ascending: those that every old row has; none: no old row says which row it was

	// Whole says that old rows have all columns: NULL in one is NULL. Else it may be a value that the log does not have. The kind of an old row
	// does not tell: those of a partition are called what the partitioned table's replica identity says.
	Whole bool
}

// LoggedIdentity is the Identity of a table that is not partitioned, from the log alone.
func LoggedIdentity(r *pgoutput.Relation) Identity {
	id := Identity{Whole: r.Identity == 'f'}
	for i, c := range r.Columns {
		if c.Key {
			id.Columns = append(id.Columns, i)
		}
	}
	return id
}
