package apply

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/subscriber/decode"
)

// Limits of a batch, and of the target transactions built from batches.
const (
	maxArenaBytes  = 8 << 20
	maxBatchEvents = 100_000
	maxChanges     = 1_000                 // changes that are written one by one
	minBatchTime   = 10 * time.Millisecond // while more events are waiting
	idleFence      = 5 * time.Second       // how often the position is written to the target when nothing changes
)

// assembler builds batches from events and hands them to the writer. It runs on one goroutine. It has two batches: one is being filled while the
// other is being written.
type assembler struct {
	cfg      *Config
	log      *zap.Logger
	source   stream
	topics   *feed // of the source; nil: the source is an archive
	target   *target
	decoder  decoder
	envelope envelope

	tables  map[string]*table // by identity, as in the next two
	absent  map[string]bool   // tables that are not applied
	loading map[string]load
	touched map[string]string // table names by OID
	copies  map[string]string // ids of snapshots that have delivered rows, with the table of the latest row
	known   []copyID          // snapshots at the last mark up to which everything was taken
	name    []byte

	batch  *batch
	spare  *batch // nil: it is being written
	work   chan *batch
	free   chan *batch
	mark   *progress
	end    LSN  // end of the last batch that was handed over up to a boundary
	past   LSN  // all transactions that committed before this LSN have been added
	inside bool // a part of a transaction has been handed over, but not its end
	fenced time.Time
	until  *Until
	done   bool
	pace   pacer

	carefulUntil LSN // transactions that commit up to here are written change by change
	skipTo       LSN // transactions that committed before it are skipped
	once         LSN // stop once everything before this LSN has been applied; 0: do not stop

	latest     event           // the change from the WAL that was added last
	commitTime time.Time       // of the last transaction that was handed over up to a boundary
	ddlOf      LSN             // the transaction that ddlNext is for
	ddlNext    map[string]*int // by the text of the Query: see nextOf
}

// load is a copy that has not delivered all rows of a table yet.
type load struct {
	ID      string `json:"id"`               // "": any copy
	Emptied LSN    `json:"emptied,omitzero"` // place of the records with which a resync empties the table; the id alone may have been used before
}

// UnmarshalJSON also reads a bare id, which an earlier build wrote.
func (l *load) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &l.ID)
	}
	type plain load
	return json.Unmarshal(text, (*plain)(l))
}

// everything is the key in loading that means all tables.
const everything = "*"

// hand passes the batch to the writer, as a part of a transaction that continues, or up to a boundary.
func (a *assembler) hand(ctx context.Context, more bool) error {
	b := a.batch
	b.more, b.careful = more, b.last <= a.carefulUntil
	if !more {
		b.end = max(a.end, a.past)
		if a.mark != nil && a.source.drained() && !a.done {
			b.end = max(b.end, a.mark.EndLSN)
			a.endLoading()
			a.known = a.mark.copies()
		}
		a.end = b.end
		b.topics = maps.Clone(a.source.topics())
		b.offsets, b.loading, b.copies = a.source.taken(), maps.Clone(a.loading), a.known
		if a.latest.record != nil {
			b.commitTime, _, _ = a.cfg.commitOf(ctx, a.latest)
			a.commitTime = later(a.commitTime, b.commitTime)
		}
		a.fenced = time.Now()
	}
	if err := a.pace.wait(ctx, b.events); err != nil {
		return err
	}
	if err := a.settle(ctx); err != nil {
		return err
	}
	select {
	case a.work <- b:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	a.inside = more
	a.batch, a.spare = a.spare, nil
	a.batch.reset()
	a.batch.last = b.last
	return nil
}

// maxEvents bounds a batch so that a rate limit does not make it take longer than a second.
func (a *assembler) maxEvents() int {
	if a.pace.perSecond > 0 {
		return min(maxBatchEvents, a.pace.perSecond)
	}
	return maxBatchEvents
}

// settle waits until the writer is idle, so that its connection may be used.
func (a *assembler) settle(ctx context.Context) error {
	if a.spare != nil {
		return nil
	}
	select {
	case a.spare = <-a.free:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// idle reports whether the writer is idle.
func (a *assembler) idle() bool {
	if a.spare == nil {
		select {
		case a.spare = <-a.free:
		default:
		}
	}
	return a.spare != nil
}

// advance builds batches from the events that may be taken.
func (a *assembler) advance(ctx context.Context) error {
	for !a.done {
		e, ok := a.source.peek()
		if !ok {
			break
		}
		if e.commit != a.batch.last || !a.inside && a.batch.transactions == 0 {
			if err := a.boundary(ctx, e); err != nil || a.done {
				return err
			}
		}
		a.source.take()
		if err := a.add(ctx, e); err != nil {
			return before(e.commit, err)
		}
	}
	if err := a.source.broken(); err != nil {
		return err
	}
	if !a.source.drained() || a.done {
		return nil
	}
	if b := a.batch; !b.empty() || a.inside || a.end < a.mark.EndLSN && (a.once > 0 || time.Since(a.fenced) > idleFence) {
		if a.idle() {
			return a.hand(ctx, false)
		}
	}
	return nil
}

// boundary is called before the first event of a transaction.
func (a *assembler) boundary(ctx context.Context, next event) error {
	b := a.batch
	if a.until != nil {
		reached, err := a.until.reached(ctx, a.cfg, next)
		if err != nil {
			return err
		}
		if reached {
			a.done = true
			return a.hand(ctx, false)
		}
	}
	alone := next.from.ddl && outsideTransaction(next.record.Value)
	full := len(b.arena) >= maxArenaBytes || b.events >= a.maxEvents()
	careful := b.last != 0 && b.last <= a.carefulUntil
	if (!b.empty() || a.inside) && (full || careful || alone || a.inside || time.Since(b.began) > minBatchTime && a.idle()) {
		if err := a.hand(ctx, false); err != nil {
			return err
		}
	}
	b = a.batch
	if b.empty() {
		b.began = time.Now()
	}
	b.last = next.commit
	b.transactions++
	return nil
}

// add adds an event to the batch.
func (a *assembler) add(ctx context.Context, e event) error {
	if len(a.batch.arena) >= maxArenaBytes || a.batch.events >= a.maxEvents() || len(a.batch.changes) >= maxChanges {
		if err := a.hand(ctx, true); err != nil {
			return err
		}
	}
	a.past = max(a.past, e.commit)
	if e.snapshot == nil {
		a.latest = e
		// a transaction may have committed exactly at the position that a snapshot has read
		a.past = max(a.past, e.commit+1)
	}
	if e.commit < a.skipTo {
		return nil
	}
	if e.from.ddl {
		return a.addDDL(ctx, e)
	}
	if headerOf(e.record, record.EventSourceHeader) != nil { // an event of the application: its topic may hold rows too
		return nil
	}
	value, err := a.cfg.payloadOf(ctx, e.record.Value)
	if err != nil {
		return placed(e.record, err)
	}
	if err := a.envelope.read(value, &e.from.table); err != nil {
		return unreadable(e, err)
	}
	t, err := a.table(ctx)
	if err != nil || t == nil {
		return err
	}
	switch resync := headerOf(e.record, headerResync); {
	case resync != nil: // e.snapshot would not do: the event id of a record that empties a table may end in the partition's number
		a.copied(resync, t)
	case e.snapshot != nil:
		a.copied(e.snapshot, t)
	}
	a.batch.events++
	if a.envelope.op == 't' {
		return a.addTruncate(ctx, t, e)
	}
	return a.addRow(ctx, t, e)
}

// unreadable is the error for a record that cannot be decoded.
func unreadable(e event, err error) error {
	if isHalt(err) {
		return err
	}
	return Halt{fmt.Sprintf("%s: %v", placeOf(e.record), err), "check that the flags for the forms of values are those of the publisher, and that the columns of the target have the types of the source"}
}

// table returns the target's table for the envelope; nil if the table is not applied.
func (a *assembler) table(ctx context.Context) (*table, error) {
	a.name = a.envelope.identity(a.name[:0])
	if t := a.tables[string(a.name)]; t != nil {
		return t, nil
	}
	if a.absent[string(a.name)] {
		return nil, nil
	}
	id, name := string(a.name), string(a.envelope.name(nil))
	if !a.cfg.includes(name) {
		a.absent[id] = true
		return nil, nil
	}
	if err := a.settle(ctx); err != nil {
		return nil, err
	}
	schema, plain := a.cfg.mapped(decode.Unquoted(a.envelope.schema), decode.Unquoted(a.envelope.table))
	t, err := a.target.catalog.table(ctx, schema, plain)
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, Halt{fmt.Sprintf("the target has no table %s.%s for %s of the stream", schema, plain, name),
			"create it as the source has it, map it to another with --map, or leave it out with --exclude-tables " + name}
	}
	if err := a.target.checkTriggers(ctx, t); err != nil {
		return nil, err
	}
	t.source, t.id, t.policy = name, id, a.cfg.policyOf(name)
	_, own := a.loading[id]
	_, all := a.loading[everything]
	t.loading = own || all
	a.tables[id], a.touched[t.oid] = t, t.name
	return t, nil
}

// forget discards all tables, so that they are looked up again. The batch is handed over before, because it uses them as they are.
func (a *assembler) forget(ctx context.Context) error {
	if !a.batch.empty() {
		if err := a.hand(ctx, true); err != nil {
			return err
		}
	}
	clear(a.tables)
	clear(a.absent)
	return nil
}

// beginLoading is called with every mark: rows of a snapshot that was not known before may precede the mark or follow it.
func (a *assembler) beginLoading(ctx context.Context) error {
	if _, all := a.loading[everything]; all || !a.mark.hasOther(a.known) {
		return nil
	}
	a.loading[everything] = load{}
	return a.forget(ctx)
}

// endLoading ends the loading of tables whose snapshots have finished. Everything before the watermark must have been taken.
func (a *assembler) endLoading() {
	for name, l := range a.loading {
		if !a.mark.copying(l.ID) {
			delete(a.loading, name)
			a.forgetLoading(name)
		}
	}
}

func (a *assembler) forgetLoading(name string) {
	a.log.Info("the rows of the snapshot are applied: from here on a missing row is a conflict", zap.String("table", name))
	for id, t := range a.tables {
		if name == everything || name == id {
			_, own := a.loading[id]
			t.loading = own
		}
	}
}

func (a *assembler) addTruncate(ctx context.Context, t *table, e event) error {
	resync := string(headerOf(e.record, headerResync))
	var l load
	if resync != "" {
		id, _, err := idOf(e.record)
		if err != nil {
			return unreadable(e, err)
		}
		l = load{resync, id.commit}
		if was := a.loading[t.id]; was == l || was == (load{ID: resync}) {
			return nil // each partition has such a record, and rows may have come in between
		}
	}
	b := a.batch
	if len(b.tables) > 0 || len(b.changes) > 0 || b.ddl != nil || len(b.truncate) > 0 && resync != b.resync {
		if err := a.hand(ctx, true); err != nil {
			return err
		}
		b = a.batch
		b.events++
	}
	b.truncate, b.resync = append(b.truncate, t), resync
	if resync != "" {
		a.loading[t.id] = l
		t.loading = true
	}
	return nil
}

// addRow adds a row.
func (a *assembler) addRow(ctx context.Context, t *table, e event) (err error) {
	b := a.batch
	if len(b.truncate) > 0 || b.ddl != nil {
		if err := a.hand(ctx, true); err != nil {
			return err
		}
		b = a.batch
		b.events++
	}
	if headerOf(e.record, headerNewKey) != nil && a.envelope.op == 'd' {
		return nil // the row continues under another key; the record for that key describes the change
	}
	keyed := e.record.Key != nil
	op := a.envelope.op
	d := &a.decoder
	var key, old span
	if keyed {
		json, err := a.cfg.payloadOf(ctx, e.record.Key)
		if err != nil {
			return placed(e.record, err)
		}
		if key, err = d.keyOf(b, t, json); err != nil {
			return unreadable(e, err)
		}
	}
	oldKey := headerOf(e.record, headerOldKey)
	if oldKey != nil {
		if old, err = d.keyOf(b, t, oldKey); err != nil {
			return unreadable(e, err)
		}
	}
	left := headerOf(e.record, headerLeftOut) != nil
	if a.envelope.after != nil {
		if d.row, err = d.rowOf(b, t, a.envelope.after, a.envelope.values, "after", d.row); err != nil {
			return unreadable(e, err)
		}
	} else {
		d.row = slices.Grow(d.row[:0], len(t.columns))[:len(t.columns)]
		clear(d.row)
	}
	d.cut = left && op != 'd' && !t.described(d.row)                                    // a DELETE needs no values
	nulls := hasNull(b.arena[key.start:key.end]) || hasNull(b.arena[old.start:old.end]) // found by another statement than other keys
	if b.last <= a.carefulUntil || nulls || !keyed && (op == 'u' || op == 'd') || d.cut || len(b.changes) > 0 {
		return a.addChange(ctx, t, e, key, old, keyed, oldKey != nil)
	}
	var keys []int
	if keyed {
		keys = t.keys.columns
	}
	part := b.of(t)
	if len(part.rows) > 0 && !slices.Equal(part.keys, keys) { // the key of the table has changed
		if err := a.hand(ctx, true); err != nil {
			return err
		}
		a.batch.events++
		return a.addRow(ctx, t, e)
	}
	part.keys = keys
	var fits bool
	switch {
	case oldKey == nil:
		fits = part.put(b, op, key, d.row)
	case t.complete(d.row):
		fits = part.replace(b, old, key, d.row)
	default:
		fits = part.move(b, old, key, d.row)
	}
	if fits {
		return nil
	}
	return a.addChange(ctx, t, e, key, old, keyed, oldKey != nil)
}

// addChange adds a change that is written by itself, after everything already in the batch.
func (a *assembler) addChange(ctx context.Context, t *table, e event, key, old span, keyed, moved bool) error {
	b := a.batch
	if len(b.tables) > 0 {
		if err := a.hand(ctx, true); err != nil {
			return err
		}
		a.batch.events++
		return a.addAlone(ctx, t, e)
	}
	c := change{table: t, op: a.envelope.op, record: e.record, place: e.place, key: key, moved: moved, cut: a.decoder.cut, whole: t.described(a.decoder.row), row: slices.Clone(a.decoder.row)}
	if moved {
		c.op, c.key = 'u', old
	}
	if keyed {
		c.keys = t.keys.columns
	} else if a.envelope.before != nil {
		var err error
		if a.decoder.old, err = a.decoder.rowOf(b, t, a.envelope.before, a.envelope.values, "before", a.decoder.old); err != nil {
			return unreadable(e, err)
		}
		if t.described(a.decoder.old) {
			c.old = slices.Clone(a.decoder.old)
		}
	}
	b.changes = append(b.changes, c)
	return nil
}

// addAlone decodes a change again, into the new batch.
func (a *assembler) addAlone(ctx context.Context, t *table, e event) error {
	until := a.carefulUntil
	a.carefulUntil = max(until, a.batch.last)
	defer func() { a.carefulUntil = until }()
	return a.addRow(ctx, t, e)
}
