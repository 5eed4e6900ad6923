package publisher

import (
	"strconv"
	"unsafe"

	"github.com/pgtee/pgtee/outbox"
)

// EventIDHeader names the record header that stays the same when an event is published again: system
// identifier, slot, timeline on which the transaction committed, LSN of its commit record (which has a slash
// of its own), number of the change in it, as in "7300015402116915253/pgtee/1/0/16B3748/12". Further
// records of the same change end in ".1", ".2"; those of a transaction itself end in "begin", "end" and
// "audit".
//
// The timeline is that of the server's history: a standby that takes over gives the same id to what it
// shares with its predecessor, and another to what it committed at the same place instead. Once a repair went back on one
// timeline ("1.1", then "1.2"), what is committed there may stand at a place that Kafka knows.
const EventIDHeader = "pgtee-event-id"

// PartHeader names the header of records of a transaction that became visible in parts: how many Kafka
// transactions before this one hold earlier records of it. The first part's records do not have it.
const PartHeader = "pgtee-part"

// Null stands for the start of a key or value that a record does not have.
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
// works: the event ids then lack system and slot, SQL text is normalised.
type Batch struct {
	Buf []byte

	identity []byte // system identifier and slot: "7300015402116915253/pgtee"
	timeline int32  // of the server
	cuts     int    // repairs that went back on it
	history  []outbox.TimelineSwitch
	standIn  StandInKeys // nil: the event id itself

	notes   notes  // of the transaction being appended
	prefix  []byte // of the ids of its events: identity, timeline and commit LSN, with a slash at the end
	part    int    // Kafka transactions that hold earlier records of it
	ordinal []byte // number of the change being appended
	repeat  int    // records that this change has made

	refused     int // records that Refuse was called for
	deadLetters int // records that tell of a change whose own was too large

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
	everywhere bool   // in each partition
	asked, why string // of an event that was refused: where it was to go, and the reason
	leftOut    int    // values of a row that was too large
}

type headerEntry struct {
	record int
	key    string
	value  span
}

// newBatch makes a batch for the events of one slot.
func newBatch(system, slot string, text SQLText) *Batch {
	return &Batch{identity: []byte(system + "/" + slot), notes: notes{text: text}}
}

// Reset empties the batch and keeps its memory, save what a giant transaction took. The slices that
// Records returned are no longer valid.
func (b *Batch) Reset() {
	b.Buf = recycle(b.Buf)
	b.entries, b.headers = recycle(b.entries), recycle(b.headers)
	b.records, b.resolve = recycle(b.records), recycle(b.resolve)
	b.refused, b.deadLetters = 0, 0
}

// maxKeptBytes is the longest slice that is kept for the next batch.
const maxKeptBytes = 4 << 20

func recycle[T any](s []T) []T {
	var item T
	if cap(s)*int(unsafe.Sizeof(item)) > maxKeptBytes {
		return nil
	}
	return s[:0]
}

// swap exchanges the records, and the memory that they are in, with those of another batch.
func (b *Batch) swap(other *Batch) {
	b.Buf, other.Buf = other.Buf, b.Buf
	b.entries, other.entries = other.entries, b.entries
	b.headers, other.headers = other.headers, b.headers
	b.records, other.records = other.records, b.records
	b.resolve, other.resolve = other.resolve, b.resolve
}

// Len returns the number of records, Bytes the memory that keys, values and headers take.
func (b *Batch) Len() int   { return len(b.entries) }
func (b *Batch) Bytes() int { return len(b.Buf) }

// Begin says that the next records belong to tx, and At that they belong to its change i.
func (b *Batch) Begin(tx *outbox.Transaction) {
	b.prefix = append(append(b.prefix[:0], b.identity...), '/')
	b.prefix = strconv.AppendInt(b.prefix, int64(timelineAt(b.history, b.timeline, tx.CommitLSN)), 10)
	if b.cuts > 0 {
		b.prefix = strconv.AppendInt(append(b.prefix, '.'), int64(b.cuts), 10)
	}
	b.prefix = append(tx.CommitLSN.AppendTo(append(b.prefix, '/')), '/')
	b.part = 0
	b.notes.begin(tx)
}

func (b *Batch) At(tx *outbox.Transaction, i int) {
	b.ordinal = strconv.AppendInt(b.ordinal[:0], int64(tx.Changes[i].Ordinal), 10)
	b.repeat = 0
}

// atRead says that the next record is of a row that a snapshot has read.
func (b *Batch) atRead(id []byte) { b.ordinal, b.repeat = append(b.ordinal[:0], id...), 0 }

// place is a place between two records.
type place struct{ bytes, entries, headers, refused, deadLetters int }

func (b *Batch) here() place {
	return place{len(b.Buf), len(b.entries), len(b.headers), b.refused, b.deadLetters}
}

// cut removes the records behind a place.
func (b *Batch) cut(p place) {
	b.Buf, b.entries, b.headers = b.Buf[:p.bytes], b.entries[:p.entries], b.headers[:p.headers]
	b.refused, b.deadLetters = p.refused, p.deadLetters
}

// mark says that the next records belong to a part of the transaction that is no change: "begin".
func (b *Batch) mark(name string) {
	b.ordinal, b.repeat = append(b.ordinal[:0], name...), 0
}

// Add makes a record of Buf[key:value] and Buf[value:]. Null for key: no key. Null for value: no
// value, the key ends with Buf.
func (b *Batch) Add(topic string, key, value int) {
	b.AddWithoutID(topic, key, value)
	b.addEventID()
}

// AddWithoutID is Add for a record that is of no transaction.
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

// AddEvent is Add for an event of the application, which goes to a topic that others may write to as well,
// save for the tables.
func (b *Batch) AddEvent(topic string, key, value int) {
	b.Add(topic, key, value)
	b.entries[len(b.entries)-1].event = true
}

// Everywhere says that the record that was added last goes into each partition of its topic: it has no key, and ends what
// each of them holds.
func (b *Batch) Everywhere() { b.entries[len(b.entries)-1].everywhere = true }

// Refuse sends record i, an event, to the topic refused and says in headers where it was to go and why not.
func (b *Batch) Refuse(i int, refused, asked string, why error) {
	e := &b.entries[i]
	e.topic, e.asked, e.why = refused, asked, why.Error()
	b.refused++
}

// Header gives the record that was added last one more header. It copies value, which may be a part of Buf; nil is null.
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
	if b.part > 0 {
		start = len(b.Buf)
		b.Buf = strconv.AppendInt(b.Buf, int64(b.part), 10)
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
		b.records = append(b.records, Record{e.topic, b.slice(e.key), b.slice(e.value), headers, e.everywhere})
	}
	return b.records
}

func (b *Batch) slice(s span) []byte {
	if s.start == Null {
		return nil
	}
	return b.Buf[s.start:s.end:s.end]
}
