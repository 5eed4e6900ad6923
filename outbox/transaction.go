// Package outbox knows what Postgres has committed and nobody has published yet: notes, the SQL
// objects that carry them, the slot, the stream of whole transactions.
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

// Op is what happened to a row, or what else a Change is.
type Op byte

const (
	Insert   Op = 'I'
	Update   Op = 'U'
	Delete   Op = 'D'
	Truncate Op = 'T' // one Change per truncated table
	Message  Op = 'M' // a logical message of the application, with any prefix but ours
	DDL      Op = 'Q' // a record of the event trigger, or of a note after a non-transactional command
	Event    Op = 'E' // an event of the application, from pgtee.publish()
	Signal   Op = 'S' // a request to the publisher, from pgtee.snapshot()
	Read     Op = 'R' // a row that a snapshot has read; never in the log
)

// Transaction is one committed transaction in the order of the log: whole, or, if it is a giant, one of
// its parts. The parts of a giant follow each other; all but the last have More and no EndLSN yet. The
// notes of all parts have one numbering, and a part that goes on within a statement has that one's note
// again as its first.
//
// A whole one without Changes and Notes is a marker: it says "nothing for us up to EndLSN".
type Transaction struct {
	XID        XID
	CommitLSN  LSN // where the commit record starts, as Begin and Commit say. It names the transaction; it is never a position.
	EndLSN     LSN // where the commit record ends: the transaction's position
	CommitTime time.Time
	Part       int  // number of this part, from 0
	More       bool // parts follow
	FirstNote  int  // number of Notes[0] in the whole transaction
	Changes    []Change
	Notes      []note.Note
	Bytes      int  // memory held, for the bounds of queues
	Urgent     bool // of a marker: the server waits for its acknowledgement, as it does when it stops
}

// Whole reports whether this is all of the transaction.
func (t *Transaction) Whole() bool { return t.Part == 0 && !t.More }

// Through returns the position that is reached when this has come: that of the transaction, or of what committed
// before it.
func (t *Transaction) Through() LSN {
	if t.More {
		return t.CommitLSN
	}
	return t.EndLSN
}

// UpTo returns how many changes the transaction has up to the end of this part, or 0 if this part has none.
func (t *Transaction) UpTo() int {
	if len(t.Changes) == 0 {
		return 0
	}
	return t.Changes[len(t.Changes)-1].Ordinal + 1
}

// IsMarker reports whether this is a marker.
func (t *Transaction) IsMarker() bool { return t.Whole() && len(t.Changes) == 0 && len(t.Notes) == 0 }

// Change is one row change, message, event or DDL record.
type Change struct {
	Op       Op
	OldKind  byte // of Old: 'K' replica identity columns only, 'O' whole row, 0 none
	Note     int  // index in Transaction.Notes of the statement that wrote it; -1: none came before it
	Ordinal  int  // number of the change in its transaction as it was committed, from 0, counted before any filter
	LSN      LSN  // of the WAL record; rows of one transaction may share it
	Relation *pgoutput.Relation
	Old, New pgoutput.Tuple
	Prefix   string // Message: its prefix
	Content  []byte // Message: its content
	Omitted  uint64 // Message, Event: length of its content, which was too long to be held; else 0
	DDL      *DDLRecord
	Event    *EventRecord
	Signal   *SignalRecord
	Mark     SnapshotMark // Read: its place in the snapshot
}

// DDLRecord is one DDL command as the event trigger saw it after execution.
type DDLRecord struct {
	Command     string      `json:"command"`   // command tag: "ALTER TABLE"
	Statement   string      `json:"statement"` // SQL as given; the publisher redacts it before it leaves
	User        string      `json:"user"`
	Role        string      `json:"role"`
	Application string      `json:"application"`
	PID         int32       `json:"pid"`
	Objects     []DDLObject `json:"objects"`
	Capture     []Capture   `json:"capture,omitempty"`
	Listed      bool        `json:"listed"`    // false: an UPDATE or DELETE may be missing: see Capture
	Atomic      bool        `json:"atomic"`    // false: a note after a command that cannot run in a transaction block
	Confirmed   bool        `json:"confirmed"` // false: known from a note only, no event trigger here
}

// Capture tells what became of the capture of a table's UPDATE and DELETE.
type Capture struct {
	Table  string       `json:"table"` // quoted for SQL; of a partitioned table the leaf
	Root   string       `json:"root"`  // quoted for SQL; the table itself if it is no partition
	State  CaptureState `json:"state"`
	Reason string       `json:"reason,omitempty"`
}

// CaptureState is one of the words of pgtee.capture().
type CaptureState string

const (
	CaptureListed   CaptureState = "listed"     // from here on; what was changed before is not in the stream
	CaptureWidened  CaptureState = "widened"    // its key is gone, and it has REPLICA IDENTITY FULL now
	CaptureRestored CaptureState = "restored"   // it has a key again, and the default identity
	CaptureNone     CaptureState = "uncaptured" // it has no identity that can be published
	CaptureLogged   CaptureState = "logged"     // it was unlogged before: its rows are not in the stream
	CaptureBusy     CaptureState = "busy"       // it is to be listed as soon as a publication is free
	CaptureFailing  CaptureState = "failing"    // its UPDATE fails until it can be taken out
)

// DDLObject is one object that a DDL command made, changed or dropped.
type DDLObject struct {
	Command string      `json:"command"` // of this object; one statement may have several
	Type    string      `json:"type"`    // "table", "index", ...
	Schema  string      `json:"schema"`
	Name    string      `json:"name"` // as pg_identify_object prints it
	OID     uint32      `json:"oid"`
	Root    string      `json:"root,omitempty"` // of a partition: the partitioned table that the stream names, or named before the command
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

// System says which server, and which history of it, a stream comes from.
type System struct {
	ID              string // pg_control_system().system_identifier, decimal
	Timeline        int32
	DatabaseOID     uint32
	Database        string
	Server          LSN    // current write position at connect
	ConfirmedFlush  LSN    // of the slot at connect
	ConsistentPoint LSN    // of the slot at its creation, from pgtee.meta
	Generation      int    // counts the slots of this name that setup has made, from pgtee.meta
	Triggers        bool   // our event triggers are there and tell of DDL
	PublicationHash string // name, oid, operations and via_root of our publications
	Publications    []string

	encoding *Encoding // of what the stream sends
	secret   []byte    // with which pgtee.emit() signs; none: the objects are of an older pgtee
}
