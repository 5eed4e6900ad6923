package publisher

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
)

// TooLargePolicy says what happens to a change whose record is larger than Kafka accepts.
type TooLargePolicy byte

const (
	// DeadLetter reports the change in <prefix>.dead-letter, in the same Kafka transaction, and puts the whole record there in pieces. In its own
	// topic, a row's record has the unavailable-value placeholder in place of its longest values, so that a consumer of the topic still has every
	// row; a message or event has no record there.
	DeadLetter TooLargePolicy = iota
	// HaltTooLarge stops the publisher.
	HaltTooLarge
)

// ParseTooLargePolicy reads "dead-letter" (or "") and "halt".
func ParseTooLargePolicy(name string) (TooLargePolicy, error) {
	switch name {
	case "", "dead-letter":
		return DeadLetter, nil
	case "halt":
		return HaltTooLarge, nil
	}
	return 0, fmt.Errorf("--record-too-large %q: want halt or dead-letter", name)
}

// maxQuotedKeyBytes is the length to which errors and dead letters cut a key.
const maxQuotedKeyBytes = 256

// appendFitting appends the records of a change if Kafka accepts their size, and otherwise does what the policy says.
func (p *Publisher) appendFitting(ctx context.Context, tx *outbox.Transaction, i int) error {
	start := p.batch.Here()
	err := p.appendRecords(ctx, tx, i)
	var large *record.TooLarge
	switch {
	case errors.As(err, &large):
	case err != nil:
		return err
	default:
		if large = p.tooLarge(start, &tx.Changes[i]); large == nil {
			return nil
		}
	}
	c, key, topic := &tx.Changes[i], keyAt(p.batch, start), p.batch.TopicAt(start)
	if p.cfg.TooLarge == HaltTooLarge {
		return halt.New(halt.ErrRecordTooLarge, fmt.Sprintf("%s, key %q, topic %s: %v, a record may have %d", record.SourceName(c), key, topic, large, p.largest(topic)),
			"raise max.message.bytes of the topic and --max-record-bytes, or publish it without its longest values by --record-too-large dead-letter; nothing is skipped meanwhile")
	}
	return p.appendDeadLetter(ctx, tx, i, start, large)
}

// tooLarge returns what is too large in the records after from, nil if nothing is.
func (p *Publisher) tooLarge(from record.Cursor, c *outbox.Change) *record.TooLarge {
	if c.Omitted > 0 {
		return &record.TooLarge{What: "its content", Bytes: c.Omitted}
	}
	if len(p.limits) == 0 && p.batch.BytesSince(from) <= int(p.cfg.MaxRecordBytes)-record.Overhead {
		return nil
	}
	largest := 0
	p.batch.EachSize(from, func(i, size int) {
		if size > p.largest(p.batch.Topic(i))-record.Overhead {
			largest = max(largest, size)
		}
	})
	if largest == 0 {
		return nil
	}
	return &record.TooLarge{What: "its record", Bytes: uint64(largest)}
}

// topicLimit is the record size that a topic was found to accept. It is forgotten after a while, because the topic's limit may be raised.
type topicLimit struct {
	bytes int
	until time.Time
}

// limitKept is how long a limit is remembered.
const limitKept = 10 * time.Minute

// largest returns the maximum size of a batch with one record for a topic.
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

// leastLimit is the smallest limit of a topic that is supported: below it not even a dead letter fits.
const leastLimit = 16 << 10

// lowerLimit remembers the record size that a topic accepts. It halts if the records cannot be made smaller.
func (p *Publisher) lowerLimit(small *SmallTopic, err error) error {
	_, fits := p.owners[small.Topic] // only tables, messages and events have smaller forms
	have, known := p.limits[small.Topic]
	if !fits && small.Topic != p.topics.DeadLetter || small.Bytes < leastLimit || known && small.Bytes >= have.bytes {
		return halt.New(halt.ErrRecordTooLarge, err.Error(), small.Repair)
	}
	p.limits[small.Topic] = topicLimit{small.Bytes, p.now().Add(limitKept)}
	return err
}

// keyAt returns a copy of the beginning of the key of the first record after from; nil if it has none.
func keyAt(b *record.Batch, from record.Cursor) []byte {
	return slices.Clone(record.Cut(b.KeyAt(from), maxQuotedKeyBytes))
}

// leftOut is a column whose value is missing from the row's record.
type leftOut struct {
	Column string `json:"column"`
	Bytes  uint64 `json:"bytes"`
}

// appendIncomplete appends the records of a row without its longest values. It leaves out as few as necessary, lowering the maximum length by powers
// of four, and returns the columns left out. It returns none, and appends nothing, if no record fits.
func (p *Publisher) appendIncomplete(ctx context.Context, tx *outbox.Transaction, i int, start record.Cursor, topic string) ([]leftOut, error) {
	c := &tx.Changes[i]
	if c.Relation == nil || c.Op == outbox.Truncate {
		return nil, nil
	}
	whole := *c
	defer func() { *c = whole }()
	for longest := p.largest(topic) / 2; longest > 0; longest /= 4 {
		var left []leftOut
		c.Old, c.New, left = withoutLong(&whole, longest)
		err := p.appendRecords(ctx, tx, i)
		var outage interface{ Temporary() bool }
		if errors.As(err, &outage) && outage.Temporary() {
			return nil, err
		}
		if err == nil && p.tooLarge(start, c) == nil {
			p.batch.LeaveOut(start, len(left))
			return left, nil
		}
		p.batch.Cut(start)
	}
	return nil, nil
}

// withoutLong returns the tuples of a change with Unchanged for every column, except key columns, that has a value longer than longest in either
// tuple.
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

// without returns a tuple with Unchanged for the columns that have a size.
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
