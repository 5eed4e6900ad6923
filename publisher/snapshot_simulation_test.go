package publisher

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/snapshot"
	"go.uber.org/zap"
)

// A simulated database of three tables, one of them partitioned with REPLICA IDENTITY FULL of the root alone, and one without a key (see pages), whose transactions run side by side: what has
// committed is in the log before others see it, for as long as the seed likes. Its rows have a large value that updates may leave out of the log. The real loop
// copies the tables while they are written, and dies between any two steps. In the end the topics, folded by key, must be the
// tables, and no row of a copy may stand in them twice.

func TestSnapshotSimulation(t *testing.T) {
	const seeds = 25
	var total shopCounts
	for seed := range uint64(seeds) {
		w := newShop(seed, plantedFault{})
		if err := w.run(); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, w.steps, err)
		}
		total.add(w.counts)
	}
	t.Logf("%+v", total)
	if total.crashes < seeds || total.copied < 100*seeds || total.finished < 2*seeds || total.overtaken < seeds || total.filled < seeds || total.byKey < seeds || total.emptied < seeds/2 || total.refused < seeds/2 {
		t.Error("the simulation hardly does anything")
	}
}

// Each of these faults must be seen.
func TestSnapshotSimulationSeesFaults(t *testing.T) {
	for name, fault := range map[string]plantedFault{
		"recording begins too late":       {noWait: true},
		"published before its place":      {early: true},
		"the stream does not win":         {seesAll: true},
		"a restart skips rows":            {skips: true},
		"values are not filled":           {unfilled: true},
		"transaction ids without epoch":   {noEpoch: true},
		"moved rows are not noted":        {unnoted: true},
		"a restart forgets moved rows":    {forgets: true},
		"moved rows are not read":         {unmoved: true},
		"moved rows are read too early":   {doubles: true},
		"the root's identity is believed": {believes: true},
	} {
		found := false
		for seed := uint64(0); seed < 120 && !found; seed++ {
			found = newShop(seed, fault).run() != nil
		}
		if !found {
			t.Errorf("%s: nobody notices", name)
		}
	}
}

// plantedFault is what the simulated reader gets wrong.
type plantedFault struct{ noWait, early, seesAll, skips, unfilled, noEpoch, unnoted, forgets, unmoved, doubles, believes bool }

type shopCounts struct{ crashes, copied, finished, overtaken, filled, byKey, emptied, refused int }

func (c *shopCounts) add(o shopCounts) {
	c.crashes += o.crashes
	c.copied += o.copied
	c.finished += o.finished
	c.overtaken += o.overtaken
	c.filled += o.filled
	c.byKey += o.byKey
	c.emptied += o.emptied
	c.refused += o.refused
}

const (
	shopSteps = 3000
	shopKeys  = 40
)

// shop is the database, Kafka, and what must be true of them.
type shop struct {
	random *rand.Rand
	fault  plantedFault
	clock  time.Time
	steps  int
	calm   bool // nobody writes any more, and nothing fails
	counts shopCounts

	tables  [2]map[int]shopRow // what new snapshots see
	locked  [2]map[int]bool    // keys that a transaction holds
	open    []*shopTx          // not visible to others: running, or committed and not seen yet
	nextXID uint64
	version int

	log     []*outbox.Transaction // committed, in the order of the log
	written outbox.LSN            // end of the log
	flushed outbox.LSN            // what of it is sent
	acked   outbox.LSN

	recorded *Position
	applied  int                // transactions of the log that the position covers
	state    [2]map[int]shopRow // of the tables after those
	topics   [2]map[int]shopRow
	ids      map[string]bool
	roomy    bool               // no copy of a table begins again
	read     [2]map[string]bool // by copy and key: it was read since the row has this key
	asked    int
	missed   map[string]missedRow // by the id of the resync that tells of it
	ghosts   [2]map[int]bool      // keys whose deletion is not in the stream, until the topic is emptied
	reader   *shopReader
	pages    pages

	publisher *Publisher
}

type shopRow struct {
	N   int
	Big string
}

// missedRow is a row whose deletion is not in the log.
type missedRow struct{ table, key int }

// shopTx is a transaction that others do not see yet.
type shopTx struct {
	xid       uint64
	changes   []outbox.Change
	effects   []func()
	keys      [2][]int
	committed bool
}

func newShop(seed uint64, fault plantedFault) *shop {
	w := &shop{
		random: rand.New(rand.NewPCG(seed, 2)), fault: fault, clock: time.Unix(1e9, 0), nextXID: 1<<32 - 150,
		written: 1000, flushed: 1000, acked: 1000, ids: map[string]bool{}, roomy: seed%2 == 0, missed: map[string]missedRow{},
	}
	w.pages.fill(w)
	for i := range w.tables {
		w.ghosts[i] = map[int]bool{}
		w.tables[i], w.locked[i], w.topics[i], w.read[i] = map[int]shopRow{}, map[int]bool{}, map[int]shopRow{}, map[string]bool{}
		for key := range shopKeys {
			if w.chance(2) {
				w.tables[i][key] = w.newRow()
			}
		}
		w.state[i] = maps.Clone(w.tables[i])
	}
	return w
}

func (w *shop) newRow() shopRow {
	w.version++
	return shopRow{w.version, "big " + strconv.Itoa(w.version)}
}

func (w *shop) chance(oneIn int) bool { return w.random.IntN(oneIn) == 0 }

// run starts publishers, one after the other has died, until the steps are used up and everything is published.
func (w *shop) run() error {
	for {
		done, err := w.live()
		if err != nil || done {
			return err
		}
		w.counts.crashes++
	}
}

func (w *shop) live() (done bool, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case crash:
		case over:
			done, err = true, w.compare()
		case violation:
			err = errors.New(string(r))
		default:
			panic(r)
		}
	}()
	cfg := Config{Prefix: "p", Database: "d", Slot: "s", IdleProgress: 10 * time.Second, CheckPublications: time.Hour}
	cfg.Snapshot = snapshot.Config{Mode: snapshot.Initial, Open: func() snapshot.TableReader {
		w.reader = &shopReader{shop: w, results: make(chan outbox.Reading, 10000)}
		return w.reader
	}}
	cfg.Snapshot.MaxHeldBytes = []int{1, 200, 1 << 20}[w.random.IntN(3)]
	cfg.Snapshot.MaxOverlayBytes = []int{2000, 1 << 20}[w.random.IntN(2)]
	cfg.Snapshot.MaxMovedBytes = []int{40, 200, 1 << 20}[w.random.IntN(3)]
	if w.roomy {
		cfg.Snapshot.MaxMovedBytes, cfg.Snapshot.LongMovedBytes = 1<<20, []int{1, 60, 1 << 20}[w.random.IntN(3)]
	}
	cfg = cfg.WithDefaults()
	cfg.Log = zap.NewNop()
	p := newPublisher(cfg, w.openSource, &shopLog{shop: w}, shopFormat{w.fault.believes})
	p.part = []int{1, partBytes}[w.random.IntN(2)]
	w.publisher = p
	p.now = func() time.Time { return w.clock }
	p.pause = func(context.Context, time.Duration) error { w.step(); return nil }
	if err := p.Run(context.Background()); err != nil {
		return false, fmt.Errorf("the publisher halted: %w", err)
	}
	return false, errors.New("the publisher stopped by itself")
}

// step is the place between two steps of a publisher, where anything may happen.
func (w *shop) step() {
	w.steps++
	w.clock = w.clock.Add(time.Duration(w.random.IntN(200)) * time.Millisecond)
	w.calm = w.calm || w.steps > shopSteps
	if w.steps > 20*shopSteps {
		panic(violation("the copies do not end"))
	}
	if w.calm && len(w.open) == 0 && w.settled() {
		panic(over{})
	}
	for range 1 + w.random.IntN(3) {
		w.write()
	}
	if w.fault.unnoted {
		w.forgetMoved(w.publisher.copier.State())
	}
	if w.reader != nil {
		w.reader.step()
	}
	if w.chance(3) {
		w.flushed = w.written
	}
	if !w.calm && w.chance(60) {
		panic(crash{})
	}
}

// forgetMoved loses the lists of rows that have moved.
func (w *shop) forgetMoved(s *snapshot.State) {
	if s == nil {
		return
	}
	for i := range s.Copies {
		for j := range s.Copies[i].Working {
			s.Copies[i].Working[j].Moved = snapshot.MovedRows{}
		}
	}
}

// settled reports whether all is published.
func (w *shop) settled() bool {
	return w.recorded != nil && w.recorded.EndLSN >= w.written && (w.recorded.Snapshots == nil || len(w.recorded.Snapshots.Copies) == 0)
}

// write lets one transaction go on.
func (w *shop) write() {
	switch {
	case !w.calm && len(w.open) < 6 && w.chance(3):
		w.open = append(w.open, &shopTx{xid: w.nextXID})
		w.nextXID++
		return
	case len(w.open) == 0:
		return
	}
	i := w.random.IntN(len(w.open))
	tx := w.open[i]
	switch {
	case tx.committed && (w.calm || w.chance(4)):
		w.show(i)
	case tx.committed:
	case w.calm || w.chance(4):
		w.commit(tx)
	default:
		w.change(tx)
	}
}

// commit writes the commit record. Others see it later.
func (w *shop) commit(tx *shopTx) {
	tx.committed = true
	if !w.calm && w.chance(15) && w.asked < 4 {
		w.asked++
		tx.changes = append(tx.changes, outbox.Change{Op: outbox.Signal, Note: -1, Signal: &outbox.SignalRecord{
			ID: "again" + strconv.Itoa(w.asked), Type: outbox.ExecuteSnapshot, Tables: []string{[]string{"public.*", "public.t1"}[w.random.IntN(2)]},
		}})
	}
	if !w.calm && w.chance(10) && w.asked < 7 {
		w.miss(tx)
	}
	w.written += outbox.LSN(1 + w.random.IntN(100))
	for i := range tx.changes {
		tx.changes[i].Ordinal = i
	}
	w.log = append(w.log, &outbox.Transaction{
		XID: outbox.XID(uint32(tx.xid)), CommitLSN: w.written - 1, EndLSN: w.written, CommitTime: w.clock, Changes: tx.changes, Bytes: 100,
	})
}

// miss deletes a row without a record in the log, and asks for the table afresh.
func (w *shop) miss(tx *shopTx) {
	t, key := w.random.IntN(2), w.random.IntN(shopKeys)
	if _, there := w.tables[t][key]; !there || w.locked[t][key] {
		return
	}
	w.asked++
	w.lock(tx, t, key)
	tx.effects = append(tx.effects, func() { delete(w.tables[t], key) })
	id := outbox.MissedPrefix + strconv.Itoa(w.asked)
	w.missed[id] = missedRow{t, key}
	tx.changes = append(tx.changes, outbox.Change{Op: outbox.Signal, Note: -1, Signal: &outbox.SignalRecord{
		ID: id, Type: outbox.Resync, User: "sweep", Tables: []string{[]string{"public.*", "public." + shopTables[t].Name}[w.random.IntN(2)]},
	}})
}

// show makes a transaction visible, and frees its rows.
func (w *shop) show(i int) {
	tx := w.open[i]
	for _, effect := range tx.effects {
		effect()
	}
	for t := range tx.keys {
		for _, key := range tx.keys[t] {
			delete(w.locked[t], key)
		}
	}
	w.open = slices.Delete(w.open, i, i+1)
}

// change writes one row of a table that nobody holds.
func (w *shop) change(tx *shopTx) {
	if w.chance(8) {
		w.pages.change(w, tx)
		return
	}
	t, key := w.random.IntN(2), w.random.IntN(shopKeys)
	if w.locked[t][key] {
		return
	}
	w.lock(tx, t, key)
	row, there := w.tables[t][key]
	relation := shopTables[t]
	apply := func(c outbox.Change, effect func()) {
		c.Note, c.Relation = -1, relation
		if c.Old != nil && relation.Identity == 'f' {
			c.OldKind = 'O'
		}
		tx.changes = append(tx.changes, c)
		tx.effects = append(tx.effects, effect)
	}
	switch {
	case !there:
		row := w.newRow()
		apply(outbox.Change{Op: outbox.Insert, New: shopTuple(key, row, true)}, func() { w.tables[t][key] = row })
	case w.chance(5):
		apply(outbox.Change{Op: outbox.Delete, OldKind: 'K', Old: shopOld(key)}, func() { delete(w.tables[t], key) })
	default:
		w.version++
		row.N = w.version
		whole := w.chance(2)
		if whole {
			row.Big = "big " + strconv.Itoa(w.version)
		}
		to := w.random.IntN(shopKeys)
		if _, taken := w.tables[t][to]; to == key || taken || w.locked[t][to] || w.chance(2) {
			apply(outbox.Change{Op: outbox.Update, New: shopTuple(key, row, whole)}, func() { w.tables[t][key] = row })
			return
		}
		w.lock(tx, t, to)
		apply(outbox.Change{Op: outbox.Update, OldKind: 'K', Old: shopOld(key), New: shopTuple(to, row, whole)},
			func() { delete(w.tables[t], key); w.tables[t][to] = row })
	}
}

func (w *shop) lock(tx *shopTx, t, key int) {
	w.locked[t][key] = true
	tx.keys[t] = append(tx.keys[t], key)
}

// visible is a snapshot of this moment.
func (w *shop) visible() outbox.Visible {
	v := outbox.Visible{Xmin: w.nextXID, Xmax: w.nextXID}
	for _, tx := range w.open {
		v.InProgress = append(v.InProgress, tx.xid)
		v.Xmin = min(v.Xmin, tx.xid)
	}
	slices.Sort(v.InProgress)
	switch {
	case w.fault.seesAll:
		v.Xmin, v.InProgress = v.Xmax, nil
	case w.fault.noEpoch:
		v = outbox.Visible{Xmin: v.Xmin & (1<<32 - 1), Xmax: v.Xmax & (1<<32 - 1)}
		v.Xmin = min(v.Xmin, v.Xmax)
	}
	return v
}

var shopTables = [2]*pgoutput.Relation{shopTable(0), shopTable(1)}

func shopTable(i int) *pgoutput.Relation {
	full := i == 1 // of the root: the log has the keys of the leaves
	return &pgoutput.Relation{OID: 20000 + uint32(i), Schema: "public", Name: "t" + strconv.Itoa(i), Identity: "df"[i], Columns: []pgoutput.Column{
		{Name: "id", Type: 23, Key: true}, {Name: "n", Type: 23, Key: full}, {Name: "big", Type: 25, Key: full},
	}}
}

// shopOld is what the log has of an old row.
func shopOld(key int) pgoutput.Tuple {
	dst := shopColumn(pgoutput.Tuple{0, 3}, pgoutput.Text, []byte(strconv.Itoa(key)))
	return append(dst, pgoutput.Null, pgoutput.Null)
}

// shopTuple is a row; without its large value if that is not whole.
func shopTuple(key int, row shopRow, whole bool) pgoutput.Tuple {
	dst := pgoutput.Tuple{0, 3}
	dst = shopColumn(dst, pgoutput.Text, []byte(strconv.Itoa(key)))
	dst = shopColumn(dst, pgoutput.Text, []byte(strconv.Itoa(row.N)))
	if whole {
		return shopColumn(dst, pgoutput.Text, []byte(row.Big))
	}
	return shopColumn(dst, pgoutput.Unchanged, nil)
}

func shopColumn(dst pgoutput.Tuple, kind byte, value []byte) pgoutput.Tuple {
	dst = append(dst, kind)
	if value != nil {
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(value))), value...)
	}
	return dst
}

// compare says how the topics differ from the tables.
func (w *shop) compare() error {
	if err := w.pages.compare(); err != nil {
		return err
	}
	for t := range w.tables {
		if !maps.Equal(w.tables[t], w.topics[t]) {
			for key := range shopKeys {
				if w.tables[t][key] != w.topics[t][key] {
					return fmt.Errorf("row %d of t%d is %v in the topic, %v in the table", key, t, w.topics[t][key], w.tables[t][key])
				}
			}
		}
	}
	return nil
}

// check says which row of the topics is not what the published transactions have made of it. What no copy has brought may be
// missing, or lack its large value.
func (w *shop) check(upTo outbox.LSN) {
	for ; w.applied < len(w.log) && w.log[w.applied].EndLSN <= upTo; w.applied++ {
		for _, c := range w.log[w.applied].Changes {
			if c.Relation == pagesTable {
				w.pages.apply(&c)
			} else if c.Relation != nil {
				w.apply(w.state[c.Relation.OID-20000], &c)
			}
			if c.Signal != nil && c.Signal.Missed() {
				m := w.missed[c.Signal.ID]
				delete(w.state[m.table], m.key)
				w.ghosts[m.table][m.key] = true
			}
		}
	}
	w.pages.check()
	for t := range w.topics {
		for key, got := range w.topics[t] {
			want, there := w.state[t][key]
			if w.ghosts[t][key] {
				continue
			}
			if !there || got.N != want.N || got.Big != "" && got.Big != want.Big {
				panic(violation(fmt.Sprintf("at %s, row %d of t%d is %v in the topic, %v (%t) in the table", upTo, key, t, got, want, there)))
			}
		}
	}
}

// complete says which row the initial copy has left out.
func (w *shop) complete() {
	w.pages.complete(w.pages.state)
	for t := range w.state {
		for key := range w.state[t] {
			got, there := w.topics[t][key]
			if !there || got.Big == "" {
				panic(violation(fmt.Sprintf("row %d of t%d is %v (%t) after the copy", key, t, got, there)))
			}
		}
	}
}

// apply does what a change of the log says.
func (w *shop) apply(state map[int]shopRow, c *outbox.Change) {
	var row shopRow
	var key int
	if c.New != nil {
		key, row.N, row.Big = shopValues(c.New)
	}
	old := key
	if c.Old != nil {
		old, _, _ = shopValues(c.Old)
	}
	if row.Big == "" {
		row.Big = state[old].Big
	}
	delete(state, old)
	if c.New != nil {
		state[key] = row
	}
}

// shopRecord is the value of a record.
type shopRecord struct {
	Op      string
	Old, ID int
	N       int
	Big     string // "": not in the log
}

// once says which row a copy has brought twice: it may again only if it has moved since, for that leaves values out.
func (w *shop) once(read map[string]bool, id string, v *shopRecord) {
	at := "/" + strconv.Itoa(v.ID)
	if v.Op == "r" && w.roomy {
		name := id[:strings.LastIndexByte(id, '.')] + at
		if read[name] {
			panic(violation("twice in a copy: " + name))
		}
		read[name] = true
	}
	if v.Old != v.ID {
		maps.DeleteFunc(read, func(name string, _ bool) bool { return strings.HasSuffix(name, at) })
	}
}

// fold takes a record as a consumer does that keeps the last row of each key.
func (w *shop) fold(r record.Record) {
	if r.Topic == "p.audit" {
		return
	}
	id := ""
	for _, h := range r.Headers {
		if h.Key == record.EventIDHeader {
			id = string(h.Value)
		}
	}
	if w.ids[id] {
		panic(violation("twice in the topic: " + id))
	}
	w.ids[id] = true
	var v shopRecord
	if err := json.Unmarshal(r.Value, &v); err != nil {
		panic(violation(err.Error()))
	}
	table := binary.BigEndian.Uint16(r.Key)
	if table == pagesPlace {
		w.pages.fold(&v)
		return
	}
	w.once(w.read[table], id, &v)
	topic := w.topics[table]
	if v.Op == "T" {
		w.counts.emptied++
		clear(topic)
		clear(w.ghosts[table])
		return
	}
	before := topic[v.Old]
	if v.Op == "r" {
		w.counts.copied++
		before = topic[v.ID]
		if w.fault.unfilled && v.Big != "" && before.N == v.N {
			v.Big = ""
		}
		if before.N == v.N && before.Big == "" && v.Big != "" {
			w.counts.filled++
		}
	} else if _, there := topic[v.ID]; there {
		w.counts.overtaken++
	}
	delete(topic, v.Old)
	if v.Op == "D" {
		return
	}
	if v.Big == "" {
		v.Big = before.Big
	}
	topic[v.ID] = shopRow{v.N, v.Big}
}
