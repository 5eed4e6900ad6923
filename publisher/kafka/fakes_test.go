package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// queueSource has its transactions at once, then none.
type queueSource struct {
	system  outbox.System
	queue   []*outbox.Transaction
	acked   []outbox.LSN
	checks  int
	changed error // of CheckPublications
	lost    chan error
	closed  bool
}

func (s *queueSource) System() outbox.System { return s.system }
func (s *queueSource) TimelineHistory(context.Context, int32) ([]outbox.TimelineSwitch, error) {
	return []outbox.TimelineSwitch{{Timeline: 1, End: 150}}, nil
}
func (s *queueSource) Next(ctx context.Context, _ int) ([]*outbox.Transaction, error) {
	if len(s.queue) > 0 {
		return s.queue, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-s.lost:
		return nil, err
	}
}
func (s *queueSource) Drop(head []*outbox.Transaction)         { s.queue = s.queue[len(head):] }
func (s *queueSource) Ack(upTo outbox.LSN)                     { s.acked = append(s.acked, upTo) }
func (s *queueSource) Received() outbox.LSN                    { return 1000 }
func (s *queueSource) Err() error                              { return nil }
func (s *queueSource) CheckPublications(context.Context) error { s.checks++; return s.changed }
func (s *queueSource) Close() error                            { s.closed = true; return nil }

func queueOf(queue ...*outbox.Transaction) *queueSource {
	return &queueSource{system: outbox.System{ID: "7300", Timeline: 1, Server: 1000}, queue: queue, lost: make(chan error, 1)}
}

func rowEnding(end outbox.LSN) *outbox.Transaction {
	return &outbox.Transaction{CommitLSN: end - 8, EndLSN: end, Changes: []outbox.Change{{Op: outbox.Insert, Note: -1, Relation: &pgoutput.Relation{OID: 1, Schema: "s", Name: "t"}}}}
}

// blockFormat writes the pgtee block to the topic of the table.
type blockFormat struct{}

func (blockFormat) Begin(context.Context, *record.Batch, *outbox.Transaction) error { return nil }
func (blockFormat) End(context.Context, *record.Batch, *outbox.Transaction) error   { return nil }

func (blockFormat) Identity(_ context.Context, r *pgoutput.Relation, _ record.Place) (record.Identity, error) {
	return record.LoggedIdentity(r), nil
}

func (blockFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	topic := "shop.message"
	if r := tx.Changes[i].Relation; r != nil {
		topic = record.TopicName("shop", r.Schema, r.Name)
	}
	value := len(b.Buf)
	b.Buf = b.AppendPgtee(b.Buf, tx, i)
	b.Add(topic, record.Null, value)
	return nil
}

// shapedTopics has the topics of a shape.
type shapedTopics struct {
	blockFormat
	shape *shape.Shape
}

func (f shapedTopics) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	if c.Relation == nil {
		return f.blockFormat.Append(ctx, b, tx, i)
	}
	table, err := f.shape.Table(c.Relation)
	if err == nil {
		b.Add(table.Topic, record.Null, record.Null)
	}
	return err
}

// tupleFormat writes the values of a row, and ? for one that is not there; its key is the first.
type tupleFormat struct{ blockFormat }

func (tupleFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	if c.Relation == nil {
		return blockFormat{}.Append(ctx, b, tx, i)
	}
	key, value := len(b.Buf), record.Null
	for n, columns := 0, c.New.Columns(); columns.Next(); n++ {
		switch columns.Kind() {
		case pgoutput.Omitted:
			return fmt.Errorf("encode: %w", &record.TooLarge{What: "column " + c.Relation.Columns[n].Name, Bytes: binary.BigEndian.Uint64(columns.Value())})
		case pgoutput.Unchanged:
			if n == 0 {
				return errors.New("no key")
			}
			b.Buf = append(b.Buf, '?')
		}
		b.Buf = append(b.Buf, columns.Value()...)
		if n == 0 {
			value = len(b.Buf)
		}
	}
	b.Add("shop.public.docs", key, value)
	return nil
}

func textTuple(values ...string) pgoutput.Tuple {
	t := pgoutput.Tuple(binary.BigEndian.AppendUint16(nil, uint16(len(values))))
	for _, v := range values {
		t = append(binary.BigEndian.AppendUint32(append(t, pgoutput.Text), uint32(len(v))), v...)
	}
	return t
}

func docsTable(identity byte) *pgoutput.Relation {
	r := &pgoutput.Relation{OID: 1, Schema: "public", Name: "docs", Identity: identity}
	for _, name := range []string{"id", "title", "body", "more"} {
		r.Columns = append(r.Columns, pgoutput.Column{Name: name, Key: name == "id"})
	}
	return r
}
