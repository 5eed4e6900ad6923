package snapshot

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// State is the part of the progress record that describes the copies of tables. It is recorded in the Kafka transaction that contains the rows: see
// ../SNAPSHOT.md.
type State struct {
	Copies   []Copy         `json:"copies,omitempty"`   // not finished; the first one that is not paused is the current copy
	Finished []FinishedCopy `json:"finished,omitempty"` // the last few, newest last
	Signals  *SignalPlace   `json:"signals,omitempty"`  // nil: no topic of signals is read
}

// Copy is one request and its progress. Tables are copied in the order of their OIDs, so that no list of finished tables is needed; partitioned
// tables are copied leaf by leaf.
type Copy struct {
	ID         string                   `json:"id"`
	Tables     []string                 `json:"tables,omitempty"` // globs of schema.table; none: every published table
	Roots      map[string]uint32        `json:"roots,omitempty"`  // OIDs of some of Tables, which may have other names now; of partitioned tables the root
	Except     []string                 `json:"except,omitempty"` // globs of tables excluded later
	Conditions []outbox.SignalCondition `json:"conditions,omitempty"`

	Resync    bool      `json:"resync,omitempty"`  // a record that empties the topic of each table precedes the table's rows
	Emptied   bool      `json:"emptied,omitempty"` // those records are in Kafka, except for the tables in Kept
	Kept      []uint32  `json:"kept,omitempty"`    // tables, by OID of the root, that could not be read then: their topics are emptied as soon as they can be read
	Initial   bool      `json:"initial,omitempty"` // its source.snapshot is first, true or last; otherwise incremental
	Again     bool      `json:"again,omitempty"`   // its rows may have been published before: it leaves out tables of events
	Paused    bool      `json:"paused,omitempty"`
	Requested time.Time `json:"requested"`
	Unmatched []string  `json:"unmatched,omitempty"` // elements of Tables that match no published table
	Waiting   string    `json:"waiting,omitempty"`   // what it waits for; "": nothing

	After   uint32      `json:"after,omitempty"`   // tables up to this OID are done, or in Working
	Until   uint32      `json:"until,omitempty"`   // highest OID of its tables; 0: they have not been listed yet
	Working []TableCopy `json:"working,omitempty"` // begun but not done

	TablesDone    int   `json:"tables_done"`
	TablesTotal   int   `json:"tables_total"`
	RowsDone      int64 `json:"rows_done"` // rows read, including rows that the stream has overtaken and that have no record
	RowsEstimated int64 `json:"rows_estimated"`
	Chunks        int64 `json:"chunks"`

	stuck time.Time // when it last had nothing to do but to wait for tables that cannot be read
}

// TableCopy is the progress of one table.
type TableCopy struct {
	OID   uint32    `json:"oid"`            // OID of the table itself, for partitioned tables of the leaf
	Root  uint32    `json:"root"`           // OID of the table that is named in the stream
	Name  string    `json:"name,omitempty"` // schema.table of that table when it was begun: conditions are for this name
	Last  [][]byte  `json:"last,omitempty"` // outbox.Chunk.Last of the last chunk in Kafka; none if there is none
	Read  bool      `json:"read,omitempty"` // it has been read to its end: only rows in Moved remain to be read
	Moved MovedRows `json:"moved,omitzero"`

	ctid bool // it is read in the order of ctid, as far as the chunks show
}

// beginning is the progress of a table of which nothing has been read.
func beginning(t *outbox.ListedTable) TableCopy {
	return TableCopy{OID: t.OID, Root: t.Root, Name: t.Schema + "." + t.Name}
}

// of returns the progress of a table; nil if it has not begun, or is done.
func (r *Copy) of(table uint32) *TableCopy {
	for i := range r.Working {
		if r.Working[i].OID == table {
			return &r.Working[i]
		}
	}
	return nil
}

// FinishedCopy is the part of a request that is kept after its end.
type FinishedCopy struct {
	ID       string    `json:"id"`
	Stopped  bool      `json:"stopped,omitempty"` // by request, or for the reason in Why
	Why      string    `json:"why,omitempty"`
	Finished time.Time `json:"finished"`
	Tables   int       `json:"tables"`
	Rows     int64     `json:"rows"`

	Unmatched []string `json:"unmatched,omitempty"`
	Request   *Request `json:"request,omitempty"` // of a copy that was stopped; nil: it is not known
}

// Request is what a copy was requested for.
type Request struct {
	Tables     []string                 `json:"tables,omitempty"` // these and the others are as in Copy
	Conditions []outbox.SignalCondition `json:"conditions,omitempty"`
	Resync     bool                     `json:"resync,omitempty"`
}

const (
	maxWhy       = 1 << 10 // in bytes
	maxUnmatched = 20
	maxRequest   = 1 << 10 // in bytes of JSON
)

// AllTables is the pattern with which a signal names every table, since it must name some.
const AllTables = "*.*"

// Again returns a signal that requests a stopped copy once more; nil if its request is not known. The id of the new copy follows from the end of the
// stopped one, so that a second request is refused while the first one is under way.
func (f *FinishedCopy) Again() *outbox.SignalRecord {
	if !f.Stopped || f.Request == nil {
		return nil
	}
	s := &outbox.SignalRecord{ID: "again-" + f.Finished.UTC().Format("20060102T150405.000000"), Type: outbox.ExecuteSnapshot, Tables: f.Request.Tables, Conditions: f.Request.Conditions}
	if f.Request.Resync {
		s.Type = outbox.Resync
	}
	if len(s.Tables) == 0 {
		s.Tables = []string{AllTables}
	}
	return s
}

// requestOf returns the request of a copy; nil if it is too long to be kept, or if tables were excluded later, which no request can express.
func requestOf(c *Copy) *Request {
	r := &Request{c.Tables, c.Conditions, c.Resync}
	if text, err := json.Marshal(r); err != nil || len(text) > maxRequest || len(c.Except) > 0 {
		return nil
	}
	return r
}

// shorten bounds the size of the entry in the progress record.
func (f *FinishedCopy) shorten() {
	if len(f.Why) > maxWhy {
		f.Why = strings.ToValidUTF8(f.Why[:maxWhy], "") + "…"
	}
	f.Unmatched = f.Unmatched[:min(len(f.Unmatched), maxUnmatched)]
}

// Stats describes the current copy, and how the last ones ended.
type Stats struct {
	State         string // "" (none), "waiting", "copying", "paused"
	ID            string
	Waiting       string // what it waits for: a transaction, the stream
	Table         string // table of the last published rows
	TablesDone    int
	TablesTotal   int
	RowsDone      int64
	RowsEstimated int64 // estimate of the planner; -1: unknown
	Chunks        int64
	Since         time.Time // time of the request
	TotalRows     int64     // rows of published chunks, in all snapshots since the publisher was created
	TotalTables   int64     // completed tables, in the same snapshots

	Finished []FinishedCopy // the last few, newest last; they must not be modified
}

// SignalPlace says how far the topic of signals has been read.
type SignalPlace struct {
	Topic string `json:"topic"`
	Next  int64  `json:"next"` // offset
}
