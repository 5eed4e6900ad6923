package publisher

import (
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/publisher/record"
)

// KafkaTransaction describes a Kafka transaction that has ended, for tracing. One that only records a position is not described.
type KafkaTransaction struct {
	Began, Ended time.Time  // from its first source transaction, or else its first record
	First, Last  outbox.LSN // from the commit record of its first source transaction to the end of its last one; 0: it has only rows of snapshots

	Transactions int // source transactions that end in it
	Records      int // without the position
	Bytes        int // of these

	Statements []*TracedStatement // that end in it, in commit order; at most maxTracedStatements
	Omitted    int                // number of further ones

	Err error // why it was aborted, or may have been; nil: it was committed. Its statements come again with the next attempt
}

// TracedStatement is a statement whose SQL carries a trace context that its client samples.
type TracedStatement struct {
	Traceparent string // W3C Trace Context, version 00: 55 characters
	Tracestate  string // "" if there is none

	Began     time.Time // when the proxy received it
	Committed time.Time // when PostgreSQL committed it

	Command       string // "INSERT"; "" if the SQL cannot be read
	Schema, Table string // of its rows; "" if it wrote to several tables or to none
	Rows          int    // that it wrote

	EventID     string // of its first change; "" if it has none
	XID         outbox.XID
	Session     note.SessionID
	Number      uint32 // in the session
	Fingerprint uint64

	tables      int // 0, 1, or more than one
	lastOrdinal int // of its changes; -1: none
}

// maxTracedStatements bounds the statements of a KafkaTransaction.
const maxTracedStatements = 512

// tracing collects what is told about the Kafka transaction that is being composed. The zero value collects nothing.
type tracing struct {
	tell func(KafkaTransaction) // nil: tracing is off

	open   KafkaTransaction
	of     []*TracedStatement // by index in the Notes of the transaction being added; nil: not traced
	inPart *TracedStatement   // the last statement of the last part of a giant, which the next part continues; nil: not traced
	inNext bool               // the next part begins with the note of that statement
}

// add adds the statements of a transaction, or of a part of one, whose notes are n. out is the number of its changes that are already published.
func (t *tracing) add(tx *outbox.Transaction, n *notes, b *record.Batch, out int, now func() time.Time) {
	if t.tell == nil {
		return
	}
	t.begin(now)
	if t.open.First == 0 {
		t.open.First = tx.CommitLSN
	}
	t.open.Last = max(t.open.Last, tx.Through())
	if tx.Part == 0 {
		t.inPart, t.inNext = nil, false
	}
	if !t.match(tx, n) {
		return
	}
	for i := range tx.Changes {
		if c := &tx.Changes[i]; c.Note >= 0 && t.of[c.Note] != nil {
			t.of[c.Note].add(c, b)
		}
	}
	for i, s := range t.of {
		switch {
		case i == len(t.of)-1 && tx.More:
			t.inPart = s
		case s != nil && (s.lastOrdinal < 0 || s.lastOrdinal >= out):
			t.open.Statements = append(t.open.Statements, s)
		}
	}
}

// match finds the traced statements of a transaction, and reports whether there are any. Beyond the limit it only counts them.
func (t *tracing) match(tx *outbox.Transaction, n *notes) bool {
	t.of = record.Recycle(t.of)
	found := 0
	for i := range tx.Notes {
		var s *TracedStatement
		switch {
		case i == 0 && t.inNext:
			s = t.inPart
		case !isTraced(&tx.Notes[i], &n.facts[i]):
		case len(t.open.Statements)+found >= maxTracedStatements:
			t.open.Omitted++
		default:
			s = tracedStatement(tx, &tx.Notes[i], &n.facts[i])
		}
		t.of = append(t.of, s)
		if s != nil {
			found++
		}
	}
	t.inPart, t.inNext = nil, tx.More && len(tx.Notes) > 0
	return found > 0
}

// isTraced reports whether the statement of a note gets spans. The time of a false note is not the proxy's.
func isTraced(note *note.Note, f *fact) bool {
	return f.trace != nil && isSampled(f.trace) && !note.Nameless() && !note.Trust.Lies()
}

// tracedStatement returns the statement of a note, without its changes.
func tracedStatement(tx *outbox.Transaction, note *note.Note, f *fact) *TracedStatement {
	return &TracedStatement{
		Traceparent: string(f.trace), Tracestate: string(f.state),
		Began: note.Time, Committed: tx.CommitTime, Command: f.command,
		XID: tx.XID, Session: note.Session, Number: note.Statement, Fingerprint: note.Fingerprint, lastOrdinal: -1,
	}
}

// isSampled reports whether the lowest bit of the flags is set: the client records the trace.
func isSampled(traceparent []byte) bool {
	digit := traceparent[traceparentBytes-1]
	if digit >= 'a' {
		digit -= 'a' - 10 // as '0', the digit a is even
	}
	return digit&1 == 1
}

func (s *TracedStatement) add(c *outbox.Change, b *record.Batch) {
	if s.lastOrdinal < 0 {
		s.EventID = b.ChangeID(c.Ordinal)
	}
	s.lastOrdinal = c.Ordinal
	if isRow(c.Op) {
		s.Rows++
	}
	if r := c.Relation; r != nil && (s.tables == 0 || s.tables == 1 && (s.Schema != r.Schema || s.Table != r.Name)) {
		if s.tables++; s.tables == 1 {
			s.Schema, s.Table = r.Schema, r.Name
		} else {
			s.Schema, s.Table = "", ""
		}
	}
}

// send counts the records of a batch that is about to be sent.
func (t *tracing) send(b *record.Batch, now func() time.Time) {
	if t.tell == nil || b.Len() == 0 {
		return
	}
	t.begin(now)
	t.open.Records += b.Len()
	t.open.Bytes += b.Bytes()
}

func (t *tracing) begin(now func() time.Time) {
	if t.open.Began.IsZero() {
		t.open.Began = now()
	}
}

// end tells about the Kafka transaction, which has been committed or, because of err, aborted.
func (t *tracing) end(transactions int, err error, now func() time.Time) {
	ended := t.open
	t.open = KafkaTransaction{}
	if err != nil {
		ended.Statements, t.inPart, t.inNext = nil, nil, false
	}
	if t.tell == nil || ended.Records == 0 {
		return
	}
	ended.Ended, ended.Transactions, ended.Err = now(), transactions, err
	t.tell(ended)
}
