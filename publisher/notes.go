package publisher

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/parser"
)

// notes are the notes of one transaction as JSON, made once per note however many rows it wrote.
type notes struct {
	text    SQLText
	longest int // text in the record of a row, in bytes; 0: defaultRowTextBytes
	tx      *outbox.Transaction
	facts   []fact // by index in tx.Notes
	sql     []byte // published texts, one after the other
	json    []byte
	clean   []byte // scratch
	split   []parser.Statement
	claims  claims // of the note that is learnt
}

// fact is what one note says of its rows.
type fact struct {
	command string // "INSERT"; "" if the SQL cannot be read
	rows    int    // that the statement wrote in this transaction; unknown: of a giant, which goes on
	text    span   // of notes.sql
	block   span   // of notes.json
	actor   span   // of notes.json: the field of the session
	context span   // of notes.json: the field beside the statement
	trace   []byte // traceparent of the SQL's comments; nil: none
	state   []byte // ... and tracestate
}

// direct is the block of a change that no note precedes: the write bypassed the proxy.
const direct = `{"session":null,"statement":null,"via":"direct","verified":null,"reason":"no note"}`

// copied is the block of a row that a snapshot has read: who wrote it is not known.
const copied = `{"session":null,"statement":null,"via":"snapshot","verified":null,"reason":"no note"}`

func (n *notes) begin(tx *outbox.Transaction) {
	n.tx, n.sql, n.json = tx, recycle(n.sql), recycle(n.json)
	n.facts = slices.Grow(recycle(n.facts), len(tx.Notes))[:len(tx.Notes)]
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

// unknown is a number of rows that is not known yet.
const unknown = -1

// isRow says whether an operation writes a row.
func isRow(op outbox.Op) bool {
	return op == outbox.Insert || op == outbox.Update || op == outbox.Delete
}

func (n *notes) learn(f *fact, note *outbox.Note) {
	f.command = n.command(note)
	start := len(n.sql)
	n.sql = n.appendText(n.sql, note)
	f.text = span{start, len(n.sql)}
	n.learnClaims(f, note)
	start = len(n.json)
	n.json = n.appendBlock(n.json, f, note)
	f.block = span{start, len(n.json)}
}

func (n *notes) learnClaims(f *fact, note *outbox.Note) {
	n.claims.read(note.SQL, lexisOf(note.Flags))
	f.trace, f.state = n.claims.trace, n.claims.state
	start := len(n.json)
	n.json = n.claims.appendActor(n.json)
	f.actor = span{start, len(n.json)}
	start = len(n.json)
	n.json = n.claims.appendContext(n.json)
	f.context = span{start, len(n.json)}
}

// command returns what a statement is, "INSERT" or "CREATE TABLE".
func (n *notes) command(note *outbox.Note) string {
	n.split, _ = parser.Split(n.split[:0], note.SQL, lexisOf(note.Flags))
	if len(n.split) == 0 {
		return ""
	}
	return n.split[0].Verb
}

// AppendPgtee appends the value of the "pgtee" field of tx.Changes[i]: who wrote it, with which
// statement. It needs Begin, or calls it. PgteeSchema describes it.
//
//	{"session":{"id","user","role","application","client","pid","start","proxy","actor"},
//	 "statement":{"number","command","fingerprint","text","text_cut","rows"},
//	 "context":{"controller":"…"},
//	 "via":"proxy"|"direct"|"snapshot","verified":true|false|null,"reason":"…"}
//
// Verified is true for what the proxy and the server vouch for together, false for a note that is forged, borrowed or sent
// again, and null where that cannot be known, for the reason that is told only then: "no note", "no key", "pooler", "user changed"
// (the server calls the user otherwise than the proxy did) or "unbound" (a message of an older proxy). Actor and context, which the client claims in comments of its SQL, are there only if it does. Session and statement are null
// for a write that bypassed the proxy, and for a row of a snapshot. Statement alone is null
// where it is not known which one of the session's wrote the row. Times are UTC; fingerprint and session
// id are 16 hexadecimal digits; client is address:port, null for a Unix socket; rows are those that the
// statement wrote in this transaction, null in a giant one, where only the audit record knows them.
func (b *Batch) AppendPgtee(dst []byte, tx *outbox.Transaction, i int) []byte {
	f := b.fact(tx, i)
	switch {
	case f == nil && tx.Changes[i].Op == outbox.Read:
		return append(dst, copied...)
	case f == nil:
		return append(dst, direct...)
	}
	return append(dst, b.notes.json[f.block.start:f.block.end]...)
}

// AddTrace gives the last record the headers of the trace context that the SQL of tx.Changes[i] names, if it does. It is
// the client's claim.
func (b *Batch) AddTrace(tx *outbox.Transaction, i int) {
	f := b.fact(tx, i)
	if f == nil || f.trace == nil {
		return
	}
	b.Header(TraceparentHeader, f.trace)
	if f.state != nil {
		b.Header(TracestateHeader, f.state)
	}
}

// fact returns what is known of the statement that wrote a change, nil if no note came before it.
func (b *Batch) fact(tx *outbox.Transaction, i int) *fact {
	if b.notes.tx != tx {
		b.Begin(tx)
	}
	if note := tx.Changes[i].Note; note >= 0 {
		return &b.notes.facts[note]
	}
	return nil
}

func (n *notes) appendBlock(dst []byte, f *fact, note *outbox.Note) []byte {
	dst = append(dst, `{"session":`...)
	dst = n.appendSession(dst, f, note)
	if note.Nameless() {
		dst = append(dst, `,"statement":null`...)
	} else {
		dst = append(dst, `,"statement":{`...)
		dst = n.appendStatement(dst, f, note, cmp.Or(n.longest, defaultRowTextBytes))
		dst = append(appendRows(dst, f.rows), '}')
	}
	dst = append(dst, n.json[f.context.start:f.context.end]...)
	return append(appendTrust(append(dst, `,"via":"proxy"`...), note.Trust), '}')
}

// appendTrust appends whether a note is verified, and why that is not known.
func appendTrust(dst []byte, trust outbox.Trust) []byte {
	dst = append(dst, `,"verified":`...)
	reason := trust.Reason()
	if reason == "" {
		return strconv.AppendBool(dst, trust == outbox.Verified)
	}
	return append(append(append(dst, `null,"reason":"`...), reason...), '"')
}

// appendStatement appends the fields of a statement up to its rows, without braces. A text that is not published is
// null; one longer than maxText bytes is cut.
func (n *notes) appendStatement(dst []byte, f *fact, note *outbox.Note, maxText int) []byte {
	dst = strconv.AppendUint(append(dst, `"number":`...), uint64(note.Statement), 10)
	dst = AppendJSONString(append(dst, `,"command":`...), f.command)
	dst = AppendHex16(append(dst, `,"fingerprint":"`...), note.Fingerprint)
	dst = append(dst, `","text":`...)
	text := n.sql[f.text.start:f.text.end]
	head := cut(text, maxText)
	if len(text) == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = AppendJSONString(dst, head)
	}
	return strconv.AppendBool(append(dst, `,"text_cut":`...), len(head) < len(text))
}

func appendRows(dst []byte, rows int) []byte {
	if rows == unknown {
		return append(dst, `,"rows":null`...)
	}
	return strconv.AppendInt(append(dst, `,"rows":`...), int64(rows), 10)
}

func (n *notes) appendSession(dst []byte, f *fact, note *outbox.Note) []byte {
	dst = append(dst, `{"id":"`...)
	dst = AppendHex16(dst, uint64(note.Session))
	dst = append(dst, `","user":`...)
	dst = AppendJSONString(dst, note.User)
	dst = append(dst, `,"role":`...)
	dst = AppendJSONString(dst, note.Role)
	dst = append(dst, `,"application":`...)
	dst = AppendJSONString(dst, note.Application)
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
	dst = AppendJSONTime(dst, note.Session.Start())
	dst = append(dst, `,"proxy":`...)
	dst = strconv.AppendUint(dst, uint64(note.ProxyID), 10)
	dst = append(dst, n.json[f.actor.start:f.actor.end]...)
	return append(dst, '}')
}
