package snapshot

import (
	"strings"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// State is the part of the progress record that describes the copies of tables. It is recorded in the Kafka transaction that brings the rows:
// see ../SNAPSHOT.md.
type State struct {
	Copies   []Copy         `json:"copies,omitempty"`   // not finished; the first that is not paused is at work
	Finished []FinishedCopy `json:"finished,omitempty"` // the last few, newest last
	Signals  *SignalPlace   `json:"signals,omitempty"`  // nil: no topic of signals is read
}

// Copy is one request and its progress. Tables are copied in the order of their OIDs, so that no list of finished tables is needed;
// partitioned tables are copied leaf by leaf.
type Copy struct {
	ID         string                   `json:"id"`
	Tables     []string                 `json:"tables,omitempty"` // globs of schema.table; none: every published table
	Except     []string                 `json:"except,omitempty"` // globs of those that were taken out later
	Conditions []outbox.SignalCondition `json:"conditions,omitempty"`

	Resync    bool      `json:"resync,omitempty"`  // a record that empties the topic of each table comes before their rows
	Emptied   bool      `json:"emptied,omitempty"` // those records are in Kafka
	Initial   bool      `json:"initial,omitempty"` // its source.snapshot says first, true, last; else incremental
	Paused    bool      `json:"paused,omitempty"`
	Requested time.Time `json:"requested"`
	Unmatched []string  `json:"unmatched,omitempty"` // those of Tables that match no published table
	Waiting   string    `json:"waiting,omitempty"`   // for what; "": for nothing

	After   uint32      `json:"after,omitempty"`   // tables up to this OID are done, or among Working
	Until   uint32      `json:"until,omitempty"`   // highest OID of its tables; 0: they were not listed yet
	Working []TableCopy `json:"working,omitempty"` // begun and not done

	TablesDone    int   `json:"tables_done"`
	TablesTotal   int   `json:"tables_total"`
	RowsDone      int64 `json:"rows_done"` // read; rows that the stream has overtaken make no record
	RowsEstimated int64 `json:"rows_estimated"`
	Chunks        int64 `json:"chunks"`
}

// TableCopy is the progress of one table.
type TableCopy struct {
	OID   uint32    `json:"oid"`            // of the table itself, the leaf of a partitioned one
	Root  uint32    `json:"root"`           // of the table that the stream names
	Name  string    `json:"name,omitempty"` // schema.table of that when it was begun: conditions are for it
	Last  [][]byte  `json:"last,omitempty"` // outbox.Chunk.Last of the last chunk that is in Kafka; none: none is
	Read  bool      `json:"read,omitempty"` // up to its end: what is to be read are rows of Moved
	Moved MovedRows `json:"moved,omitzero"`
}

// of returns the progress of a table; nil if it is not begun, or done.
func (r *Copy) of(table uint32) *TableCopy {
	for i := range r.Working {
		if r.Working[i].OID == table {
			return &r.Working[i]
		}
	}
	return nil
}

// FinishedCopy is what is kept of a request that has ended.
type FinishedCopy struct {
	ID       string    `json:"id"`
	Stopped  bool      `json:"stopped,omitempty"` // by request, or for a reason that Why tells
	Why      string    `json:"why,omitempty"`
	Finished time.Time `json:"finished"`
	Tables   int       `json:"tables"`
	Rows     int64     `json:"rows"`

	Unmatched []string `json:"unmatched,omitempty"`
}

const (
	maxWhy       = 1 << 10 // bytes
	maxUnmatched = 20
)

// shorten bounds its size in the progress record.
func (f *FinishedCopy) shorten() {
	if len(f.Why) > maxWhy {
		f.Why = strings.ToValidUTF8(f.Why[:maxWhy], "") + "…"
	}
	f.Unmatched = f.Unmatched[:min(len(f.Unmatched), maxUnmatched)]
}

// Stats describes the copy at work.
type Stats struct {
	State         string // "" (none), "waiting", "copying", "paused"
	ID            string
	Waiting       string // for what: a transaction, the stream
	Table         string // last one that rows were published of
	TablesDone    int
	TablesTotal   int
	RowsDone      int64
	RowsEstimated int64 // by the planner; -1: not known
	Chunks        int64
	Since         time.Time // of the request
	TotalRows     int64     // published chunks have brought, of all snapshots since the publisher was made
	TotalTables   int64     // done, in those
}

// SignalPlace is how far the topic of signals is read.
type SignalPlace struct {
	Topic string `json:"topic"`
	Next  int64  `json:"next"` // offset
}
