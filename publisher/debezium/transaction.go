package debezium

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/record"
)

// transaction counts the events of the transaction being encoded: provide.transaction.metadata.
//
// Its id has Debezium's form "xid:lsn". lsn is the start of the transaction's commit record, so that all records of the transaction share it;
// Debezium uses the LSN of each event.
type transaction struct {
	xid    outbox.XID
	commit outbox.LSN
	id     []byte
	events int64
	seen   []*collection // collections with events, ordered by their first event

	change  int           // index of the change being encoded
	counted []*collection // the collections of its events, one entry per event
}

// collection is a table, or the logical messages as a whole.
type collection struct {
	name   string
	events int64
}

// messageCollection is the name of the logical messages in Debezium's documentation.
const messageCollection = "LOGICAL_DECODING_MESSAGE"

func (t *transaction) begin(tx *outbox.Transaction) {
	for _, c := range t.seen {
		c.events = 0
	}
	t.xid, t.commit, t.events, t.seen, t.counted = tx.XID, tx.CommitLSN, 0, t.seen[:0], t.counted[:0]
	t.id = strconv.AppendUint(t.id[:0], uint64(tx.XID), 10)
	t.id = strconv.AppendUint(append(t.id, ':'), uint64(tx.CommitLSN), 10)
}

// is reports whether tx is this transaction, or a part of it if it is a giant.
func (t *transaction) is(tx *outbox.Transaction) bool {
	return t.xid == tx.XID && t.commit == tx.CommitLSN
}

// encode sets the change that is encoded next. If that is the change encoded last, its records were too large and are built again, so its events are
// subtracted first.
func (t *transaction) encode(tx *outbox.Transaction, change int) {
	if t.is(tx) && t.change == change {
		for _, c := range t.counted {
			t.uncount(c)
		}
	}
	t.change, t.counted = change, t.counted[:0]
}

func (t *transaction) count(c *collection) {
	if c.events == 0 {
		t.seen = append(t.seen, c)
	}
	c.events++
	t.events++
	t.counted = append(t.counted, c)
}

func (t *transaction) uncount(c *collection) {
	c.events--
	t.events--
	if c.events == 0 {
		t.seen = slices.DeleteFunc(t.seen, func(other *collection) bool { return other == c })
	}
}

// appendBlock counts an event and appends its field "transaction", which is null for the rows of a snapshot: no END would follow them.
func (e *Encoder) appendBlock(dst []byte, tx *outbox.Transaction, c *collection) []byte {
	if !e.config.TransactionMetadata || tx.Changes[0].Mark != outbox.NoMark {
		return append(dst, "null"...)
	}
	t := &e.transaction
	if !t.is(tx) {
		t.begin(tx)
	}
	t.count(c)
	dst = append(append(dst, `{"id":"`...), t.id...)
	dst = appendInt(append(dst, `","total_order":`...), t.events)
	dst = appendInt(append(dst, `,"data_collection_order":`...), c.events)
	return append(dst, '}')
}

// Begin appends the BEGIN record of a transaction to <prefix>.transaction.
func (e *Encoder) Begin(ctx context.Context, b *record.Batch, tx *outbox.Transaction) error {
	if !e.config.TransactionMetadata {
		return nil
	}
	e.transaction.begin(tx)
	return e.appendStatus(ctx, b, tx, "BEGIN")
}

// End appends the END record, with the number of events of the transaction in total and per table.
func (e *Encoder) End(ctx context.Context, b *record.Batch, tx *outbox.Transaction) error {
	if !e.config.TransactionMetadata {
		return nil
	}
	return e.appendStatus(ctx, b, tx, "END")
}

func (e *Encoder) appendStatus(ctx context.Context, b *record.Batch, tx *outbox.Transaction, status string) error {
	t := &e.transaction
	key := len(b.Buf)
	b.Buf = append(append(b.Buf, `{"id":"`...), t.id...)
	b.Buf = append(b.Buf, `"}`...)
	if err := e.frame(ctx, b, key, record.KeyPart, e.topics.transaction, transactionKeySchema); err != nil {
		return err
	}
	value := len(b.Buf)
	b.Buf = append(append(b.Buf, `{"status":"`...), status...)
	b.Buf = append(append(b.Buf, `","id":"`...), t.id...)
	if status == "END" {
		b.Buf = t.appendCounts(append(b.Buf, `",`...))
	} else {
		b.Buf = append(b.Buf, `","event_count":null,"data_collections":null`...)
	}
	b.Buf = appendInt(append(b.Buf, `,"ts_ms":`...), tx.CommitTime.UnixMilli())
	b.Buf = append(b.Buf, '}')
	if err := e.frame(ctx, b, value, record.ValuePart, e.topics.transaction, transactionSchema); err != nil {
		return err
	}
	b.Add(e.topics.transaction, key, value)
	return nil
}

// appendCounts appends the counts in the iteration order of Debezium's HashMap.
func (t *transaction) appendCounts(dst []byte) []byte {
	buckets := hashBuckets(len(t.seen))
	slices.SortStableFunc(t.seen, func(a, b *collection) int {
		return cmp.Compare(javaHash([]byte(a.name))&(buckets-1), javaHash([]byte(b.name))&(buckets-1))
	})
	dst = appendInt(append(dst, `"event_count":`...), t.events)
	dst = append(dst, `,"data_collections":[`...)
	for i, c := range t.seen {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = record.AppendJSONString(append(dst, `{"data_collection":`...), c.name)
		dst = appendInt(append(dst, `,"event_count":`...), c.events)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}
