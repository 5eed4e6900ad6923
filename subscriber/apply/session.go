package apply

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// Run applies until ctx ends, which is no error, until what was asked for is reached, or until a human must act: then the
// error is a Halt. Every other error is tried again from where the target is.
func Run(ctx context.Context, cfg Config) error {
	r := runner{cfg: &cfg, touched: map[string]string{}}
	err := r.run(ctx)
	if err == nil {
		r.moveSequences(ctx)
	}
	return err
}

func (r *runner) run(ctx context.Context) error {
	cfg := r.cfg
	failures := 0
	for {
		began := time.Now()
		done, err := r.session(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if done && err == nil {
			v := cfg.Stats.Values()
			cfg.Log.Info("applied", zap.Stringer("lsn", v.Applied), zap.Int64("transactions", v.Transactions), zap.Int64("changes", v.Changes), zap.Int64("commits", v.Commits), zap.Int64("conflicts", v.Conflicts))
			if u := cfg.Until; r.halted == nil && u != nil && u.XID != 0 && !u.passed {
				return Halt{fmt.Sprintf("transaction %d is not in the stream: everything that Kafka holds is applied", u.XID), "take its id from the audit topic (`pgtee subscribe --json`)"}
			}
			return r.halted
		}
		var suspected suspicion
		if errors.As(err, &suspected) && r.careful < r.suspect {
			r.careful = r.suspect
			cfg.Log.Warn("something does not fit: the changes are written one by one to see what", zap.Error(suspected.error), zap.Stringer("until", r.careful))
			continue
		}
		if at := (haltAt{}); errors.As(err, &at) && r.stop == nil {
			r.stop, r.halted = &Until{Before: at.commit}, err
			continue
		}
		if again := (rewound{}); errors.As(err, &again) && r.rewinds < maxRewinds {
			r.rewinds++
			err = errors.New(again.What)
		}
		if isHalt(err) || !postgres.Retriable(err) {
			return explain(err)
		}
		if time.Since(began) > time.Minute {
			failures = 0
		}
		failures++
		wait := min(time.Duration(1<<min(failures, 6))*50*time.Millisecond, 3*time.Second)
		cfg.Log.Warn("retrying", zap.Error(err), zap.Duration("in", wait))
		cfg.Stats.state("retrying")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// maxRewinds is how often a topic may end before what was applied until that is believed.
const maxRewinds = 10

// runner is what outlives a session.
type runner struct {
	cfg     *Config
	careful LSN // transactions up to that commit are written change by change
	suspect LSN // last transaction of the batch that failed
	once    LSN // Config.Once: what Kafka held at the start

	touched map[string]string // tables of the target that were written to: names by OID

	epoch   int64 // that was held last; 0: none
	rewinds int   // times that a topic ended before what was applied

	stop   *Until // before what it halts at
	halted error  // why, once what comes before is applied
}

// session is the one path of start and recovery: take the fence, read on from where the target is, write. It ends with an
// error, or when all is done that was asked for.
func (r *runner) session(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cfg := r.cfg
	cfg.Stats.state("connecting")
	t, err := cfg.connect(ctx)
	if err != nil {
		return false, err
	}
	defer t.close()
	if err := r.checkFenced(ctx, t); err != nil {
		return false, err
	}
	if err := t.takeTurn(ctx); err != nil {
		return false, err
	}
	if err := t.setOrigin(ctx); err != nil {
		return false, err
	}
	w, first, err := cfg.watch(ctx)
	if err != nil {
		return false, err
	}
	p, err := t.fence(ctx)
	if err == nil {
		err = check(&p, first, cfg.Until)
	}
	if err != nil {
		w.client.Close()
		return false, err
	}
	r.epoch = t.epoch
	s, err := cfg.open(first.Slot, &p)
	if err != nil {
		w.client.Close()
		return false, err
	}
	var running sync.WaitGroup
	defer s.client.Close()
	defer running.Wait()
	defer cancel(nil)
	a := r.assembler(s, t, &p, first)
	fetched := make(chan kgo.Fetches)
	running.Go(func() { cancel(w.run(ctx, first)) })
	running.Go(func() { cancel(s.poll(ctx, fetched)) })
	running.Go(func() { cancel(r.write(ctx, t, a, first)) })
	cfg.Log.Info("applying", zap.String("stream", cfg.stream()), zap.Int64("epoch", t.epoch), zap.Stringer("from", p.end), zap.Stringer("published", first.EndLSN))
	t.warnTriggers(cfg.Log)
	cfg.Stats.state("applying")
	err = a.run(ctx, w.out, fetched)
	if err == nil {
		return true, nil
	}
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
		err = cause
	}
	return false, err
}

// checkFenced ends an applier that another one has taken the stream from: it must not take it back. A standby waits for its turn
// again.
func (r *runner) checkFenced(ctx context.Context, t *target) error {
	if r.epoch == 0 || r.cfg.Standby {
		return nil
	}
	rows, err := postgres.Query(ctx, t.conn, "SELECT epoch::pg_catalog.text FROM pgtee.applied WHERE stream = $1", r.cfg.stream())
	if err == nil && len(rows) == 1 && integer(rows[0][0]) > r.epoch {
		return errFenced
	}
	return err
}

// check compares where the target is with what Kafka holds.
func check(p *position, first *progress, until *Until) error {
	switch {
	case until != nil && until.LSN > first.EndLSN || until != nil && until.Before > first.EndLSN:
		return Halt{fmt.Sprintf("Kafka holds the source up to %s: the moment is not there yet", first.EndLSN), "let the publisher catch up, or name an earlier moment"}
	case p.fresh:
		return nil
	case until.before(p.end):
		return Halt{fmt.Sprintf("the target is at %s, behind the moment", p.end), "restore into an empty database"}
	case p.systemID != "" && first.SystemID != p.systemID:
		return Halt{fmt.Sprintf("the stream comes from server %s now, the target was made from %s", first.SystemID, p.systemID),
			"apply into an empty target, or under another --stream"}
	case p.end > first.EndLSN:
		return Halt{fmt.Sprintf("the target is ahead: it holds everything up to %s, Kafka up to %s", p.end, first.EndLSN),
			"see whether --kafka and --prefix are those of before; if Kafka has lost records, apply into an empty target"}
	case first.Timeline < p.timeline:
		return Halt{fmt.Sprintf("the stream is on timeline %d, the target on %d", first.Timeline, p.timeline), "see whether --kafka and --prefix are those of before"}
	}
	return nil
}

func (r *runner) assembler(s *source, t *target, p *position, first *progress) *assembler {
	loading := p.loading
	if loading == nil {
		loading = map[string]string{}
	}
	if p.fresh && (len(first.Snapshots.Copies) > 0 || len(first.Snapshots.Finished) > 0) {
		loading[everything] = ""
	}
	if r.cfg.Once && r.once == 0 {
		r.once = first.EndLSN
	}
	a := &assembler{
		cfg: r.cfg, log: r.cfg.Log, source: s, target: t, tables: map[string]*table{}, absent: map[string]bool{}, loading: loading,
		batch: newBatch(), spare: newBatch(), touched: r.touched, work: make(chan *batch), free: make(chan *batch, 2), until: cmp.Or(r.stop, r.cfg.Until), once: r.once,
		end: p.end, pace: pacer{perSecond: r.cfg.RowsPerSecond}, carefulUntil: r.careful, fenced: time.Now(),
	}
	a.batch.last, a.batch.end = p.end, p.end
	a.decoder.ignore = func(table, column string) bool { return matchesAny(r.cfg.IgnoreColumns, table+"."+column) }
	if r.cfg.FromEnd && p.fresh {
		a.skipTo, s.fromStart = first.EndLSN, true
	}
	return a
}

// run feeds the assembler until ctx ends or all is done.
func (a *assembler) run(ctx context.Context, marks <-chan watermark, fetched <-chan kgo.Fetches) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case mark := <-marks:
			a.mark = &mark
			a.cfg.Stats.published(mark.EndLSN)
			if err := a.source.advance(&mark); err != nil {
				return err
			}
		case fetches := <-fetched:
			if err := a.source.add(fetches); err != nil {
				return err
			}
		case b := <-a.freed():
			a.spare = b
		case <-tick.C:
			if a.spare != nil { // the writer is idle, and would not notice that its connection has ended
				if err := a.target.conn.Ping(ctx); err != nil {
					return err
				}
			}
		}
		if a.mark == nil {
			continue
		}
		if err := a.advance(ctx); err != nil {
			return err
		}
		a.source.throttle()
		if a.done || a.once > 0 && a.source.drained() && a.mark.EndLSN >= a.once && a.batch.empty() && !a.inside && a.end >= a.once {
			return a.finish(ctx)
		}
	}
}

// freed is the channel of written batches, if one is awaited.
func (a *assembler) freed() <-chan *batch {
	if a.spare != nil {
		return nil
	}
	return a.free
}

// finish waits until all is written.
func (a *assembler) finish(ctx context.Context) error { return a.settle(ctx) }

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

// write writes one batch, and commits if its last transaction is whole.
func (t *target) write(ctx context.Context, b *batch, first *progress) (err error) {
	switch {
	case b.ddl != nil:
		err = t.define(ctx, b.ddl)
	case len(b.truncate) > 0:
		err = t.empty(ctx, b)
	case len(b.changes) > 0 && b.careful:
		err = t.carefully(ctx, b)
	case len(b.changes) > 0:
		err = t.changes(ctx, b)
	case len(b.tables) > 0:
		err = t.rows(ctx, b)
	}
	if err != nil || b.more {
		return err
	}
	if err = t.commit(ctx, b, first.SystemID, first.Timeline); err != nil {
		return suspect(err) // deferred constraints are looked at now
	}
	return nil
}

// empty truncates tables; those of a resync row by row, for others may refer to them.
func (t *target) empty(ctx context.Context, b *batch) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	var names []string
	for _, table := range b.truncate {
		names = append(names, table.name)
	}
	if b.resync == "" {
		err := t.exec(ctx, "TRUNCATE "+strings.Join(names, ", "))
		return t.refused(err, "TRUNCATE of "+strings.Join(names, ", "))
	}
	for _, name := range names {
		if err := t.exec(ctx, "DELETE FROM "+name); err != nil {
			return t.refused(err, "DELETE of all rows of "+name+" for a resync")
		}
	}
	return nil
}

// refused makes a halt of what another try cannot cure.
func (t *target) refused(err error, what string) error {
	var answer *pgconn.PgError
	if err == nil || postgres.Retriable(err) || !asPgError(err, &answer) {
		return err
	}
	return Halt{fmt.Sprintf("the target refuses %s: %s", what, answer.Message), "see the message; GRANT what is missing to the user of --postgres, or drop what is in the way"}
}

func asPgError(err error, answer **pgconn.PgError) bool { return errors.As(err, answer) }

// explain adds the repair to errors that have none.
func explain(err error) error {
	var answer *pgconn.PgError
	switch {
	case isHalt(err):
		return err
	case errors.As(err, &answer) && answer.Code == "53100":
		return Halt{"the disk of the target is full: " + answer.Message, "make room there and start again; nothing is half applied"}
	case errors.As(err, &answer) && answer.Code == "42501":
		return Halt{"the user of --postgres lacks a privilege in the target: " + answer.Message, "GRANT it; `pgtee apply --check` lists what is needed"}
	}
	return err
}
