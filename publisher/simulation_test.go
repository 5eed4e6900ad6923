package publisher

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"go.uber.org/zap"
)

// The simulation runs the real loop against a scripted database and a scripted Kafka. Every call of
// the loop is a step, and between any two steps the publisher may die, a twin may take its slot, a
// reply may be lost, or the connection. All of it follows from the seed. After each step the world
// makes sure that a read-committed reader sees each transaction once, whole, in order, and that
// nothing is acknowledged that the position does not cover. Giants come in parts, cut elsewhere over
// each connection, and may be seen in parts if they take long: then each change is seen once, in order.

const (
	simulatedWorlds = 250
	stepsPerWorld   = 4000
)

func TestSimulation(t *testing.T) {
	published, crashes, twins, lost, idle, parts := 0, 0, 0, 0, 0, 0
	for seed := range uint64(simulatedWorlds) {
		w := newWorld(seed)
		if err := w.run(); err != nil {
			t.Fatalf("seed %d, step %d: %v", seed, w.steps, err)
		}
		published += w.visible
		crashes += w.crashes
		twins += w.twins
		lost += w.lostReplies
		idle += w.idleRecords
		parts += w.partsSeen
	}
	t.Logf("%d steps, %d transactions, %d parts of some, %d crashes, %d twins, %d lost replies, %d idle records",
		simulatedWorlds*stepsPerWorld, published, parts, crashes, twins, lost, idle)
	if published < simulatedWorlds*100 || crashes < simulatedWorlds || twins < simulatedWorlds || lost < simulatedWorlds || idle < simulatedWorlds || parts < simulatedWorlds {
		t.Error("the simulation hardly does anything")
	}
}

// world is the database, Kafka, and what must be true of them.
type world struct {
	random *rand.Rand
	clock  time.Time
	steps  int
	twin   bool // a second publisher runs inside a step of the first
	limit  int  // step at which the twin dies

	committed []*outbox.Transaction // in commit order
	wal       outbox.LSN            // end of the log
	confirmed outbox.LSN            // of the slot
	saved     outbox.LSN            // what is left of it after a crash of Postgres
	holder    *simSource

	epoch    int
	recorded *Position
	reader   int // index in committed of the transaction that a reader is to see next
	seen     int // changes of that transaction that the reader has seen already
	parts    int // Kafka transactions that those were in
	visible  int // transactions that a reader has seen

	crashes, twins, lostReplies, idleRecords, partsSeen int
}

// crash ends a publisher between two steps; over ends the world.
type (
	crash struct{}
	over  struct{}
)

// violation is a broken promise.
type violation string

func newWorld(seed uint64) *world {
	return &world{random: rand.New(rand.NewPCG(seed, 1)), clock: time.Unix(1e9, 0), wal: 1000, confirmed: 1000, saved: 1000}
}

// run starts publishers, one after the other has died, until the steps are used up.
func (w *world) run() error {
	for {
		done, err := w.live()
		if done || err != nil {
			return err
		}
		w.crashes++
	}
}

// live runs one publisher until it dies.
func (w *world) live() (done bool, err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case crash:
		case over:
			done = true
		default:
			err = fmt.Errorf("%v", r)
		}
	}()
	cfg := Config{Prefix: "p", Database: "d", Slot: "s", IdleProgress: 10 * time.Second, CheckPublications: 10 * time.Second, PartAfter: simPartAfter}.WithDefaults()
	cfg.Log = zap.NewNop()
	p := newPublisher(cfg, w.open, &simLog{world: w}, &simFormat{})
	p.part = []int{1, partBytes}[w.random.IntN(2)] // each row alone, or all at once
	p.now = func() time.Time { return w.clock }
	p.pause = func(context.Context, time.Duration) error { w.step(); return nil }
	if err := p.Run(context.Background()); err != nil {
		return false, fmt.Errorf("the publisher halted: %w", err)
	}
	return false, errors.New("the publisher stopped by itself")
}

func (w *world) chance(oneIn int) bool { return w.random.IntN(oneIn) == 0 }

// step is the place between two steps of a publisher, where anything may happen.
func (w *world) step() {
	w.steps++
	w.clock = w.clock.Add(time.Duration(w.random.IntN(1000)) * time.Millisecond)
	if w.chance(3) {
		w.commit()
	}
	if w.chance(20) {
		w.saved = w.confirmed
	}
	switch {
	case w.twin && w.steps >= w.limit:
		panic(crash{})
	case !w.twin && w.steps >= stepsPerWorld:
		panic(over{})
	case w.chance(40):
		panic(crash{})
	case !w.twin && w.chance(100):
		w.runTwin()
	}
}

// runTwin lets a second publisher take the slot, fence the first, work and die, all inside one step.
func (w *world) runTwin() {
	w.twin, w.limit = true, w.steps+w.random.IntN(60)
	w.twins++
	_, err := w.live()
	w.twin = false
	if err != nil {
		panic(violation("twin: " + err.Error()))
	}
}

const simPartAfter = 4 * time.Second

// commit writes a transaction: rows, one row, or notes only. Its rows lie before its commit record,
// among those of others.
func (w *world) commit() {
	begin := w.wal + outbox.LSN(w.random.IntN(200))
	tx := &outbox.Transaction{CommitLSN: begin, EndLSN: begin + 48, XID: outbox.XID(len(w.committed)), CommitTime: w.clock, Notes: simNotes}
	if !w.chance(5) {
		rows := 1 + w.random.IntN(3)
		if w.chance(4) {
			rows = simGiant + w.random.IntN(20)
		}
		for i := range rows {
			lsn := begin - outbox.LSN(w.random.IntN(300))
			tx.Changes = append(tx.Changes, outbox.Change{Op: outbox.Insert, Ordinal: i, LSN: lsn, Relation: simTable})
		}
	}
	w.wal = tx.EndLSN
	w.committed = append(w.committed, tx)
}

var (
	simTable = &pgoutput.Relation{OID: 1, Schema: "public", Name: "t"}
	simNotes = []note.Note{{User: []byte("ann"), Trust: note.Verified}}
)

// open takes the slot for a new connection, which sends again what is not known to be confirmed.
func (w *world) open(context.Context) (Source, error) {
	w.step()
	if w.twin && w.chance(2) {
		return nil, outbox.ErrSlotBusy
	}
	if w.chance(10) {
		return nil, errors.New("connection refused")
	}
	confirmed := w.confirmed
	if w.chance(4) {
		confirmed = w.saved
	}
	s := &simSource{world: w, received: confirmed}
	s.system = outbox.System{ID: "1", Timeline: 1, DatabaseOID: 1, Database: "d", Server: w.wal, ConfirmedFlush: confirmed, PublicationHash: "h"}
	s.system.ConsistentPoint = 1000
	w.holder, w.confirmed = s, confirmed
	return s, nil
}

// simSource is a connection that holds the slot, or believes so.
type simSource struct {
	world    *world
	system   outbox.System
	queue    []*outbox.Transaction
	parts    []*outbox.Transaction // of a giant, that are to come
	received outbox.LSN
	acked    outbox.LSN
}

func (s *simSource) System() outbox.System { return s.system }

func (s *simSource) TimelineHistory(context.Context, int32) ([]outbox.TimelineSwitch, error) {
	return nil, errors.New("nobody should ask")
}

func (s *simSource) Next(context.Context, int) ([]*outbox.Transaction, error) {
	w := s.world
	w.step()
	if w.chance(60) || w.holder != s && len(s.queue) == 0 {
		return nil, errors.New("connection lost")
	}
	if w.holder == s {
		s.receive()
	}
	if len(s.queue) == 0 {
		w.clock = w.clock.Add(time.Duration(w.random.IntN(6)) * time.Second)
		return nil, nil
	}
	return s.queue[:1+w.random.IntN(len(s.queue))], nil
}

// receive puts some more of the log into the queue, with keepalives before and between, some of which
// say the very position where the next commit record starts.
func (s *simSource) receive() {
	w := s.world
	if !s.receiveParts() {
		return
	}
	for _, tx := range w.after(s.received) {
		if len(s.queue) > 10 || w.chance(4) {
			return
		}
		switch room := int(tx.CommitLSN - s.received); {
		case w.chance(4):
			s.push(&outbox.Transaction{EndLSN: tx.CommitLSN})
			return
		case room > 0 && w.chance(4):
			s.push(&outbox.Transaction{EndLSN: s.received + 1 + outbox.LSN(w.random.IntN(room))})
		}
		s.parts = w.cut(tx)
		if !s.receiveParts() {
			return
		}
	}
	if w.chance(2) {
		s.push(&outbox.Transaction{EndLSN: w.wal})
	}
}

// receiveParts puts some more parts of a transaction into the queue, and says whether that was all of it.
func (s *simSource) receiveParts() bool {
	for len(s.parts) > 0 {
		if len(s.queue) > 10 || s.parts[0].Part > 0 && s.world.chance(4) {
			return false
		}
		s.push(s.parts[0])
		s.parts = s.parts[1:]
	}
	return true
}

func (s *simSource) push(tx *outbox.Transaction) {
	if tx.More || tx.EndLSN > s.received {
		s.queue = append(s.queue, tx)
		s.received = tx.Through()
	}
}

// simGiant is the number of rows from which on a transaction comes in parts.
const simGiant = 4

// cut cuts a giant into parts, other ones each time. Some come whole.
func (w *world) cut(tx *outbox.Transaction) []*outbox.Transaction {
	var parts []*outbox.Transaction
	if len(tx.Changes) < simGiant || w.chance(8) {
		return append(parts, tx)
	}
	rest := tx.Changes
	for len(rest) > 0 {
		part := *tx
		n := 1 + w.random.IntN(min(len(rest), 4))
		part.Part, part.Changes, part.More, part.EndLSN = len(parts), rest[:n], n < len(rest), 0
		if !part.More {
			part.EndLSN = tx.EndLSN
		}
		parts, rest = append(parts, &part), rest[n:]
	}
	return parts
}

// after returns what ends after a position.
func (w *world) after(position outbox.LSN) []*outbox.Transaction {
	first := len(w.committed)
	for first > 0 && w.committed[first-1].EndLSN > position {
		first--
	}
	return w.committed[first:]
}

func (s *simSource) Drop(head []*outbox.Transaction) {
	s.world.step()
	s.queue = s.queue[len(head):]
}

func (s *simSource) Ack(upTo outbox.LSN) {
	w := s.world
	w.step()
	switch {
	case w.recorded == nil || upTo > w.recorded.EndLSN:
		panic(violation(fmt.Sprintf("acknowledged %s beyond the position", upTo)))
	case upTo > s.received || upTo < s.acked:
		panic(violation(fmt.Sprintf("acknowledged %s, received %s, acknowledged before %s", upTo, s.received, s.acked)))
	}
	s.acked = upTo
	if w.holder == s {
		w.confirmed = max(w.confirmed, upTo)
	}
	w.step()
}

func (s *simSource) Received() outbox.LSN { return s.received }

func (s *simSource) Err() error { return nil }

func (s *simSource) CheckPublications(context.Context) error {
	s.world.step()
	return nil
}

func (s *simSource) Close() error {
	if s.world.holder == s {
		s.world.holder = nil
	}
	return nil
}

// simLog is one publisher's client of the scripted Kafka.
type simLog struct {
	world *world
	epoch int // 0: to be fenced
	sent  []record.Record
	begun time.Time // the Kafka transaction cannot have been before
}

func (l *simLog) Fence(context.Context, outbox.System) (*Position, error) {
	w := l.world
	w.step()
	l.epoch, l.sent = 0, nil
	if w.chance(20) {
		return nil, errors.New("Kafka is away")
	}
	w.epoch++
	epoch := w.epoch
	w.step()
	if w.chance(20) {
		return nil, errors.New("reply lost")
	}
	if w.epoch != epoch {
		return nil, halt.ErrFenced
	}
	l.epoch, l.begun = epoch, w.clock
	if w.recorded == nil {
		return nil, nil
	}
	recorded := *w.recorded
	return &recorded, nil
}

func (l *simLog) Send(_ context.Context, b *record.Batch) error {
	l.world.step()
	if l.epoch == 0 {
		panic(violation("sent without a fence"))
	}
	if l.world.chance(40) {
		l.epoch = 0
		return errors.New("aborted")
	}
	for _, r := range b.Records() {
		l.sent = append(l.sent, record.Record{Topic: r.Topic, Value: slices.Clone(r.Value)})
	}
	return nil
}

func (l *simLog) Publish(_ context.Context, b *record.Batch, p Position) error {
	w := l.world
	w.step()
	if l.epoch == 0 {
		panic(violation("published without a fence"))
	}
	epoch := l.epoch
	l.epoch = 0
	if w.chance(40) {
		return errors.New("aborted")
	}
	w.step()
	if epoch != w.epoch {
		return halt.ErrFenced
	}
	if p.Ordinal > 0 && !w.recorded.covers(p) && w.clock.Sub(l.begun) < simPartAfter {
		panic(violation(fmt.Sprintf("a part is visible after %s", w.clock.Sub(l.begun))))
	}
	w.show(append(l.sent, b.Records()...), p)
	l.sent, l.begun = nil, w.clock
	w.step()
	if w.chance(40) {
		w.lostReplies++
		return errors.New("reply lost")
	}
	l.epoch = epoch
	return nil
}

func (l *simLog) Close() {}

// covers reports whether a part was out before.
func (p *Position) covers(q Position) bool {
	return p != nil && p.EndLSN == q.EndLSN && p.Ordinal == q.Ordinal
}

// show makes a Kafka transaction visible and checks what a reader sees of it.
func (w *world) show(records []record.Record, p Position) {
	idle := len(records) == 0
	for len(records) > 0 {
		records = w.showTransaction(records)
	}
	if idle {
		w.idleRecords++
	}
	switch {
	case w.seen != p.Ordinal:
		panic(violation(fmt.Sprintf("the reader has seen %d changes of the next transaction, the position says %d", w.seen, p.Ordinal)))
	case w.seen > 0 && (p.EndLSN != w.committed[w.reader].CommitLSN || p.Part != w.parts):
		panic(violation(fmt.Sprintf("part %d of the transaction that commits at %s, the position says part %d of %s", w.parts, w.committed[w.reader].CommitLSN, p.Part, p.EndLSN)))
	}
	if w.reader < len(w.committed) {
		if next := w.nextWanted(); next != nil && p.EndLSN >= next.EndLSN {
			panic(violation(fmt.Sprintf("position %s covers the transaction that ends at %s, which is not published", p.EndLSN, next.EndLSN)))
		}
	}
	if r := w.recorded; r != nil && p.EndLSN <= r.EndLSN && (p.EndLSN != r.EndLSN || p.Ordinal <= r.Ordinal) {
		panic(violation(fmt.Sprintf("position %s and %d changes after %s and %d", p.EndLSN, p.Ordinal, r.EndLSN, r.Ordinal)))
	}
	w.recorded = &p
}

// nextWanted returns the next transaction with rows that a reader has not seen, nil if there is none.
func (w *world) nextWanted() *outbox.Transaction {
	for w.reader < len(w.committed) && len(w.committed[w.reader].Changes) == 0 {
		w.reader++
	}
	if w.reader == len(w.committed) {
		return nil
	}
	return w.committed[w.reader]
}

// showTransaction takes the records of the next transaction: BEGIN, its rows in order, END, its audit record.
// Those of a giant may end behind any row, and go on there.
func (w *world) showTransaction(records []record.Record) []record.Record {
	want := w.nextWanted()
	if want == nil {
		panic(violation(fmt.Sprintf("record %x of a transaction that was published before", records[0].Value)))
	}
	expect := func(what, value string) bool {
		if len(records) == 0 {
			return false
		}
		if string(records[0].Value) != value {
			panic(violation(fmt.Sprintf("%x instead of the %s (%d rows were seen) of the transaction that commits at %s", records[0].Value, what, w.seen, want.CommitLSN)))
		}
		records = records[1:]
		return true
	}
	if w.seen == 0 {
		expect("BEGIN", "begin")
	}
	for w.seen < len(want.Changes) {
		if !expect("next row", string(simValue(nil, want, w.seen))) {
			w.interrupt(want)
			return nil
		}
		w.seen++
	}
	if !expect("END", fmt.Sprintf("end of %d", len(want.Changes))) {
		w.interrupt(want)
		return nil
	}
	w.showAudit(want, records)
	w.reader++
	w.visible++
	w.seen, w.parts = 0, 0
	return records[1:]
}

// interrupt notes that the rest of a transaction is to be seen later.
func (w *world) interrupt(tx *outbox.Transaction) {
	if len(tx.Changes) < simGiant {
		panic(violation(fmt.Sprintf("the transaction that commits at %s is torn", tx.CommitLSN)))
	}
	w.parts++
	w.partsSeen++
}

// showAudit checks that the audit record knows of all changes, and in how many parts they were.
func (w *world) showAudit(tx *outbox.Transaction, records []record.Record) {
	want := fmt.Sprintf(`"inserted":%d,`, len(tx.Changes))
	if len(records) == 0 || records[0].Topic != "p.audit" || !strings.Contains(string(records[0].Value), want) {
		panic(violation(fmt.Sprintf("no audit record with %s of the transaction that commits at %s: %+v", want, tx.CommitLSN, records)))
	}
	want = fmt.Sprintf(`"parts":%d,`, w.parts+1)
	if strings.Contains(string(records[0].Value), want) != (w.parts > 0) {
		panic(violation(fmt.Sprintf("transaction that commits at %s, in %d parts: %s", tx.CommitLSN, w.parts+1, records[0].Value)))
	}
}

// simFormat writes which row of which transaction a change is, and counts them.
type simFormat struct{ rows int }

func (f *simFormat) Begin(ctx context.Context, b *record.Batch, _ *outbox.Transaction) error {
	f.rows = 0
	return f.add(b, []byte("begin"))
}

func (f *simFormat) End(ctx context.Context, b *record.Batch, _ *outbox.Transaction) error {
	return f.add(b, fmt.Appendf(nil, "end of %d", f.rows))
}

func (*simFormat) Identity(_ context.Context, r *pgoutput.Relation, _ record.Place) (record.Identity, error) {
	return record.LoggedIdentity(r), nil
}

func (f *simFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	f.rows++
	return f.add(b, simValue(nil, tx, i))
}

func (f *simFormat) add(b *record.Batch, value []byte) error {
	start := len(b.Buf)
	b.Buf = append(b.Buf, value...)
	b.Add("p.public.t", record.Null, start)
	return nil
}

func simValue(dst []byte, tx *outbox.Transaction, i int) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(tx.CommitLSN))
	return append(dst, byte(tx.Changes[i].Ordinal))
}
