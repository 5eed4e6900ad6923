package debezium

import (
	"bytes"
	"context"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/record"
)

// writer appends the records of one change.
type writer struct {
	*Encoder
	ctx   context.Context
	batch *record.Batch
	tx    *outbox.Transaction
	index int
	table *table
}

// move is the header of a record whose row continues under another key, or came from one.
type move struct {
	header string // "": the key did not change
	key    []byte
}

var stays = move{}

// frame frames the payload that reaches from start to the end of the batch's buffer.
func (w *writer) frame(start int, part record.Part, topic string, schema *record.Schema) error {
	return w.Encoder.frame(w.ctx, w.batch, start, part, topic, schema)
}

// update appends an update. A change of the key becomes a delete of the old key and a create of the new one.
func (w *writer) update() error {
	if !w.before.present {
		return w.write('u', nil, &w.after, stays)
	}
	var err error
	if w.oldKey, err = w.table.appendKey(w.oldKey[:0], &w.before, w.collectLost()); err != nil {
		return err
	}
	if w.newKey, err = w.table.appendKey(w.newKey[:0], &w.after, w.collectLost()); err != nil {
		return err
	}
	if bytes.Equal(w.oldKey, w.newKey) {
		if w.config.SkipUnchanged && w.unchanged() {
			return nil
		}
		return w.write('u', &w.before, &w.after, stays)
	}
	if err := w.delete(move{"__debezium.newkey", w.newKey}); err != nil {
		return err
	}
	return w.write('c', nil, &w.after, move{"__debezium.oldkey", w.oldKey})
}

// unchanged reports whether the update left all published columns as they were. A value may have changed if the WAL does not have it in both rows: the
// old row may consist of its key only, and the longest values of a record that is too large are left out.
func (w *writer) unchanged() bool {
	for i := range w.after.values {
		if !w.table.columns[i].hidden && (w.before.values[i].isMissing() || w.after.values[i].isMissing()) {
			return false
		}
	}
	w.oldRow = w.table.appendRow(w.oldRow[:0], &w.before, nil)
	w.newRow = w.table.appendRow(w.newRow[:0], &w.after, nil)
	return bytes.Equal(w.oldRow, w.newRow)
}

// delete appends a delete and its tombstone.
func (w *writer) delete(m move) error {
	if w.config.Skip.has('d') {
		return nil
	}
	hasValue, tombstone := w.config.deletes()
	if !hasValue {
		w.count()
	} else if err := w.write('d', &w.before, nil, m); err != nil {
		return err
	}
	if !tombstone {
		return nil
	}
	key, err := w.key(&w.before)
	if err != nil {
		return err
	}
	w.batch.Add(w.table.topic, key, record.Null)
	w.headers(m)
	w.tombstoneHeaders()
	return nil
}

// deletes reports whether a delete has a record with a value, and whether it has a tombstone.
func (c *Config) deletes() (hasValue, tombstone bool) {
	if c.Envelope != Flat {
		return true, !c.NoTombstones
	}
	mode := c.Flat.Deletes // the tombstone of DeleteTombstone is the delete itself
	return mode.rewrites(), mode == DeleteTombstone || mode == DeleteRewriteWithTombstone && !c.NoTombstones
}

// write appends a record under the key of after or, without after, of before.
func (w *writer) write(op byte, before, after *row, m move) error {
	if w.config.Skip.has(op) {
		return nil
	}
	identity := after
	if after == nil {
		identity = before
	}
	key, err := w.key(identity)
	if err != nil {
		return err
	}
	return w.record(op, key, before, after, m)
}

// truncate appends the record that marks all rows of the table as deleted, to each partition of its topic.
func (w *writer) truncate() error {
	if err := w.record('t', record.Null, nil, nil, stays); err != nil {
		return err
	}
	w.batch.Everywhere()
	return nil
}

// record adds a record; key is the offset of its key in the buffer.
func (w *writer) record(op byte, key int, before, after *row, m move) error {
	b, value := w.batch, len(w.batch.Buf)
	if err := w.value(op, key, before, after); err != nil {
		return err
	}
	b.Add(w.table.topic, key, value)
	w.headers(m)
	w.flatHeaders(op)
	w.cloudEventHeaders(op)
	return nil
}

// count counts the event in the transaction metadata.
func (w *writer) count() { w.block = w.appendBlock(w.block[:0], w.tx, w.table.events) }

// headers adds the headers that Debezium gives to records of tables to the last record.
func (w *writer) headers(m move) {
	if m.header != "" {
		w.batch.Header(m.header, m.key)
	}
	for _, h := range w.context {
		w.batch.Header(h.Key, h.Value)
	}
	w.batch.AddTrace(w.tx, w.index)
}

// key appends the key of a row to the batch and returns its offset.
func (w *writer) key(r *row) (int, error) {
	if w.table.key == nil {
		return record.Null, nil
	}
	start := len(w.batch.Buf)
	buf, err := w.table.appendKey(w.batch.Buf, r, w.collectLost())
	if err != nil {
		return 0, err
	}
	w.batch.Buf = buf
	return start, w.frame(start, record.KeyPart, w.table.topic, w.table.schemas.key)
}
