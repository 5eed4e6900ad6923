package publisher

import (
	"strconv"

	"github.com/pgtee/pgtee/outbox"
)

// notes are the notes of one transaction as JSON, made once per note however many rows it wrote.
type notes struct {
	text   SQLText
	tx     *outbox.Transaction
	sql    []byte // published texts, one after the other
	texts  []span // of sql, by index in tx.Notes
	json   []byte
	blocks []span // of json, by index in tx.Notes
	clean  []byte // scratch
}

// direct is the block of a change that no note precedes: the write bypassed the proxy.
const direct = `{"session":null,"statement":null,"via":"direct","verified":false}`

func (n *notes) begin(tx *outbox.Transaction) {
	n.tx, n.sql, n.texts, n.json, n.blocks = tx, n.sql[:0], n.texts[:0], n.json[:0], n.blocks[:0]
	for i := range tx.Notes {
		note := &tx.Notes[i]
		start := len(n.sql)
		n.sql = n.appendText(n.sql, note)
		n.texts = append(n.texts, span{start, len(n.sql)})
		start = len(n.json)
		n.json = n.appendBlock(n.json, i, note)
		n.blocks = append(n.blocks, span{start, len(n.json)})
	}
}

// AppendPgtee appends the value of the "pgtee" field of tx.Changes[i]: who wrote it, with which
// statement. It needs Begin, or calls it.
//
//	{"session":{"id","user","role","application","client","pid","start","proxy"},
//	 "statement":{"number","fingerprint","text"},"via":"proxy"|"direct","verified":true|false}
//
// Times are UTC; fingerprint and session id are 16 hexadecimal digits; client is address:port, null
// for a Unix socket.
func (b *Batch) AppendPgtee(dst []byte, tx *outbox.Transaction, i int) []byte {
	if b.notes.tx != tx {
		b.Begin(tx)
	}
	note := tx.Changes[i].Note
	if note < 0 {
		return append(dst, direct...)
	}
	s := b.notes.blocks[note]
	return append(dst, b.notes.json[s.start:s.end]...)
}

func (n *notes) appendBlock(dst []byte, i int, note *outbox.Note) []byte {
	dst = append(dst, `{"session":`...)
	dst = appendSession(dst, note)
	dst = append(dst, `,"statement":{`...)
	dst = n.appendStatement(dst, i, note, maxRowTextBytes)
	dst = append(dst, `},"via":"proxy","verified":`...)
	dst = strconv.AppendBool(dst, note.Trust == outbox.Verified)
	return append(dst, '}')
}

// appendStatement appends the fields of a statement, without braces. A text that is not published is
// null; a longer one than maxText is cut, and the field "text_cut" says so.
func (n *notes) appendStatement(dst []byte, i int, note *outbox.Note, maxText int) []byte {
	dst = append(dst, `"number":`...)
	dst = strconv.AppendUint(dst, uint64(note.Statement), 10)
	dst = append(dst, `,"fingerprint":"`...)
	dst = AppendHex16(dst, note.Fingerprint)
	dst = append(dst, `","text":`...)
	text := n.sql[n.texts[i].start:n.texts[i].end]
	if len(text) == 0 {
		return append(dst, "null"...)
	}
	head := cut(text, maxText)
	dst = AppendJSONString(dst, head)
	if len(head) < len(text) {
		dst = append(dst, `,"text_cut":true`...)
	}
	return dst
}

func appendSession(dst []byte, note *outbox.Note) []byte {
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
	return append(dst, '}')
}
