package publisher

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
	"github.com/pgtee/pgtee/publisher/record"
)

// notes holds the notes of one transaction as JSON, built once per note however many rows its statement wrote.
type notes struct {
	text    SQLText
	longest int    // maximum length of the SQL text in the record of a row, in bytes; 0: DefaultSQLTextBytes
	facts   []fact // by index in tx.Notes
	sql     []byte // published texts, one after another
	json    []byte
	clean   []byte // scratch
	split   []parser.Statement
	claims  claims // of the note being processed
}

// fact is what one note contributes to the records of its rows.
type fact struct {
	command string   // "INSERT"; "" if the SQL cannot be read
	rows    int      // rows that the statement wrote in this transaction; unknown for a giant
	text    textSpan // of notes.sql
	block   textSpan // of notes.json
	actor   textSpan // of notes.json: the field "actor" of the session
	context textSpan // of notes.json: the field "context" after the statement
	trace   []byte   // traceparent of the SQL's comments; nil: none
	state   []byte   // tracestate of the SQL's comments
}

// newNotes returns a record.Authors that publishes SQL texts as text says, at most longest bytes of one in the record of a row.
func newNotes(text SQLText, longest int) *notes { return &notes{text: text, longest: longest} }

// NewAuthors returns a record.Authors for a batch outside a Publisher, which publishes SQL texts as text says.
func NewAuthors(text SQLText) record.Authors { return newNotes(text, 0) }

// Begin implements record.Authors.
func (n *notes) Begin(tx *outbox.Transaction) {
	n.sql, n.json = record.Recycle(n.sql), record.Recycle(n.json)
	n.facts = slices.Grow(record.Recycle(n.facts), len(tx.Notes))[:len(tx.Notes)]
	clear(n.facts)
	for i := range tx.Changes {
		if c := &tx.Changes[i]; c.Note >= 0 && isRow(c.Op) {
			n.facts[c.Note].rows++
		}
	}
	for i := range tx.Notes {
		if !tx.Whole() {
			n.facts[i].rows = unknown
		}
		n.learn(&n.facts[i], &tx.Notes[i])
	}
}

// unknown stands for a number of rows that is not known yet.
const unknown = -1

// isRow reports whether an operation writes a row.
func isRow(op outbox.Op) bool {
	return op == outbox.Insert || op == outbox.Update || op == outbox.Delete
}

func (n *notes) learn(f *fact, note *note.Note) {
	f.command = n.command(note)
	start := len(n.sql)
	n.sql = n.appendText(n.sql, note)
	f.text = textSpan{start, len(n.sql)}
	n.learnClaims(f, note)
	start = len(n.json)
	n.json = n.appendBlock(n.json, f, note)
	f.block = textSpan{start, len(n.json)}
}

func (n *notes) learnClaims(f *fact, note *note.Note) {
	n.claims.read(note.SQL, lexisOf(note.Flags))
	f.trace, f.state = n.claims.trace, n.claims.state
	start := len(n.json)
	n.json = n.claims.appendActor(n.json, note.Actor)
	f.actor = textSpan{start, len(n.json)}
	start = len(n.json)
	n.json = n.claims.appendContext(n.json)
	f.context = textSpan{start, len(n.json)}
}

// command returns the command of a note's statement: "INSERT" or "CREATE TABLE".
func (n *notes) command(note *note.Note) string {
	n.split, _ = parser.Split(n.split[:0], note.SQL, lexisOf(note.Flags))
	if len(n.split) == 0 {
		return ""
	}
	return n.split[0].Verb
}

// AppendPgtee implements record.Authors.
func (n *notes) AppendPgtee(dst []byte, tx *outbox.Transaction, i int) []byte {
	if f := n.fact(tx, i); f != nil {
		return append(dst, n.json[f.block.start:f.block.end]...)
	}
	return record.AppendUnknownAuthor(dst, tx.Changes[i].Op)
}

// Trace implements record.Authors.
func (n *notes) Trace(tx *outbox.Transaction, i int) (parent, state []byte) {
	if f := n.fact(tx, i); f != nil {
		return f.trace, f.state
	}
	return nil, nil
}

// fact returns what is known about the statement that wrote a change, nil if the change has no note.
func (n *notes) fact(tx *outbox.Transaction, i int) *fact {
	if note := tx.Changes[i].Note; note >= 0 {
		return &n.facts[note]
	}
	return nil
}

func (n *notes) appendBlock(dst []byte, f *fact, note *note.Note) []byte {
	dst = append(dst, `{"session":`...)
	dst = n.appendSession(dst, f, note)
	if note.Nameless() {
		dst = append(dst, `,"statement":null`...)
	} else {
		dst = append(dst, `,"statement":{`...)
		dst = n.appendStatement(dst, f, note, cmp.Or(n.longest, DefaultSQLTextBytes))
		dst = append(appendRows(dst, f.rows), '}')
	}
	dst = append(dst, n.json[f.context.start:f.context.end]...)
	return append(appendTrust(append(dst, `,"via":"proxy"`...), note.Trust), '}')
}

// appendTrust appends whether a note is verified, and the reason if that is not known.
func appendTrust(dst []byte, trust note.Trust) []byte {
	dst = append(dst, `,"verified":`...)
	reason := trust.Reason()
	if reason == "" {
		return strconv.AppendBool(dst, trust == note.Verified)
	}
	return append(append(append(dst, `null,"reason":"`...), reason...), '"')
}

// appendStatement appends the fields of a statement up to its rows, without braces. A text that is not published is null; a text longer than maxText
// bytes is cut.
func (n *notes) appendStatement(dst []byte, f *fact, note *note.Note, maxText int) []byte {
	dst = strconv.AppendUint(append(dst, `"number":`...), uint64(note.Statement), 10)
	dst = record.AppendJSONString(append(dst, `,"command":`...), f.command)
	dst = record.AppendHex16(append(dst, `,"fingerprint":"`...), note.Fingerprint)
	dst = append(dst, `","text":`...)
	text := n.sql[f.text.start:f.text.end]
	head := record.Cut(text, maxText)
	if len(text) == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = record.AppendJSONString(dst, head)
	}
	return strconv.AppendBool(append(dst, `,"text_cut":`...), len(head) < len(text))
}

func appendRows(dst []byte, rows int) []byte {
	if rows == unknown {
		return append(dst, `,"rows":null`...)
	}
	return strconv.AppendInt(append(dst, `,"rows":`...), int64(rows), 10)
}

func (n *notes) appendSession(dst []byte, f *fact, note *note.Note) []byte {
	dst = append(dst, `{"id":"`...)
	dst = record.AppendHex16(dst, uint64(note.Session))
	dst = append(dst, `","user":`...)
	dst = record.AppendJSONString(dst, note.User)
	dst = append(dst, `,"role":`...)
	dst = record.AppendJSONString(dst, note.Role)
	dst = append(dst, `,"application":`...)
	dst = record.AppendJSONString(dst, note.Application)
	dst = append(dst, `,"client":`...)
	if note.Client.IsValid() {
		dst = append(dst, '"')
		dst = note.Client.AppendTo(dst)
		dst = append(dst, '"')
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"pid":`...)
	dst = strconv.AppendInt(dst, int64(note.PID), 10)
	dst = append(dst, `,"start":`...)
	dst = record.AppendJSONTime(dst, note.Session.Start())
	dst = append(dst, `,"proxy":`...)
	dst = strconv.AppendUint(dst, uint64(note.ProxyID), 10)
	dst = append(dst, n.json[f.actor.start:f.actor.end]...)
	return append(dst, '}')
}

// textSpan is a part of a buffer that may still grow.
type textSpan struct{ start, end int }
