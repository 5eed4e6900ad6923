// Package outbox is the PostgreSQL side of the publisher. It creates and checks the SQL objects, publications and slot, and reads committed transactions
// with their notes from the slot, and the rows of tables for snapshots.
package outbox

import (
	"time"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

type (
	LSN = pgoutput.LSN
	XID = pgoutput.XID
)

// Op is the operation on a row, or another kind of Change.
type Op byte

const (
	Insert   Op = 'I'
	Update   Op = 'U'
	Delete   Op = 'D'
	Truncate Op = 'T' // one Change per truncated table
	Message  Op = 'M' // a logical message of the application, with any prefix but pgtee's
	DDL      Op = 'Q' // from the event trigger, or from a note after a non-transactional command
	Event    Op = 'E' // an event of the application, from pgtee.publish()
	Signal   Op = 'S' // a request to the publisher, from pgtee.snapshot()
	Read     Op = 'R' // a row read by a snapshot; never in the WAL
)

// Transaction is one committed transaction in WAL order: the whole transaction or, if it is a giant, one of its parts. The parts of a giant follow
// each other; all but the last have More set and no EndLSN. Notes are numbered across all parts, and a part that continues within a statement repeats
// that statement's note as its first note.
//
// A whole transaction without Changes and Notes is a marker: it means "nothing to publish up to EndLSN".
type Transaction struct {
	XID        XID
	CommitLSN  LSN // start of the commit record, as in Begin and Commit. It identifies the transaction, but is never a position.
	EndLSN     LSN // end of the commit record: the transaction's position
	CommitTime time.Time
	Part       int  // number of this part, from 0
	More       bool // further parts follow
	FirstNote  int  // number of Notes[0] in the whole transaction
	Changes    []Change
	Notes      []note.Note
	Bytes      int  // memory held, for limits of queues
	Urgent     bool // of a marker: the server waits for its acknowledgement, for instance because it is shutting down
}

// Whole reports whether t is the whole transaction.
func (t *Transaction) Whole() bool { return t.Part == 0 && !t.More }

// Through returns the position reached with t: the end of the transaction or, if further parts follow, the start of its commit record, since everything
// that committed earlier has been delivered.
func (t *Transaction) Through() LSN {
	if t.More {
		return t.CommitLSN
	}
	return t.EndLSN
}

// UpTo returns the number of changes of the transaction up to the end of this part, or 0 if this part has none.
func (t *Transaction) UpTo() int {
	if len(t.Changes) == 0 {
		return 0
	}
	return t.Changes[len(t.Changes)-1].Ordinal + 1
}

// IsMarker reports whether t is a marker.
func (t *Transaction) IsMarker() bool { return t.Whole() && len(t.Changes) == 0 && len(t.Notes) == 0 }

// Change is one row change, message, event or DDL record.
type Change struct {
	Op       Op
	OldKind  byte // form of Old: 'K' replica identity columns only, 'O' whole row, 0 none
	Note     int  // index in Transaction.Notes of the note of the statement that wrote it; -1: no note precedes it
	Ordinal  int  // number of the change in its committed transaction, from 0, before any filter
	LSN      LSN  // of the WAL record; rows of one transaction may share it
	Relation *pgoutput.Relation
	Old, New pgoutput.Tuple
	Prefix   string // Message: its prefix
	Content  []byte // Message: its content
	Omitted  uint64 // Message, Event: length of content that was too long to be kept in memory; else 0
	DDL      *DDLRecord
	Event    *EventRecord
	Signal   *SignalRecord
	Mark     SnapshotMark // Read: its place in the snapshot; Truncate: it begins a resync, if it is not NoMark
}

// DDLRecord is one DDL command, recorded by the event trigger after its execution.
type DDLRecord struct {
	Command     string      `json:"command"`   // command tag: "ALTER TABLE"
	Statement   string      `json:"statement"` // SQL as received; the publisher redacts it before it publishes it
	User        string      `json:"user"`
	Role        string      `json:"role"`
	Application string      `json:"application"`
	TimeZone    string      `json:"time_zone,omitempty"`  // of the session: with DateStyle it decides what constants mean; "": not known
	DateStyle   string      `json:"date_style,omitempty"` // "ISO, DMY": the order of the fields in dates; the output style is not the session's
	PID         int32       `json:"pid"`
	Objects     []DDLObject `json:"objects"`
	Capture     []Capture   `json:"capture,omitempty"`
	Listed      bool        `json:"listed"`    // false: an UPDATE or DELETE may be missing from the stream: see Capture
	Atomic      bool        `json:"atomic"`    // false: recorded by a note after a command that cannot run in a transaction block
	Confirmed   bool        `json:"confirmed"` // false: known only from a note, without an event trigger
}

// Drops returns the OIDs of the tables that the command dropped. No change of such a table follows in the stream.
func (d *DDLRecord) Drops() (tables []uint32) {
	for _, o := range d.Objects {
		if o.Dropped && o.Type == "table" {
			tables = append(tables, o.OID)
		}
	}
	return tables
}

// Capture is the state of the capture of a table's UPDATE and DELETE.
type Capture struct {
	Table  string       `json:"table"` // quoted for SQL; for a partitioned table, the leaf
	Root   string       `json:"root"`  // quoted for SQL; the table itself if it is not a partition
	State  CaptureState `json:"state"`
	Reason string       `json:"reason,omitempty"`
}

// CaptureState is one of the words of pgtee.capture().
type CaptureState string

const (
	CaptureListed   CaptureState = "listed"     // captured from here on; earlier changes are not in the stream
	CaptureWidened  CaptureState = "widened"    // its key was dropped, and it has REPLICA IDENTITY FULL now
	CaptureRestored CaptureState = "restored"   // it has a key again, and the default identity
	CaptureNone     CaptureState = "uncaptured" // it has no identity that can be published
	CaptureLogged   CaptureState = "logged"     // it was unlogged before: its earlier rows are not in the stream
	CaptureBusy     CaptureState = "busy"       // it is added as soon as a publication is not locked
	CaptureFailing  CaptureState = "failing"    // its UPDATE fails until it can be removed
)

// DDLObject is one object that a DDL command created, changed or dropped.
type DDLObject struct {
	Command string      `json:"command"` // for this object; one statement may have several
	Type    string      `json:"type"`    // "table", "index", ...
	Schema  string      `json:"schema"`
	Name    string      `json:"name"` // as pg_identify_object prints it
	OID     uint32      `json:"oid"`
	Root    string      `json:"root,omitempty"` // for a partition: the partitioned table that the stream names, or named before the command
	Dropped bool        `json:"dropped"`
	Columns []DDLColumn `json:"columns,omitempty"` // of a table, after the command
}

// DDLColumn is a column of a table after a DDL command.
type DDLColumn struct {
	Name    string `json:"name"`
	Type    string `json:"type"` // format_type()
	NotNull bool   `json:"not_null"`
	Default string `json:"default,omitempty"`
}

// System describes the server, and the timeline of its history, that a stream comes from.
type System struct {
	ID              string // pg_control_system().system_identifier, decimal
	Timeline        int32
	DatabaseOID     uint32
	Database        string
	Server          LSN    // current write position at connect
	ConfirmedFlush  LSN    // of the slot at connect
	ConsistentPoint LSN    // of the slot at its creation, from pgtee.meta
	Generation      int    // number of slots with this name that setup has created, from pgtee.meta
	Triggers        bool   // pgtee's event triggers exist and report DDL
	PublicationHash string // hash over name, OID, operations and via_root of pgtee's publications
	Publications    []string

	encoding *Encoding // of the text that the stream sends
	secret   []byte    // key with which pgtee.emit() signs; none: the objects are of an older pgtee
}
