package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// Run applies until ctx ends, which is not an error, until the requested end is reached, or until an operator must act, in which case the error is a
// Halt. After any other error it retries from the position in the target.
func Run(ctx context.Context, cfg Config) error {
	r := newRunner(&cfg)
	err := r.run(ctx)
	if err == nil {
		r.moveSequences(ctx)
	}
	return err
}

func newRunner(cfg *Config) *runner {
	return &runner{cfg: cfg, touched: map[string]string{}, copies: map[string]string{}}
}

func (r *runner) run(ctx context.Context) error {
	cfg := r.cfg
	var patience Patience
	for {
		began := time.Now()
		done, err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if done && err == nil {
			v := cfg.Stats.Values()
			cfg.Log.Info("applied", zap.Stringer("lsn", v.Applied), zap.Int64("transactions", v.Transactions), zap.Int64("changes", v.Changes), zap.Int64("commits", v.Commits), zap.Int64("conflicts", v.Conflicts))
			return r.halted
		}
		if late := (violation{}); errors.As(err, &late) {
			r.late = append(r.late, late)
			cfg.Log.Warn("a transaction violates a deferred constraint: applying it again to find the change", zap.Error(late.refused), zap.Stringer("commit", late.commit))
			continue
		}
		var suspected suspicion
		if errors.As(err, &suspected) && r.careful < r.suspect {
			r.careful = r.suspect
			cfg.Log.Warn("a batch could not be applied: applying its transactions change by change to find the cause", zap.Error(suspected.error), zap.Stringer("until", r.careful))
			continue
		}
		if at := (haltAt{}); errors.As(err, &at) && r.stop == nil {
			r.stop, r.halted = &Until{Before: at.commit}, err
			continue
		}
		cfg.Stats.state("retrying")
		if err := patience.Again(ctx, err, time.Since(began), cfg.Log); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// runner is the state that outlives a session.
type runner struct {
	cfg     *Config
	careful LSN // transactions that commit up to here are written change by change
	suspect LSN // last transaction of the batch that failed
	late    violations
	once    LSN // with Config.Once: the position of Kafka at the start

	touched map[string]string // tables of the target that were written: names by OID
	copies  map[string]string // ids of snapshots of which rows have arrived: the table of the latest row
	topics  map[string]string // of the stream: ids by name

	reached bool  // there was a target to write to
	hasTurn bool  // the caller holds the lock of the stream
	epoch   int64 // epoch held last; 0: none

	stop   *Until // just before the transaction that halts
	halted error  // reason of the halt, returned once everything before it is applied
}

// session is the single path for start and recovery: take the fence, read from the position in the target, write. It ends with an error, or when the
// requested end is reached.
func (r *runner) session(ctx context.Context) (done bool, err error) {
	cfg := r.cfg
	cfg.Stats.state("connecting")
	t, err := cfg.connect(ctx)
	if r.reached && errors.Is(err, errReadOnly) {
		err = errors.New(errReadOnly.What)
	}
	if err != nil {
		return false, err
	}
	r.reached = true
	defer t.close()
	t.late = r.late
	if err := r.checkFenced(ctx, t); err != nil {
		return false, err
	}
	if !r.hasTurn {
		if err := t.takeTurn(ctx); err != nil {
			return false, err
		}
	}
	if err := r.find(ctx); err != nil {
		return false, err
	}
	if cfg.Archive != nil {
		return r.fromArchive(ctx, t)
	}
	return r.fromTopics(ctx, t)
}

// fromTopics applies the records of the topics.
func (r *runner) fromTopics(ctx context.Context, t *target) (done bool, err error) {
	w, first, err := r.cfg.watch(ctx)
	if err != nil {
		return false, err
	}
	p, err := r.begin(ctx, t, first)
	if err == nil && p.fresh && r.cfg.FromEnd {
		first, err = r.beginAtEnd(ctx, t, w, &p)
	}
	if err != nil {
		w.client.Close()
		return false, err
	}
	s, err := r.cfg.open(first, &p)
	if err != nil {
		w.client.Close()
		return false, err
	}
	defer s.client.Close()
	a := r.assembler(s, t, &p, first)
	a.topics = &feed{s, w.out, make(chan kgo.Fetches)}
	return r.work(ctx, t, a, first, func(ctx context.Context) error { return w.run(ctx, first) }, func(ctx context.Context) error { return s.poll(ctx, a.topics.fetched) })
}

// begin writes to the target for the first time: it takes the fence, and compares the target's position with the stream.
func (r *runner) begin(ctx context.Context, t *target, first *progress) (p position, err error) {
	if err := t.notSource(ctx, first.Slot, first.SystemID); err != nil {
		return p, err
	}
	if err := t.setOrigin(ctx); err != nil {
		return p, err
	}
	if p, err = t.fence(ctx); err == nil {
		r.cfg.Stats.begin(&p, first)
		err = r.cfg.check(&p, first)
	}
	r.epoch = t.epoch
	return p, err
}

// beginAtEnd stores the end of the stream as the position of the target, so that every later session continues there.
func (r *runner) beginAtEnd(ctx context.Context, t *target, w *watcher, p *position) (*progress, error) {
	mark, err := w.end(ctx)
	if err != nil {
		return nil, fmt.Errorf("where the topics of %s end: %w", r.cfg.Prefix, err)
	}
	b := newBatch()
	b.end, b.topics, b.offsets, b.loading, b.copies = mark.EndLSN, mark.ids, mark.offsets(), map[string]load{}, mark.copies()
	if mark.copying("") {
		b.loading[everything] = load{}
	}
	if err := t.commit(ctx, b, &mark.progress); err != nil {
		return nil, err
	}
	*p = position{end: b.end, systemID: mark.SystemID, slot: mark.Slot, timeline: mark.Timeline, cuts: len(mark.Cuts), offsets: b.offsets, topics: b.topics, loading: b.loading, copies: b.copies}
	r.cfg.Stats.begin(p, &mark.progress)
	return &mark.progress, nil
}

// work runs the assembler, the writer and the other functions until one of them ends.
func (r *runner) work(ctx context.Context, t *target, a *assembler, first *progress, others ...func(context.Context) error) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel(nil)
	for _, run := range append(others, func(ctx context.Context) error { return r.write(ctx, t, a, first) }) {
		running.Go(func() { cancel(run(ctx)) })
	}
	r.cfg.Log.Info("applying", zap.String("stream", r.cfg.stream()), zap.Int64("epoch", t.epoch), zap.Stringer("from", a.end), zap.Stringer("published", first.EndLSN))
	t.warnTriggers(r.cfg.Log)
	r.cfg.Stats.state("applying")
	err = a.run(ctx)
	r.topics = maps.Clone(a.source.topics())
	if err == nil {
		return true, nil
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
		err = cause
	}
	return false, err
}

// checkFenced reports errFenced if another applier has raised the epoch; a fenced applier must not take over the stream again. A standby waits for its turn
// again.
func (r *runner) checkFenced(ctx context.Context, t *target) error {
	if r.epoch == 0 || r.cfg.Standby {
		return nil
	}
	now, err := t.epochNow(ctx)
	if err == nil && now > r.epoch {
		return errFenced
	}
	return err
}

// check compares the position of the target, or of an archive, with the position of the stream.
func (c *Config) check(p *position, first *progress) error {
	from, into, until := c.from(), c.into(), c.Until
	switch {
	case until != nil && until.LSN > first.EndLSN || until != nil && until.Before > first.EndLSN:
		return Halt{fmt.Sprintf("%s covers the source only up to %s, before the requested moment", from, first.EndLSN), "let the publisher catch up, or name an earlier moment"}
	case p.fresh:
		return nil
	case until.before(p.end):
		return Halt{fmt.Sprintf("the target is already past the moment: it is at %s", p.end), "restore into an empty database"}
	case until != nil && !until.Time.IsZero() && p.at.After(until.Time):
		return Halt{fmt.Sprintf("the target is already past the moment: it has a transaction that committed at %s", p.at.UTC().Format(time.RFC3339Nano)), "restore into an empty database"}
	case p.systemID != "" && first.SystemID != p.systemID:
		return Halt{fmt.Sprintf("the stream now comes from server %s, but %s was made from server %s", first.SystemID, into, p.systemID), c.afresh()}
	case p.slot != "" && first.Slot != p.slot:
		return Halt{fmt.Sprintf("the stream now comes from slot %s, but %s was made from slot %s: changes between them may be missing", first.Slot, into, p.slot), "name the former slot with --slot; if the slot was replaced, " + c.afresh()}
	case p.end > first.kept(p.cuts):
		return Halt{fmt.Sprintf("`pgtee repair` cut the stream at %s, but %s has it up to %s, including transactions that the source has lost", first.kept(p.cuts), into, p.end), c.afresh()}
	case p.end > first.EndLSN:
		return Halt{fmt.Sprintf("%s is ahead of %[3]s: it has everything up to %[2]s, but %[3]s only up to %[4]s", into, p.end, from, first.EndLSN),
			"check that the brokers, --prefix and --from are the former ones; if records were lost, " + c.afresh()}
	case len(first.Cuts) < p.cuts || len(first.Cuts) == p.cuts && first.Timeline < p.timeline:
		return Halt{fmt.Sprintf("the stream has timeline %d and %d cuts, but %s has timeline %d and %d cuts", first.Timeline, len(first.Cuts), into, p.timeline, p.cuts), "check that the brokers, --prefix and --from are the former ones"}
	}
	return nil
}

func (r *runner) assembler(s stream, t *target, p *position, first *progress) *assembler {
	loading := p.loading
	if loading == nil {
		loading = map[string]load{}
	}
	known := p.copies
	switch {
	case p.fresh:
		known = first.copies()
	case known == nil:
		known = first.Snapshots.Finished
	}
	if p.fresh && first.hasCopied() || first.hasOther(known) {
		loading[everything] = load{}
	}
	if _, all := loading[everything]; all {
		first.addInitialCopy(r.copies)
	}
	for table, l := range loading {
		if l.ID != "" {
			r.copies[l.ID] = table
		}
	}
	if r.cfg.Once && r.once == 0 {
		r.once = first.EndLSN
	}
	a := &assembler{
		cfg: r.cfg, log: r.cfg.Log, source: s, target: t, tables: map[string]*table{}, absent: map[string]bool{}, loading: loading, known: known,
		batch: newBatch(), spare: newBatch(), touched: r.touched, copies: r.copies, commitTime: p.at, work: make(chan *batch), free: make(chan *batch, 2), until: cmp.Or(r.stop, r.cfg.Until), once: r.once,
		end: p.end, pace: pacer{perSecond: r.cfg.RowsPerSecond}, carefulUntil: r.careful, fenced: time.Now(),
	}
	a.batch.last, a.batch.end = p.end, p.end
	a.decoder.ignore = func(table, column string) bool { return matchesAny(r.cfg.IgnoreColumns, table+"."+column) }
	if r.cfg.FromEnd {
		a.skipTo = p.end // topics may be created while a stream begins at the end
	}
	return a
}

// run feeds the assembler until ctx ends or the requested end is reached.
func (a *assembler) run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if done, err := a.step(ctx); err != nil || done {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case mark := <-a.topics.newMarks():
			a.mark = &mark.progress
			a.cfg.Stats.published(mark.EndLSN)
			if err := a.beginLoading(ctx); err != nil {
				return err
			}
			if err := a.topics.source.advance(&mark); err != nil {
				return err
			}
		case fetches := <-a.topics.newRecords():
			if err := a.topics.source.add(fetches); err != nil {
				return err
			}
		case b := <-a.freed():
			a.spare = b
		case <-tick.C:
			if a.spare != nil { // the idle writer would not notice that its connection has ended
				if err := a.target.conn.Ping(ctx); err != nil {
					return err
				}
			}
		}
	}
}

// step builds batches from the events that may be taken, and reports whether the requested end is reached.
func (a *assembler) step(ctx context.Context) (done bool, err error) {
	if a.mark == nil {
		return false, nil
	}
	if err := a.advance(ctx); err != nil {
		return false, err
	}
	if a.topics != nil {
		a.topics.source.throttle()
	}
	switch {
	case a.done:
		done, err = a.checkCopies(ctx)
	case a.once > 0 && a.source.drained() && a.mark.EndLSN >= a.once && a.batch.empty() && !a.inside && a.end >= a.once:
		done, err = true, a.arrived()
	}
	if done || err != nil { // everything is to be written
		err = cmp.Or(a.settle(ctx), err)
	}
	return done && err == nil, err
}

// freed returns the channel of written batches while one is being written.
func (a *assembler) freed() <-chan *batch {
	if a.spare != nil {
		return nil
	}
	return a.free
}

// write writes batches until ctx ends.
func (r *runner) write(ctx context.Context, t *target, a *assembler, first *progress) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-a.work:
			if err := t.write(ctx, b, first); err != nil {
				r.suspect = b.last
				return err
			}
			if !b.more {
				r.cfg.Stats.committed(b)
			}
			a.free <- b
		}
	}
}

// write writes one batch, and commits if the batch ends with a whole transaction.
func (t *target) write(ctx context.Context, b *batch, first *progress) (err error) {
	switch {
	case b.ddl != nil:
		err = t.define(ctx, b)
	case len(b.truncate) > 0:
		err = before(b.last, t.empty(ctx, b))
	case len(b.changes) > 0 && b.careful:
		err = t.oneByOne(ctx, b)
	case len(b.changes) > 0:
		err = t.changes(ctx, b)
	case len(b.tables) > 0:
		err = t.rows(ctx, b)
	}
	if err != nil || b.more {
		return err
	}
	if b.careful {
		if err = t.checkDeferred(ctx, b); err != nil {
			return err
		}
	}
	if err = t.commit(ctx, b, first); err != nil {
		return suspect(err) // deferred constraints are checked now
	}
	return nil
}

// empty truncates tables. For a resync it deletes the rows instead, because other tables may reference them.
func (t *target) empty(ctx context.Context, b *batch) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	var names []string
	for _, table := range b.truncate {
		names = append(names, table.own)
	}
	if b.resync == "" {
		err := t.afterChecks(ctx, b, "TRUNCATE "+strings.Join(names, ", "))
		return t.refused(err, "TRUNCATE of "+strings.Join(names, ", "))
	}
	for _, name := range names {
		if err := t.exec(ctx, "DELETE FROM "+name); err != nil {
			return t.refused(err, "DELETE of all rows of "+name+" for a resync")
		}
	}
	return nil
}

// refused turns an error that a retry cannot repair into a Halt.
func (t *target) refused(err error, what string) error {
	answer := final(err)
	if answer == nil {
		return err
	}
	return Halt{fmt.Sprintf("the target refused %s: %s", what, answer.Message), "grant the missing privilege to the user of --postgres, or remove the conflicting object"}
}

// final returns the error of the target if a retry cannot repair it, nor change by change; else nil.
func final(err error) (answer *pgconn.PgError) {
	if suspected := (suspicion{}); errors.As(err, &suspected) || postgres.Retriable(err) || !errors.As(err, &answer) {
		return nil
	}
	return answer
}

// explain adds a repair to errors that have none.
func explain(err error) error {
	var answer *pgconn.PgError
	switch {
	case isHalt(err):
		return err
	case errors.As(err, &answer) && answer.Code == "53100":
		return Halt{"the disk of the target is full: " + answer.Message, "free space there and start again; no transaction is applied partially"}
	case errors.As(err, &answer) && answer.Code == "42501":
		return Halt{"the user of --postgres lacks a privilege in the target: " + answer.Message, "GRANT it; `pgtee apply --check` lists what is needed"}
	}
	return err
}
