package publisher

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
)

// The ends of the publisher in the simulated database under copy: the stream, the reader of tables, Kafka.

// openSource takes the slot.
func (w *shop) openSource(context.Context) (Source, error) {
	w.step()
	s := &shopSource{shop: w, received: w.acked}
	s.system = outbox.System{ID: "1", Timeline: 1, DatabaseOID: 1, Database: "d", Server: w.written, ConfirmedFlush: w.acked, PublicationHash: "h", ConsistentPoint: 1000}
	return s, nil
}

// shopSource is the stream.
type shopSource struct {
	shop     *shop
	system   outbox.System
	queue    []*outbox.Transaction
	received outbox.LSN
}

func (s *shopSource) System() outbox.System { return s.system }
func (s *shopSource) TimelineHistory(context.Context, int32) ([]outbox.TimelineSwitch, error) {
	return nil, errors.New("nobody should ask")
}

func (s *shopSource) Next(context.Context, int) ([]*outbox.Transaction, error) {
	w := s.shop
	w.step()
	if !w.calm && w.chance(100) {
		return nil, errors.New("connection lost")
	}
	for _, tx := range w.log {
		if tx.EndLSN > s.received && tx.EndLSN <= w.flushed && !w.chance(5) {
			s.queue, s.received = append(s.queue, tx), tx.EndLSN
		} else if tx.EndLSN > s.received {
			break
		}
	}
	if len(s.queue) == 0 && s.received < w.flushed && !slices.ContainsFunc(w.log, func(tx *outbox.Transaction) bool { return tx.EndLSN > s.received && tx.EndLSN <= w.flushed }) {
		s.received = w.flushed
		s.queue = append(s.queue, &outbox.Transaction{EndLSN: s.received})
	}
	if len(s.queue) == 0 {
		return nil, nil
	}
	return s.queue[:1+w.random.IntN(len(s.queue))], nil
}

func (s *shopSource) Drop(head []*outbox.Transaction) {
	s.shop.step()
	s.queue = s.queue[len(head):]
}

func (s *shopSource) Ack(upTo outbox.LSN)                     { s.shop.acked = max(s.shop.acked, upTo) }
func (s *shopSource) Received() outbox.LSN                    { return s.received }
func (s *shopSource) Err() error                              { return nil }
func (s *shopSource) CheckPublications(context.Context) error { return nil }
func (s *shopSource) Close() error                            { return nil }

// shopReader reads tables.
type shopReader struct {
	shop    *shop
	tasks   []*shopTask
	results chan outbox.Reading
}

type shopTask struct {
	task   int
	kind   string
	span   outbox.Span
	tables []outbox.ListedTable
	ticket uint64
	chunks []*outbox.Chunk // not given away
}

func (r *shopReader) add(t *shopTask) { r.tasks = append(r.tasks, t) }
func (r *shopReader) Begin(task int)  { r.add(&shopTask{task: task, kind: "begin"}) }
func (r *shopReader) List(task int)   { r.add(&shopTask{task: task, kind: "list"}) }
func (r *shopReader) Describe(task int, tables []outbox.ListedTable) {
	r.add(&shopTask{task: task, kind: "describe", tables: tables})
}
func (r *shopReader) Nudge(task int)                 { r.add(&shopTask{task: task, kind: "nudge"}) }
func (r *shopReader) Read(s outbox.Span)             { r.add(&shopTask{task: s.Task, kind: "read", span: s}) }
func (r *shopReader) Results() <-chan outbox.Reading { return r.results }
func (r *shopReader) Close()                         { r.shop.reader = nil }

// step lets one task go on.
func (r *shopReader) step() {
	w := r.shop
	if len(r.tasks) == 0 || w.chance(2) {
		return
	}
	i := w.random.IntN(len(r.tasks))
	t := r.tasks[i]
	result := outbox.Reading{Task: t.task, Done: true}
	switch {
	case !w.calm && w.chance(100):
		result.Err = errors.New("connection lost")
	case t.kind == "begin" && t.ticket == 0 && !w.fault.noWait:
		t.ticket = w.nextXID
		w.nextXID++
		return
	case t.kind == "begin":
		v := w.visible()
		if v.Xmin <= t.ticket && !w.fault.noEpoch && !w.fault.seesAll {
			return
		}
		result.Visible = &v
	case t.kind == "list":
		result.Tables = []outbox.ListedTable{{OID: 20000, Root: 20000, Schema: "public", Name: "t0"}, {OID: 20001, Root: 20001, Schema: "public", Name: "t1"},
			{OID: pagesTable.OID, Root: pagesTable.OID, Schema: "public", Name: "pages"}}
	case t.kind == "describe":
		result.Refused = map[uint32]error{}
		for _, table := range t.tables {
			if w.chance(3) {
				w.counts.refused++
				result.Refused[table.OID] = outbox.ErrTableRefused
				continue
			}
			result.Relations = append(result.Relations, shopRelation(table.OID))
		}
	case t.kind == "nudge":
		w.written++
		w.flushed = w.written
	case t.chunks == nil && w.chance(50):
		result.Err = outbox.ErrTableRefused
	case t.chunks == nil:
		r.read(t)
		return
	default:
		result.Chunk, t.chunks = t.chunks[0], t.chunks[1:]
		result.Done = len(t.chunks) == 0
	}
	if result.Done {
		r.tasks = slices.Delete(r.tasks, i, i+1)
	}
	r.results <- result
}

// read takes a snapshot and reads rows after a key, in chunks.
func (r *shopReader) read(t *shopTask) {
	w := r.shop
	n := int(t.span.Table - 20000)
	at := w.written
	if w.fault.early {
		at = 0
	}
	var keys []int
	if n == pagesPlace {
		keys = slices.Sorted(maps.Keys(w.pages.rows))
	} else {
		keys = slices.Sorted(maps.Keys(w.tables[n]))
	}
	if t.span.After != nil {
		after, _ := strconv.Atoi(string(t.span.After[0]))
		keys = slices.DeleteFunc(keys, func(key int) bool { return key <= after })
	}
	if t.span.Keys != nil {
		upTo := shopKeys
		if t.span.UpTo != nil && !w.fault.doubles {
			upTo, _ = strconv.Atoi(string(t.span.UpTo[0]))
		}
		keys = slices.DeleteFunc(keys, func(key int) bool { return w.fault.unmoved || key > upTo || !asked(t.span.Keys, key) })
		w.counts.byKey += len(keys)
	}
	limit := min(len(keys), 1+w.random.IntN(20))
	end := limit == len(keys)
	visible := w.visible()
	for from := 0; from == 0 || from < limit; {
		c := &outbox.Chunk{Table: t.span.Table, Relation: shopRelation(t.span.Table), Visible: visible, At: at, Time: w.clock}
		to := min(limit, from+1+w.random.IntN(8))
		for _, key := range keys[from:to] {
			if n == pagesPlace {
				c.Add(pageTuple(w.pages.rows[key]))
			} else {
				c.Add(shopTuple(key, w.tables[n][key], true))
			}
			c.Last = [][]byte{strconv.AppendInt(nil, int64(key), 10)}
		}
		if w.fault.skips && to < len(keys) {
			c.Last = [][]byte{strconv.AppendInt(nil, int64(keys[to]), 10)}
		}
		from = max(to, 1)
		if t.span.Keys != nil {
			c.Last = nil
		}
		c.End = end && to == limit
		t.chunks = append(t.chunks, c)
	}
}

func asked(keys [][][]byte, key int) bool {
	return slices.ContainsFunc(keys, func(k [][]byte) bool { return string(k[0]) == strconv.Itoa(key) })
}

// shopLog is Kafka.
type shopLog struct {
	shop *shop
	sent []record.Record
}

func (l *shopLog) Fence(context.Context, outbox.System) (*Position, error) {
	l.shop.step()
	l.sent = nil
	if l.shop.recorded == nil {
		return nil, nil
	}
	value, err := l.shop.recorded.Marshal()
	if err != nil {
		return nil, err
	}
	p, err := ParsePosition(value)
	if err == nil && l.shop.fault.forgets {
		l.shop.forgetMoved(p.Snapshots)
	}
	return p, err
}

func (l *shopLog) Send(_ context.Context, b *record.Batch) error {
	l.shop.step()
	for _, r := range b.Records() {
		l.sent = append(l.sent, record.Record{Topic: r.Topic, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value), Headers: slices.Clone(r.Headers), Everywhere: r.Everywhere})
		for i := range r.Headers {
			l.sent[len(l.sent)-1].Headers[i].Value = bytes.Clone(r.Headers[i].Value)
		}
	}
	return nil
}

func (l *shopLog) Publish(_ context.Context, b *record.Batch, p Position) error {
	w := l.shop
	w.step()
	if !w.calm && w.chance(60) {
		l.sent = nil
		return errors.New("aborted")
	}
	for _, r := range append(l.sent, b.Records()...) {
		w.fold(r)
	}
	l.sent = nil
	w.check(p.EndLSN)
	if w.recorded != nil && p.EndLSN < w.recorded.EndLSN {
		panic(violation(fmt.Sprintf("position %s after %s", p.EndLSN, w.recorded.EndLSN)))
	}
	value, err := p.Marshal() // what it points to may change
	if err != nil {
		return err
	}
	if w.recorded, err = ParsePosition(value); err != nil {
		return err
	}
	if s := w.recorded.Snapshots; s != nil && len(s.Finished) == 1 && w.counts.finished == 0 && w.counts.emptied == 0 {
		w.complete()
	}
	if w.recorded.Snapshots != nil {
		w.counts.finished = max(w.counts.finished, len(w.recorded.Snapshots.Finished))
	}
	w.step()
	if !w.calm && w.chance(60) {
		return errors.New("reply lost")
	}
	return nil
}

func (l *shopLog) Close() {}

// shopFormat writes shopRecords.
type shopFormat struct{ believes bool }

func (shopFormat) Begin(context.Context, *record.Batch, *outbox.Transaction) error { return nil }
func (shopFormat) End(context.Context, *record.Batch, *outbox.Transaction) error   { return nil }

func (f shopFormat) Identity(_ context.Context, r *pgoutput.Relation, _ record.Place) (record.Identity, error) {
	if f.believes || r == pagesTable {
		return record.LoggedIdentity(r), nil
	}
	return record.Identity{Columns: []int{0}}, nil
}

func (shopFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	c := &tx.Changes[i]
	var v shopRecord
	switch c.Op {
	case outbox.Read:
		v.Op = "r"
	default:
		v.Op = string(c.Op)
	}
	if c.New != nil {
		v.ID, v.N, v.Big = shopValues(c.New)
	}
	v.Old = v.ID
	if c.Old != nil {
		v.Old, _, _ = shopValues(c.Old)
	}
	value, err := json.Marshal(v)
	if err != nil {
		return err
	}
	key := len(b.Buf)
	b.Buf = binary.BigEndian.AppendUint16(b.Buf, uint16(c.Relation.OID-20000))
	start := len(b.Buf)
	b.Buf = append(b.Buf, value...)
	b.Add("p."+c.Relation.Schema+"."+c.Relation.Name, key, start)
	return nil
}

func shopValues(t pgoutput.Tuple) (id, n int, big string) {
	var values []string
	for c := t.Columns(); c.Next(); {
		values = append(values, string(c.Value()))
	}
	id, _ = strconv.Atoi(values[0])
	if len(values) == 1 { // of pagesTable
		return id, 0, ""
	}
	n, _ = strconv.Atoi(values[1])
	return id, n, values[2]
}
