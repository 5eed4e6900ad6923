package outbox

import (
	"errors"
	"time"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// ErrTableGone means that the table was dropped before its rows were read.
var ErrTableGone = errors.New("the table was dropped")

// ErrOtherKey means that the key of the table is no longer that of the Span.
var ErrOtherKey = errors.New("the table now has another key")

// ErrTableRefused means that the server does not let this role read the table, permanently or for now. Other tables may still be readable.
var ErrTableRefused = errors.New("the table cannot be read")

// ErrTableLocked is an ErrTableRefused that ends with another session's lock.
var ErrTableLocked = errors.New("another session has locked the table, or is waiting for such a lock; the copy tries again")

// ErrCondition means that the condition does not fit the columns of the table.
var ErrCondition = errors.New("the condition does not fit the table")

// Span says which rows a pass reads: the rows of a table after a place, in the order of its key or, without a key, of ctid; or the rows with certain
// keys.
type Span struct {
	Task  int        // identifies the pass in its results
	Table uint32     // OID; a leaf if the table is partitioned
	Root  uint32     // OID of the table that the stream names: the root of a partitioned table, else Table
	After [][]byte   // Last of the preceding chunk; none: from the start
	By    []string   // with Keys: the identity columns
	Keys  [][][]byte // values of these columns as text; none: read a range
	UpTo  [][]byte   // with Keys: Last of the last chunk that is needed; none: to the end
	Rows  int        // approximate number of rows, up to the limits of a pass

	// Condition returns SQL over the columns of a table that is true for all rows to be read; "" selects every row. It is called in the transaction
	// that reads. If Condition is nil, every row is read.
	Condition func(*pgoutput.Relation) (string, error)
}

// ListedTable is a published table, or a leaf partition of one.
type ListedTable struct {
	OID, Root    uint32
	Schema, Name string // of the root
	Rows         int64  // the planner's estimate; -1: not known
}

// Reading is a result of a task.
type Reading struct {
	Task    int
	Done    bool     // it is the last result of the task
	Err     error    // why the task failed; earlier results remain valid
	Visible *Visible // of Begin: a snapshot in which every transaction committed before the call is visible
	Waiting string   // of Begin, while it waits: the transaction it waits for
	Tables  []ListedTable

	Relations []*pgoutput.Relation // of Describe
	Refused   map[uint32]error     // of Describe: why tables cannot be read, by OID; of the leaves of a partitioned table, the first one that cannot
	Chunk     *Chunk
}

// Chunk is a run of rows of one table as seen by one snapshot of PostgreSQL.
//
// Every transaction that is visible in the snapshot wrote its commit record at or before At. Rows are in the order of the pass; the next chunk of the
// pass continues after Last.
type Chunk struct {
	Table    uint32
	Relation *pgoutput.Relation // the table as pgoutput would describe it when the chunk was read
	Visible  Visible
	At       LSN
	Time     time.Time // when the rows were read
	Last     [][]byte  // place of the chunk's last row: name of the order, then key or ctid; nil: the chunk has no rows, or they were selected by key
	End      bool      // the table has no further rows, or no further requested rows

	rows []byte // Tuples, one after another
	ends []int  // end offset of each row in rows
}

// Len returns the number of rows, Bytes the memory that they occupy, Row one of the rows, valid as long as the chunk.
func (c *Chunk) Len() int   { return len(c.ends) }
func (c *Chunk) Bytes() int { return cap(c.rows) + 8*cap(c.ends) }
func (c *Chunk) Row(i int) pgoutput.Tuple {
	start := 0
	if i > 0 {
		start = c.ends[i-1]
	}
	return pgoutput.Tuple(c.rows[start:c.ends[i]:c.ends[i]])
}

// Add appends a copy of a row.
func (c *Chunk) Add(row pgoutput.Tuple) {
	c.rows = append(c.rows, row...)
	c.ends = append(c.ends, len(c.rows))
}
