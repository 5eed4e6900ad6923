package outbox

import (
	"errors"
	"time"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// ErrTableGone is a table that was dropped before its rows were read.
var ErrTableGone = errors.New("the table is gone")

// ErrOtherKey is a table whose rows are told apart by other columns than those of a Span.
var ErrOtherKey = errors.New("the table has another key now")

// ErrTableRefused is a table that the server does not let this role read, or not now. Others may be read meanwhile.
var ErrTableRefused = errors.New("the table cannot be read")

// ErrCondition is a condition that does not fit the columns of the table.
var ErrCondition = errors.New("the condition does not fit the table")

// Span says which rows a pass is to read: those of a table that come after a place, in the order of its key, or of
// their ctid if it has none; or else those that have certain keys.
type Span struct {
	Task  int        // names the pass in what comes of it
	Table uint32     // OID; of a partitioned table, a leaf
	Root  uint32     // OID of the table that the stream names: the root of a partitioned one, else Table
	After [][]byte   // Last of the chunk before; none: from the start
	By    []string   // with Keys: the columns of the identity
	Keys  [][][]byte // values of those, as texts; none: a range is read
	UpTo  [][]byte   // with Keys: Last of the last chunk that is wanted; none: to the end
	Rows  int        // about as many, and no more than a pass may take otherwise

	// Condition makes SQL over the columns of a table, which is true for all rows that are wanted; "" for any row. It is called in
	// the transaction that reads. nil: every row is wanted.
	Condition func(*pgoutput.Relation) (string, error)
}

// ListedTable is a published table, or a leaf of one.
type ListedTable struct {
	OID, Root    uint32
	Schema, Name string // of the root
	Rows         int64  // by the planner's estimate; -1: not known
}

// Reading is what comes of a task.
type Reading struct {
	Task    int
	Done    bool     // nothing more comes of it
	Err     error    // it failed; what came before it counts
	Visible *Visible // of Begin: every transaction that was committed when it was called is visible in it
	Waiting string   // of Begin, while it waits: for whom
	Tables  []ListedTable

	Relations []*pgoutput.Relation // of Describe
	Chunk     *Chunk
}

// Chunk is a run of rows of one table as one snapshot of PostgreSQL saw them.
//
// Every transaction that is visible in it had its commit record at or before At. Rows are in the order of the pass: the
// next chunk of the pass continues after Last.
type Chunk struct {
	Table    uint32
	Relation *pgoutput.Relation // as the stream would describe the table to a reader of this moment
	Visible  Visible
	At       LSN
	Time     time.Time // of the reading
	Last     [][]byte  // place of its last row: name of an order, and key or ctid; nil: it has none, or the rows were asked for by their keys
	End      bool      // the table has no row after it, or none of those that were asked for

	rows []byte // Tuples, one after the other
	ends []int  // of each in rows
}

// Len returns the number of rows, Bytes the memory that they take, Row one of them: it is valid as long as the chunk.
func (c *Chunk) Len() int   { return len(c.ends) }
func (c *Chunk) Bytes() int { return cap(c.rows) + 8*cap(c.ends) }
func (c *Chunk) Row(i int) pgoutput.Tuple {
	start := 0
	if i > 0 {
		start = c.ends[i-1]
	}
	return pgoutput.Tuple(c.rows[start:c.ends[i]:c.ends[i]])
}

// Add appends a row, which it copies.
func (c *Chunk) Add(row pgoutput.Tuple) {
	c.rows = append(c.rows, row...)
	c.ends = append(c.ends, len(c.rows))
}
