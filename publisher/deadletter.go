package publisher

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
)

// deadLetter is a record of <prefix>.dead-letter. Of the row's values it has only the key; the values that fit are in the row's own record, under the
// same event id and with all masks applied.
type deadLetter struct {
	Version   int             `json:"v"`
	Database  string          `json:"database"`
	Timeline  int32           `json:"timeline"`
	XID       outbox.XID      `json:"xid"`
	CommitLSN outbox.LSN      `json:"commit_lsn"`
	Ordinal   int             `json:"ordinal"`
	LSN       outbox.LSN      `json:"lsn"` // LSN of the change
	Op        string          `json:"op"`  // I, U, D, M (logical message), E (pgtee.publish)
	Source    string          `json:"source"`
	Topic     string          `json:"topic"`  // of the row's record, or the topic of the message or event; "": no topic
	Key       string          `json:"key"`    // beginning of the key
	Reason    string          `json:"reason"` // what is too large
	Bytes     uint64          `json:"bytes"`  // size of what is too large
	Limit     int32           `json:"limit"`  // --max-record-bytes
	LeftOut   []leftOut       `json:"left_out"`
	Published bool            `json:"published"` // the row's record is in its topic, without the left-out values
	Pieces    int             `json:"pieces"`    // number of records after this one that hold the whole record; 0: it was too long to be kept in memory
	Pgtee     json.RawMessage `json:"pgtee"`
}

// appendDeadLetter replaces the records after start by a dead letter and, if that helps, the records of the row without its longest values.
func (p *Publisher) appendDeadLetter(ctx context.Context, tx *outbox.Transaction, i int, start record.Cursor, large *record.TooLarge) error {
	c, b := &tx.Changes[i], p.batch
	pieces := p.pieces(c, start, large)
	letter := deadLetter{
		Version: 1, Database: p.cfg.Database, Timeline: p.source.System().Timeline, XID: tx.XID, CommitLSN: tx.CommitLSN,
		Ordinal: c.Ordinal, LSN: c.LSN, Op: string(rune(c.Op)), Source: record.SourceName(c), Topic: b.TopicAt(start), Key: string(keyAt(b, start)),
		Reason: large.Error(), Bytes: large.Bytes, Limit: int32(p.largest(b.TopicAt(start))), Pgtee: b.AppendPgtee(nil, tx, i),
		Pieces: len(pieces),
	}
	switch c.Op {
	case outbox.Event:
		letter.Source = "events of the application"
	case outbox.Message:
		letter.Source += " with prefix " + string(record.Cut([]byte(c.Prefix), maxQuotedKeyBytes))
	}
	b.Cut(start)
	var err error
	if letter.LeftOut, err = p.appendIncomplete(ctx, tx, i, start, letter.Topic); err != nil {
		return err
	}
	if letter.Published = len(letter.LeftOut) > 0; letter.Published {
		letter.Topic, letter.Key = b.TopicAt(start), string(keyAt(b, start))
	}
	value, err := json.Marshal(letter)
	if err != nil {
		return err
	}
	b.Mark(b.Ordinal() + ".dead-letter")
	p.addLetter(value)
	for n, piece := range pieces {
		p.addLetter(piece)
		b.Header(record.PieceHeader, fmt.Appendf(nil, "%d/%d", n+1, len(pieces)))
	}
	b.DeadLetters++
	return nil
}

// addLetter appends a record to the dead-letter topic. Its key is its event id, so that compaction removes none.
func (p *Publisher) addLetter(value []byte) {
	b := p.batch
	key := len(b.Buf)
	b.Buf = b.AppendEventID(b.Buf)
	from := len(b.Buf)
	b.Buf = append(b.Buf, value...)
	b.Add(p.topics.DeadLetter, key, from)
}

// pieces splits the value of the largest record after start into pieces that the dead-letter topic accepts. It returns none if the change was too
// long to be kept in memory as a whole.
func (p *Publisher) pieces(c *outbox.Change, start record.Cursor, large *record.TooLarge) (pieces [][]byte) {
	b, whole, largest := p.batch, record.Null, 0
	b.EachSize(start, func(i, size int) {
		if size > largest {
			whole, largest = i, size
		}
	})
	if c.Omitted > 0 || whole == record.Null || uint64(largest) != large.Bytes {
		return nil
	}
	room := p.largest(p.topics.DeadLetter) - 2*record.Overhead
	for rest := b.Value(whole); len(rest) > 0; rest = rest[len(pieces[len(pieces)-1]):] {
		pieces = append(pieces, slices.Clone(rest[:min(room, len(rest))]))
	}
	return pieces
}
