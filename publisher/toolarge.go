package publisher

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// TooLargePolicy says what becomes of a change whose record is larger than Kafka takes.
type TooLargePolicy byte

const (
	// DeadLetter tells of it in <prefix>.dead-letter, in the same Kafka transaction, and puts the whole record there in
	// pieces. In its topic a row's record has the unavailable-value placeholder in place of its longest values, so that
	// whoever folds the topic still has every row; a message or event has none.
	DeadLetter TooLargePolicy = iota
	// HaltTooLarge stops the publisher.
	HaltTooLarge
)

// ParseTooLargePolicy reads "dead-letter", which "" is too, or "halt".
func ParseTooLargePolicy(name string) (TooLargePolicy, error) {
	switch name {
	case "", "dead-letter":
		return DeadLetter, nil
	case "halt":
		return HaltTooLarge, nil
	}
	return 0, fmt.Errorf("--record-too-large %q: want halt or dead-letter", name)
}

// IncompleteHeader names the header of a row's record that lacks values because it was too large: how many.
const IncompleteHeader = "pgtee-left-out"

// PieceHeader names the header of a piece of a record that was too large, in <prefix>.dead-letter: its number, from 1 on, and
// how many there are, as in "2/3". The values of the pieces, one behind the other, are the value of the record.
const PieceHeader = "pgtee-piece"

// TooLarge is the error of a Format that needs a value which was too long to be held.
type TooLarge struct {
	What  string // "column body"
	Bytes uint64
}

func (e *TooLarge) Error() string { return fmt.Sprintf("%s has %d bytes", e.What, e.Bytes) }

// recordOverhead is above what Kafka adds to key, value and headers of a record, a batch of its own included.
const recordOverhead = 1024

// maxToldKeyBytes is what errors and dead letters tell of a key.
const maxToldKeyBytes = 256

// appendFitting appends the records of a change if Kafka takes them, else what the policy says.
func (p *Publisher) appendFitting(tx *outbox.Transaction, i int) error {
	start := p.batch.here()
	err := p.appendRecords(tx, i)
	var large *TooLarge
	switch {
	case errors.As(err, &large):
	case err != nil:
		return err
	default:
		if large = p.tooLarge(start, &tx.Changes[i]); large == nil {
			return nil
		}
	}
	c, key, topic := &tx.Changes[i], p.batch.keyAt(start), p.batch.topicAt(start)
	if p.cfg.TooLarge == HaltTooLarge {
		return &Halt{ErrRecordTooLarge, fmt.Sprintf("%s, key %q, topic %s: %v, a record may have %d", sourceName(c), key, topic, large, p.largest(topic)),
			"raise max.message.bytes of the topic and --max-record-bytes, or publish it without its longest values by --record-too-large dead-letter; nothing is skipped meanwhile"}
	}
	return p.appendDeadLetter(tx, i, start, large)
}

// tooLarge says what is too large of the records behind a place, nil if nothing is.
func (p *Publisher) tooLarge(from place, c *outbox.Change) *TooLarge {
	if c.Omitted > 0 {
		return &TooLarge{"its content", c.Omitted}
	}
	if len(p.limits) == 0 && len(p.batch.Buf)-from.bytes <= int(p.cfg.MaxRecordBytes)-recordOverhead {
		return nil
	}
	largest := 0
	p.batch.eachSize(from, func(i, size int) {
		if size > p.largest(p.batch.entries[i].topic)-recordOverhead {
			largest = max(largest, size)
		}
	})
	if largest == 0 {
		return nil
	}
	return &TooLarge{"its record", uint64(largest)}
}

// topicLimit is what a topic has turned out to take. It is forgotten after a while, for it may be raised.
type topicLimit struct {
	bytes int
	until time.Time
}

// limitKept is how long a limit is believed.
const limitKept = 10 * time.Minute

// largest returns how large a batch with one record may be for a topic.
func (p *Publisher) largest(topic string) int {
	limit, known := p.limits[topic]
	switch {
	case !known:
		return int(p.cfg.MaxRecordBytes)
	case p.now().After(limit.until):
		delete(p.limits, topic)
		return int(p.cfg.MaxRecordBytes)
	}
	return limit.bytes
}

// leastLimit is the smallest limit that a topic may have: below it not even a dead letter has room.
const leastLimit = 16 << 10

// limit remembers what a topic takes. It halts if the records cannot be made smaller.
func (p *Publisher) limit(small *smallTopic, err error) error {
	_, fits := p.owners[small.topic] // of tables, messages and events
	have, known := p.limits[small.topic]
	if !fits && small.topic != p.topics.deadLetter || small.bytes < leastLimit || known && small.bytes >= have.bytes {
		return &Halt{ErrRecordTooLarge, err.Error(), fmt.Sprintf("raise max.message.bytes of topic %s to %d", small.topic, int(p.cfg.MaxRecordBytes)+batchHeader)}
	}
	p.limits[small.topic] = topicLimit{small.bytes, p.now().Add(limitKept)}
	return err
}

// keyAt returns a copy of the beginning of the key of the record behind a place; nil for none.
func (b *Batch) keyAt(from place) []byte {
	if from.entries >= len(b.entries) {
		return nil
	}
	return slices.Clone(cut(b.slice(b.entries[from.entries].key), maxToldKeyBytes))
}

// deadLetter is a record of <prefix>.dead-letter. It has no values of the row but the key: those that fit stand in the
// record of the row, under the same event id, with all masks.
type deadLetter struct {
	Version   int             `json:"v"`
	Database  string          `json:"database"`
	Timeline  int32           `json:"timeline"`
	XID       outbox.XID      `json:"xid"`
	CommitLSN outbox.LSN      `json:"commit_lsn"`
	Ordinal   int             `json:"ordinal"`
	LSN       outbox.LSN      `json:"lsn"` // of the change
	Op        string          `json:"op"`  // I, U, D, M (logical message), E (pgtee.publish)
	Source    string          `json:"source"`
	Topic     string          `json:"topic"`  // of the row's record, or where a message or event would be; "": it has none
	Key       string          `json:"key"`    // its beginning
	Reason    string          `json:"reason"` // what is too large
	Bytes     uint64          `json:"bytes"`  // of that
	Limit     int32           `json:"limit"`  // --max-record-bytes
	LeftOut   []leftOut       `json:"left_out"`
	Published bool            `json:"published"` // the row's record is in its topic, without what is left out
	Pieces    int             `json:"pieces"`    // records behind this one that hold the whole record; 0: it was not held
	Pgtee     json.RawMessage `json:"pgtee"`
}

// leftOut is a column whose value is not in the row's record.
type leftOut struct {
	Column string `json:"column"`
	Bytes  uint64 `json:"bytes"`
}

// appendDeadLetter replaces the records behind start by those of the row without its longest values, if it is a row and
// that helps, and one that tells of it.
func (p *Publisher) appendDeadLetter(tx *outbox.Transaction, i int, start place, large *TooLarge) error {
	c, b := &tx.Changes[i], p.batch
	pieces := p.pieces(c, start, large)
	letter := deadLetter{
		Version: 1, Database: p.cfg.Database, Timeline: p.source.System().Timeline, XID: tx.XID, CommitLSN: tx.CommitLSN,
		Ordinal: c.Ordinal, LSN: c.LSN, Op: string(rune(c.Op)), Source: sourceName(c), Topic: b.topicAt(start), Key: string(b.keyAt(start)),
		Reason: large.Error(), Bytes: large.Bytes, Limit: int32(p.largest(b.topicAt(start))), Pgtee: b.AppendPgtee(nil, tx, i),
		Pieces: len(pieces),
	}
	switch c.Op {
	case outbox.Event:
		letter.Source = "events of the application"
	case outbox.Message:
		letter.Source += " with prefix " + string(cut([]byte(c.Prefix), maxToldKeyBytes))
	}
	b.cut(start)
	var err error
	if letter.LeftOut, err = p.appendIncomplete(tx, i, start, letter.Topic); err != nil {
		return err
	}
	if letter.Published = len(letter.LeftOut) > 0; letter.Published {
		letter.Topic, letter.Key = b.topicAt(start), string(b.keyAt(start))
	}
	value, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	b.mark(string(b.ordinal) + ".dead-letter")
	p.addLetter(value)
	for n, piece := range pieces {
		p.addLetter(piece)
		b.Header(PieceHeader, fmt.Appendf(nil, "%d/%d", n+1, len(pieces)))
	}
	b.deadLetters++
	return nil
}

// addLetter adds a record to the dead letters. Its key is its event id: none is compacted away.
func (p *Publisher) addLetter(value []byte) {
	b := p.batch
	key := len(b.Buf)
	b.Buf = b.AppendEventID(b.Buf)
	from := len(b.Buf)
	b.Buf = append(b.Buf, value...)
	b.Add(p.topics.deadLetter, key, from)
}

// pieces returns the value of the largest record behind a place in pieces that the dead letters take; none if the log's
// change was not held as a whole.
func (p *Publisher) pieces(c *outbox.Change, start place, large *TooLarge) (pieces [][]byte) {
	b, whole, largest := p.batch, Null, 0
	b.eachSize(start, func(i, size int) {
		if size > largest {
			whole, largest = i, size
		}
	})
	if c.Omitted > 0 || whole == Null || uint64(largest) != large.Bytes {
		return nil
	}
	room := p.largest(p.topics.deadLetter) - 2*recordOverhead
	for rest := b.slice(b.entries[whole].value); len(rest) > 0; rest = rest[len(pieces[len(pieces)-1]):] {
		pieces = append(pieces, slices.Clone(rest[:min(room, len(rest))]))
	}
	return pieces
}

func (b *Batch) topicAt(from place) string {
	if from.entries >= len(b.entries) {
		return ""
	}
	return b.entries[from.entries].topic
}

// appendIncomplete appends the records of a row without its longest values: the fewest that let it fit, by powers of
// four. It returns them, none if no record can be made: then nothing is appended.
func (p *Publisher) appendIncomplete(tx *outbox.Transaction, i int, start place, topic string) ([]leftOut, error) {
	c := &tx.Changes[i]
	if c.Relation == nil || c.Op == outbox.Truncate {
		return nil, nil
	}
	whole := *c
	defer func() { *c = whole }()
	for longest := p.largest(topic) / 2; longest > 0; longest /= 4 {
		var left []leftOut
		c.Old, c.New, left = withoutLong(&whole, longest)
		p.batch.repeat = 0
		err := p.appendRecords(tx, i)
		var outage interface{ Temporary() bool }
		if errors.As(err, &outage) && outage.Temporary() {
			return nil, err
		}
		if err == nil && p.tooLarge(start, c) == nil {
			for n := start.entries; n < len(p.batch.entries); n++ {
				p.batch.entries[n].leftOut = len(left)
			}
			return left, nil
		}
		p.batch.cut(start)
	}
	return nil, nil
}

// withoutLong returns the tuples of a change with "unchanged" in place of the values that are longer, in either of
// them, than longest, save those of the key.
func withoutLong(c *outbox.Change, longest int) (before, after pgoutput.Tuple, left []leftOut) {
	sizes := make([]uint64, len(c.Relation.Columns))
	for _, tuple := range []pgoutput.Tuple{c.Old, c.New} {
		for n, columns := 0, tuple.Columns(); columns.Next(); n++ {
			sizes[n] = max(sizes[n], valueBytes(&columns))
		}
	}
	for n, size := range sizes {
		column := &c.Relation.Columns[n]
		if size <= uint64(longest) || column.Key && c.Relation.Identity != 'f' {
			sizes[n] = 0
			continue
		}
		left = append(left, leftOut{column.Name, size})
	}
	slices.SortStableFunc(left, func(a, b leftOut) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return without(c.Old, sizes), without(c.New, sizes), left
}

func valueBytes(c *pgoutput.Columns) uint64 {
	if c.Kind() == pgoutput.Omitted {
		return binary.BigEndian.Uint64(c.Value())
	}
	return uint64(len(c.Value()))
}

// without returns a tuple with "unchanged" in place of the columns that have a size.
func without(tuple pgoutput.Tuple, sizes []uint64) pgoutput.Tuple {
	if tuple == nil {
		return nil
	}
	short := pgoutput.Tuple(binary.BigEndian.AppendUint16(nil, uint16(tuple.Len())))
	for n, columns := 0, tuple.Columns(); columns.Next(); n++ {
		switch {
		case sizes[n] > 0:
			short = append(short, pgoutput.Unchanged)
		case columns.Value() == nil:
			short = append(short, columns.Kind())
		default:
			short = binary.BigEndian.AppendUint32(append(short, columns.Kind()), uint32(len(columns.Value())))
			short = append(short, columns.Value()...)
		}
	}
	return short
}
