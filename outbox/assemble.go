package outbox

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// DefaultPartBytes is the default memory above which a transaction is delivered in parts.
const DefaultPartBytes = 4 << 20

// Assembler builds transactions from pgoutput messages. It is pure: no socket, no clock. It must be used by one goroutine at a time; the Transactions
// that it returns belong to the caller.
//
// The server sends nothing of a transaction before it has committed, so a giant transaction need not be kept until its end arrives: it is delivered
// in parts.
type Assembler struct {
	partBytes int
	verifier  *note.Verifier
	replays   note.Replays

	noTriggers bool // pgtee has no event triggers in the database, so notes report DDL
	witness    *witness
	encoding   *Encoding

	skipApplied bool // leave out transactions written by `pgtee apply`
	skipping    bool // the current transaction is left out

	message pgoutput.Message
	tables  map[uint32]*table // by OID: the tables that this stream has described, except those that were dropped; the server keeps the same list
	table   *table            // table of the last row
	types   map[uint32]typeName
	prefix  struct{ raw, text string } // of the last logical message

	memory  arena
	decoded []byte       // scratch: a tuple converted to UTF-8
	last    LSN          // end LSN of the last transaction or marker
	current *Transaction // the part being assembled, between Begin and Commit
	ordinal int          // ordinal of the next change

	author   author
	binding  binding
	incoming note.Note // the last note received
}

// table is a Relation and how its rows are treated.
type table struct {
	*pgoutput.Relation
	ours   bool        // a table of schema pgtee: its rows never become a Change
	fields []noteField // meaning of each column of pgtee.outbox and its slices; nil for any other table
}

type typeName struct{ schema, name string }

const (
	transactionBytes = int(unsafe.Sizeof(Transaction{}))
	changeBytes      = int(unsafe.Sizeof(Change{}))
	noteBytes        = int(unsafe.Sizeof(note.Note{}))
)

// NewAssembler returns an Assembler for transactions that end after the position last. Each note is verified with the master key that has its key id;
// without keys, notes stay Unverified.
func NewAssembler(last LSN, partBytes int, keys []note.MasterKey) *Assembler {
	return &Assembler{
		partBytes: partBytes,
		verifier:  note.NewVerifier(keys),
		witness:   newWitness(nil),
		tables:    map[uint32]*table{},
		types:     map[uint32]typeName{},
		last:      last,
	}
}

// Message takes a message of the stream that was written to the WAL at lsn. It returns the transaction that the message completes, or a part of a
// giant that has reached its size, or nil. data may be reused afterwards. After an error the stream cannot continue.
func (a *Assembler) Message(lsn LSN, data []byte) (*Transaction, error) {
	if err := pgoutput.Parse(data, &a.message); err != nil {
		return nil, fmt.Errorf("WAL at %s: %w", lsn, err)
	}
	var part *Transaction
	if a.current != nil && a.current.Bytes >= a.partBytes && a.message.Kind != pgoutput.KindCommit && !a.isAhead(lsn) {
		part = a.cut()
	}
	transaction, err := a.apply(lsn, &a.message)
	if err != nil {
		return nil, fmt.Errorf("WAL at %s: %w", lsn, err)
	}
	if part != nil {
		return part, nil
	}
	return transaction, nil
}

// Progress takes the position up to which the server has sent everything, and returns a marker with it. It returns nil if a transaction is still
// open, or if the position is not new and not urgent.
func (a *Assembler) Progress(end LSN, urgent bool) *Transaction {
	if a.current != nil || end < a.last || end == a.last && !urgent {
		return nil
	}
	a.last = end
	return &Transaction{EndLSN: end, Bytes: transactionBytes, Urgent: urgent}
}

func (a *Assembler) apply(lsn LSN, m *pgoutput.Message) (*Transaction, error) {
	switch m.Kind {
	case pgoutput.KindBegin:
		return nil, a.begin(&m.Begin)
	case pgoutput.KindCommit:
		return a.commit(&m.Commit)
	case pgoutput.KindRelation:
		a.relation(m.Relation)
		return nil, nil
	case pgoutput.KindType:
		a.types[m.Type.OID] = typeName{a.encoding.String(string(m.Type.Schema)), a.encoding.String(string(m.Type.Name))}
		return nil, nil
	case pgoutput.KindOrigin:
		a.skipping = a.skipApplied && bytes.HasPrefix(m.Origin.Name, []byte(AppliedOrigin))
		return nil, nil
	}
	if a.skipping {
		return nil, nil
	}
	switch m.Kind {
	case pgoutput.KindInsert, pgoutput.KindUpdate, pgoutput.KindDelete:
		return nil, a.row(lsn, Op(m.Kind), &m.Row)
	case pgoutput.KindTruncate:
		return nil, a.truncate(lsn, m.Truncate)
	case pgoutput.KindLogical:
		return nil, a.logical(lsn, &m.Logical)
	}
	return nil, nil
}

// AppliedOrigin is the prefix of the replication origins of transactions that `pgtee apply` writes.
const AppliedOrigin = "pgtee apply "

func (a *Assembler) begin(b *pgoutput.Begin) error {
	if a.current != nil {
		return fmt.Errorf("transaction %d begins inside transaction %d", b.XID, a.current.XID)
	}
	a.memory.begin()
	a.ordinal, a.author, a.binding, a.skipping = 0, author{note: nobody}, binding{}, false
	a.current = &Transaction{XID: b.XID, CommitLSN: b.CommitLSN, CommitTime: b.CommitTime, Bytes: transactionBytes}
	return nil
}

// cut ends a part and starts the next one, which continues within the last statement.
func (a *Assembler) cut() *Transaction {
	a.endAuthors()
	t := a.current
	t.Changes = a.memory.changes.take()
	t.Notes = a.memory.notes.take()
	t.More = true
	a.memory.begin()
	next := &Transaction{XID: t.XID, CommitLSN: t.CommitLSN, CommitTime: t.CommitTime, Part: t.Part + 1, FirstNote: t.FirstNote, Bytes: transactionBytes}
	if n := len(t.Notes); n > 0 {
		next.FirstNote += n - 1
		next.Bytes += noteBytes
		*a.memory.notes.next() = t.Notes[n-1]
	}
	a.author = a.author.inNextPart()
	a.current = next
	return t
}

func (a *Assembler) commit(c *pgoutput.Commit) (*Transaction, error) {
	t := a.current
	if t == nil {
		return nil, fmt.Errorf("commit at %s without a begin", c.CommitLSN)
	}
	if c.CommitLSN != t.CommitLSN {
		return nil, fmt.Errorf("transaction %d began with the commit record at %s and ends with the one at %s", t.XID, t.CommitLSN, c.CommitLSN)
	}
	if c.EndLSN <= a.last {
		return nil, fmt.Errorf("transaction %d ends at %s, not after %s: the server repeats or reorders its WAL", t.XID, c.EndLSN, a.last)
	}
	a.endAuthors()
	t.EndLSN = c.EndLSN
	t.Changes = a.memory.changes.take()
	t.Notes = a.memory.notes.take()
	a.last, a.current = c.EndLSN, nil
	return t, nil
}

func (a *Assembler) relation(r *pgoutput.Relation) {
	a.encoding.names(r)
	for i := range r.Columns {
		if name, ok := a.types[r.Columns[i].Type]; ok {
			r.Columns[i].TypeSchema, r.Columns[i].TypeName = name.schema, name.name
		}
	}
	t := &table{Relation: r, ours: r.Schema == Schema}
	if t.ours && isOutbox(r.Name) {
		t.fields = noteFields(r)
	}
	a.tables[r.OID] = t
	a.table = nil
}

// forget removes a table that was dropped. If its OID is used again, the server describes the new table first.
func (a *Assembler) forget(oid uint32) {
	delete(a.tables, oid)
	a.table = nil
}

// lookup returns the table with an OID. It is an error outside of a transaction.
func (a *Assembler) lookup(oid uint32) (*table, error) {
	if a.current == nil {
		return nil, errors.New("change outside of a transaction")
	}
	if a.table != nil && a.table.OID == oid {
		return a.table, nil
	}
	t := a.tables[oid]
	if t == nil {
		return nil, fmt.Errorf("change of relation %d, which the server has not described", oid)
	}
	a.table = t
	return t, nil
}

func (a *Assembler) row(lsn LSN, op Op, row *pgoutput.Row) error {
	t, err := a.lookup(row.RelationOID)
	if err != nil {
		return err
	}
	if err := t.fits(row.New); err != nil {
		return err
	}
	if err := t.fits(row.Old); err != nil {
		return err
	}
	if t.ours {
		if op != Insert || t.fields == nil {
			return nil
		}
		a.outboxRow(lsn, t, a.utf8(row.New))
		return nil
	}
	c := a.change(op, lsn, 0)
	c.Relation = t.Relation
	c.OldKind = row.OldKind
	c.Old = a.memory.copy(a.utf8(row.Old))
	c.New = a.memory.copy(a.utf8(row.New))
	a.current.Bytes += len(c.Old) + len(c.New)
	return nil
}

// utf8 returns a tuple with its text converted to UTF-8. It is valid until the next call.
func (a *Assembler) utf8(tuple pgoutput.Tuple) pgoutput.Tuple {
	if a.encoding == nil || tuple == nil {
		return tuple
	}
	a.decoded = a.encoding.tuple(a.decoded[:0], tuple)
	return a.decoded
}

// fits checks that a tuple, if not nil, has as many columns as its table.
func (t *table) fits(tuple pgoutput.Tuple) error {
	if tuple != nil && tuple.Len() != len(t.Columns) {
		return fmt.Errorf("row of %d columns for %s.%s, which has %d", tuple.Len(), t.Schema, t.Name, len(t.Columns))
	}
	return nil
}

func (a *Assembler) truncate(lsn LSN, truncated pgoutput.Truncated) error {
	for i := range truncated.Len() {
		t, err := a.lookup(truncated.OID(i))
		if err != nil {
			return err
		}
		if t.ours {
			continue
		}
		a.change(Truncate, lsn, 0).Relation = t.Relation
	}
	return nil
}

// logical handles a logical message: a note, or a message of the application. Messages that are not transactional are skipped: they belong to no
// commit, so nothing can ensure that they are in Kafka exactly once.
func (a *Assembler) logical(lsn LSN, m *pgoutput.Logical) error {
	if !m.Transactional {
		return nil
	}
	if a.current == nil {
		return errors.New("transactional message outside of a transaction")
	}
	switch {
	case string(m.Prefix) != note.MessagePrefix:
	case isEmitted(m.Content):
		a.emitted(lsn, m.Content)
		return nil
	default:
		a.messageNote(lsn, m.Content)
		return nil
	}
	c := a.change(Message, lsn, len(m.Content))
	if string(m.Prefix) != a.prefix.raw {
		a.prefix.raw, a.prefix.text = string(m.Prefix), string(a.encoding.readable(m.Prefix))
	}
	c.Prefix = a.prefix.text
	c.Content, c.Omitted = a.memory.copy(m.Content), m.Omitted
	return nil
}

// change appends a change with size bytes of content. The pointer is valid until the next append.
func (a *Assembler) change(op Op, lsn LSN, size int) *Change {
	a.current.Bytes += changeBytes + size
	c := a.memory.changes.next()
	*c = Change{Op: op, LSN: lsn, Ordinal: a.ordinal, Note: a.author.note}
	a.ordinal++
	return c
}

// isOutbox reports whether a table of schema pgtee is outbox or one of its slices, outbox_N.
func isOutbox(name string) bool {
	slice, ok := strings.CutPrefix(name, "outbox")
	if !ok || slice == "" {
		return ok
	}
	number, ok := strings.CutPrefix(slice, "_")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}
