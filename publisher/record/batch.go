// Package record builds the bytes of Kafka records: their keys, values and headers, the batch that collects them, the schemas that describe them, and
// the contract of the formats that turn changes into them. It imports no Kafka client and no SQL parser.
package record

import (
	"strconv"
	"unsafe"

	"github.com/pgtee/pgtee/outbox"
)

// Null takes the place of the offset of a key or value that a record does not have.
const Null = -1

// Batch collects the records of one Kafka transaction. An encoder appends the bytes of a key to Buf,
// then those of the value, and calls Add:
//
//	key := len(b.Buf)
//	b.Buf = append(b.Buf, ...)
//	value := len(b.Buf)
//	b.Buf = append(b.Buf, ...)
//	b.Add(topic, key, value)
//
// The batch remembers offsets, so Buf may grow at any time; slices of Buf are taken by Records, after
// the last Add. A batch is used by one goroutine at a time and reused after Reset. Its zero value
// works: the event ids then lack system and slot.
type Batch struct {
	Buf []byte

	Timeline int32                   // of the server
	Cuts     int                     // number of repairs that have set the stream back
	History  []outbox.TimelineSwitch // of the server, oldest first
	StandIn  StandInKeys             // nil: the event id itself is used
	Authors  Authors                 // nil: the authors are unknown, and every change has bypassed the proxy

	Part        int // number of Kafka transactions that hold earlier records of the transaction being appended
	Refused     int // number of records for which Refuse was called
	DeadLetters int // number of records about a change whose own record was too large

	identity []byte              // system identifier and slot: "7300015402116915253/pgtee"
	tx       *outbox.Transaction // being appended
	prefix   []byte              // of its event ids: identity, timeline and commit LSN, with a slash at the end
	ordinal  []byte              // number of the change being appended
	repeat   int                 // number of records that this change has produced

	entries []entry
	headers []headerEntry // in the order of their records
	records []Record
	resolve []Header
}

type span struct{ start, end int }

type entry struct {
	topic      string
	key, value span
	event      bool   // of the application: its topic may be one of several sources
	everywhere bool   // goes to every partition
	first      bool   // goes to partition 0, whatever its key is
	asked, why string // for a refused event: the topic that it was meant for, and the reason
	leftOut    int    // number of values missing from a row that was too large
}

type headerEntry struct {
	record int
	key    string
	value  span
}

// NewBatch returns a batch for the events of one slot.
func NewBatch(system, slot string) *Batch {
	return &Batch{identity: []byte(system + "/" + slot)}
}

// Reset empties the batch and keeps its memory, except for what only a giant needed. Slices returned by Records become invalid.
func (b *Batch) Reset() {
	b.Buf = Recycle(b.Buf)
	b.entries, b.headers = Recycle(b.entries), Recycle(b.headers)
	b.records, b.resolve = Recycle(b.records), Recycle(b.resolve)
	b.Refused, b.DeadLetters = 0, 0
}

// maxKeptBytes is the size up to which a slice is kept for the next batch.
const maxKeptBytes = 4 << 20

func Recycle[T any](s []T) []T {
	var item T
	if cap(s)*int(unsafe.Sizeof(item)) > maxKeptBytes {
		return nil
	}
	return s[:0]
}

// Swap exchanges the records and their memory with those of another batch.
func (b *Batch) Swap(other *Batch) {
	b.Buf, other.Buf = other.Buf, b.Buf
	b.entries, other.entries = other.entries, b.entries
	b.headers, other.headers = other.headers, b.headers
	b.records, other.records = other.records, b.records
	b.resolve, other.resolve = other.resolve, b.resolve
}

// Len returns the number of records; Bytes returns the size of their keys, values and headers.
func (b *Batch) Len() int   { return len(b.entries) }
func (b *Batch) Bytes() int { return len(b.Buf) }

// Begin declares that the next records belong to tx; At declares that they belong to its change i.
func (b *Batch) Begin(tx *outbox.Transaction) {
	b.prefix = append(append(b.prefix[:0], b.identity...), '/')
	b.prefix = strconv.AppendInt(b.prefix, int64(timelineAt(b.History, b.Timeline, tx.CommitLSN)), 10)
	if b.Cuts > 0 {
		b.prefix = strconv.AppendInt(append(b.prefix, '.'), int64(b.Cuts), 10)
	}
	b.prefix = append(tx.CommitLSN.AppendTo(append(b.prefix, '/')), '/')
	b.Part, b.tx = 0, tx
	if b.Authors != nil {
		b.Authors.Begin(tx)
	}
}

func (b *Batch) At(tx *outbox.Transaction, i int) {
	b.ordinal = strconv.AppendInt(b.ordinal[:0], int64(tx.Changes[i].Ordinal), 10)
	b.repeat = 0
}

// AtRead declares that the next record is that of a row read by a snapshot.
func (b *Batch) AtRead(id []byte) { b.ordinal, b.repeat = append(b.ordinal[:0], id...), 0 }

// Cursor is a position between two records. The zero value is before the first.
type Cursor struct{ bytes, entries, headers, repeat, refused, deadLetters int }

// Here returns the position after the last record. Cut removes all records after a position.
func (b *Batch) Here() Cursor {
	return Cursor{len(b.Buf), len(b.entries), len(b.headers), b.repeat, b.Refused, b.DeadLetters}
}

func (b *Batch) Cut(c Cursor) {
	b.Buf, b.entries, b.headers = b.Buf[:c.bytes], b.entries[:c.entries], b.headers[:c.headers]
	b.repeat, b.Refused, b.DeadLetters = c.repeat, c.refused, c.deadLetters
}

// BytesSince returns the memory of the records after a position.
func (b *Batch) BytesSince(c Cursor) int { return len(b.Buf) - c.bytes }

// KeyAt and TopicAt return key and topic of the first record after a position; nil and "" if there is none.
func (b *Batch) KeyAt(c Cursor) []byte {
	if c.entries >= len(b.entries) {
		return nil
	}
	return b.slice(b.entries[c.entries].key)
}

func (b *Batch) TopicAt(c Cursor) string {
	if c.entries >= len(b.entries) {
		return ""
	}
	return b.entries[c.entries].topic
}

// LeaveOut adds a header to the records after a position that says how many values of their row they lack.
func (b *Batch) LeaveOut(c Cursor, values int) {
	for i := c.entries; i < len(b.entries); i++ {
		b.entries[i].leftOut = values
	}
}

// EachSize calls use with the index and the size of each record after a position.
func (b *Batch) EachSize(from Cursor, use func(i, size int)) {
	h := from.headers
	for i := from.entries; i < len(b.entries); i++ {
		e := &b.entries[i]
		size := len(b.slice(e.key)) + len(b.slice(e.value))
		for ; h < len(b.headers) && b.headers[h].record == i; h++ {
			size += len(b.headers[h].key) + len(b.slice(b.headers[h].value))
		}
		use(i, size)
	}
}

// Topic, Value, IsEvent and IsEverywhere return properties of record i.
func (b *Batch) Topic(i int) string      { return b.entries[i].topic }
func (b *Batch) Value(i int) []byte      { return b.slice(b.entries[i].value) }
func (b *Batch) IsEvent(i int) bool      { return b.entries[i].event }
func (b *Batch) IsEverywhere(i int) bool { return b.entries[i].everywhere }

// Mark declares that the next records belong to the transaction itself rather than to a change: "begin", "end", "audit".
func (b *Batch) Mark(name string) {
	b.ordinal, b.repeat = append(b.ordinal[:0], name...), 0
}

// Add adds a record with the key Buf[key:value] and the value Buf[value:]. If key is Null it has no key. If value is Null it has no value, and the
// key extends to the end of Buf.
func (b *Batch) Add(topic string, key, value int) {
	b.AddWithoutID(topic, key, value)
	b.addEventID()
}

// AddWithoutID is like Add, for a record that belongs to no transaction.
func (b *Batch) AddWithoutID(topic string, key, value int) {
	end := len(b.Buf)
	e := entry{topic: topic, key: span{Null, Null}, value: span{Null, Null}}
	if value != Null {
		e.value = span{value, end}
		end = value
	}
	if key != Null {
		e.key = span{key, end}
	}
	b.entries = append(b.entries, e)
}

// AddEvent is like Add, for an event of the application. Its topic may have other writers, but may not be that of a table.
func (b *Batch) AddEvent(topic string, key, value int) {
	b.Add(topic, key, value)
	b.entries[len(b.entries)-1].event = true
}

// Everywhere sends the last record to every partition of its topic. The record has no key and, like TRUNCATE, invalidates the earlier records of each
// partition.
func (b *Batch) Everywhere() { b.entries[len(b.entries)-1].everywhere = true }

// First sends the last record to partition 0 of its topic, whatever its key is: such records are in one order.
func (b *Batch) First() { b.entries[len(b.entries)-1].first = true }

// Refuse redirects record i, an event, to the topic refused. Headers contain the topic that was requested and the reason for the refusal.
func (b *Batch) Refuse(i int, refused, asked string, why error) {
	e := &b.entries[i]
	e.topic, e.asked, e.why = refused, asked, why.Error()
	b.Refused++
}

// Header adds a header to the last record. It copies value, which may be part of Buf; nil means null.
func (b *Batch) Header(key string, value []byte) {
	if value == nil {
		b.headers = append(b.headers, headerEntry{len(b.entries) - 1, key, span{Null, Null}})
		return
	}
	start := len(b.Buf)
	b.Buf = append(b.Buf, value...)
	b.headers = append(b.headers, headerEntry{len(b.entries) - 1, key, span{start, len(b.Buf)}})
}

func (b *Batch) addEventID() {
	start := len(b.Buf)
	b.Buf = b.AppendEventID(b.Buf)
	b.repeat++
	b.headers = append(b.headers, headerEntry{len(b.entries) - 1, EventIDHeader, span{start, len(b.Buf)}})
	if b.Part > 0 {
		start = len(b.Buf)
		b.Buf = strconv.AppendInt(b.Buf, int64(b.Part), 10)
		b.headers = append(b.headers, headerEntry{len(b.entries) - 1, PartHeader, span{start, len(b.Buf)}})
	}
}

// AppendEventID appends the event id of the next record to be added.
func (b *Batch) AppendEventID(dst []byte) []byte {
	dst = append(append(dst, b.prefix...), b.ordinal...)
	if b.repeat > 0 {
		dst = strconv.AppendInt(append(dst, '.'), int64(b.repeat), 10)
	}
	return dst
}

// ChangeID returns the event id of the first record of a change, by its ordinal in the transaction being appended.
func (b *Batch) ChangeID(ordinal int) string {
	return string(b.prefix) + strconv.Itoa(ordinal)
}

// Ordinal returns the number of the change being appended.
func (b *Batch) Ordinal() string { return string(b.ordinal) }

// Authors knows who wrote the changes of a transaction.
type Authors interface {
	// Begin takes the notes of a transaction.
	Begin(tx *outbox.Transaction)
	// AppendPgtee implements Batch.AppendPgtee for a change of the transaction that was begun last.
	AppendPgtee(dst []byte, tx *outbox.Transaction, i int) []byte
	// Trace returns the trace context that the SQL of a change claims, as the values of its two headers; nil: none.
	Trace(tx *outbox.Transaction, i int) (parent, state []byte)
}

// AppendPgtee appends the value of the "pgtee" field of tx.Changes[i]: who wrote it, with which statement. It calls Begin if that has not been
// called. PgteeSchema describes the field.
//
//	{"session":{"id","user","role","application","client","pid","start","proxy","actor"},
//	 "statement":{"number","command","fingerprint","text","text_cut","rows"},
//	 "context":{"controller":"…"},
//	 "via":"proxy"|"direct"|"snapshot","verified":true|false|null,"reason":"…"}
//
// Verified is true if the proxy and the server agree, and false for a note that is forged, replayed or from another session. It is null if that cannot
// be determined; only then there is a reason: "no note", "no key", "pooler", "user changed" (the server names another user than the proxy did) or
// "unbound" (a message of an older proxy). Actor and context are present only if the client claims them in comments of its SQL. Session and
// statement are null for a write that bypassed the proxy, and for a row of a snapshot. Statement alone is null if it is not known which
// statement of the session wrote the row. Times are UTC; fingerprint and session id are 16 hexadecimal digits; client is address:port, null
// for a Unix socket; rows is how many rows the statement wrote in this transaction, null in a giant, where only the audit record has it.
func (b *Batch) AppendPgtee(dst []byte, tx *outbox.Transaction, i int) []byte {
	b.ensureBegun(tx)
	if b.Authors == nil {
		return AppendUnknownAuthor(dst, tx.Changes[i].Op)
	}
	return b.Authors.AppendPgtee(dst, tx, i)
}

// AddTrace adds the trace context in the SQL of tx.Changes[i], if any, to the headers of the last record. It is the client's claim.
func (b *Batch) AddTrace(tx *outbox.Transaction, i int) {
	b.ensureBegun(tx)
	if b.Authors == nil {
		return
	}
	parent, state := b.Authors.Trace(tx, i)
	if parent == nil {
		return
	}
	b.Header(TraceparentHeader, parent)
	if state != nil {
		b.Header(TracestateHeader, state)
	}
}

// ensureBegun calls Begin unless it has already been called for tx.
func (b *Batch) ensureBegun(tx *outbox.Transaction) {
	if b.tx != tx {
		b.Begin(tx)
	}
}

// direct is the block of a change without a preceding note: the write bypassed the proxy.
const direct = `{"session":null,"statement":null,"via":"direct","verified":null,"reason":"no note"}`

// copied is the block of a row read by a snapshot: its author is not known.
const copied = `{"session":null,"statement":null,"via":"snapshot","verified":null,"reason":"no note"}`

// AppendUnknownAuthor appends the block of a change without a preceding note.
func AppendUnknownAuthor(dst []byte, op outbox.Op) []byte {
	if op == outbox.Read {
		return append(dst, copied...)
	}
	return append(dst, direct...)
}

// Records returns the records in the order of Add. They are valid until the next Add, Header or Reset.
func (b *Batch) Records() []Record {
	b.records, b.resolve = b.records[:0], b.resolve[:0]
	for _, h := range b.headers {
		b.resolve = append(b.resolve, Header{Key: h.key, Value: b.slice(h.value)})
	}
	next := 0
	for i, e := range b.entries {
		first := next
		for next < len(b.headers) && b.headers[next].record == i {
			next++
		}
		headers := b.resolve[first:next:next]
		if e.why != "" {
			headers = append(headers, Header{Key: RefusedTopicHeader, Value: []byte(e.asked)}, Header{Key: RefusedHeader, Value: []byte(e.why)})
		}
		if e.leftOut > 0 {
			headers = append(headers, Header{Key: IncompleteHeader, Value: strconv.AppendInt(nil, int64(e.leftOut), 10)})
		}
		b.records = append(b.records, Record{e.topic, b.slice(e.key), b.slice(e.value), headers, e.everywhere, e.first})
	}
	return b.records
}

func (b *Batch) slice(s span) []byte {
	if s.start == Null {
		return nil
	}
	return b.Buf[s.start:s.end:s.end]
}

// timelineAt returns the timeline to which a commit record at lsn belongs, on a server of timeline current.
func timelineAt(history []outbox.TimelineSwitch, current int32, lsn outbox.LSN) int32 {
	for _, left := range history {
		if lsn < left.End {
			return left.Timeline
		}
	}
	return current
}
