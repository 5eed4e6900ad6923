package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

const (
	connectPatience = 10 * time.Second
	askPatience     = 15 * time.Second // for Kafka to describe the topic
	topicPause      = 3 * time.Second  // between two checks of the topic
	errorPause      = time.Second
)

// session connects to PostgreSQL, joins the group, and runs one turn after another until the end is reached, or until an error that another turn cannot
// repair. The membership in the group ends with the connection.
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
	client, err := cfg.newClient()
	if err != nil {
		return false, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if err := r.prepare(ctx, t, admin); err != nil {
		return false, err
	}
	if err := t.join(ctx); err != nil {
		return false, err
	}
	for {
		done, err := r.turn(ctx, t, admin)
		if doubt := (doubtful{}); errors.As(err, &doubt) {
			err = r.trust(ctx, admin, doubt)
		}
		if done || ctx.Err() != nil || err != nil && (t.conn.IsClosed() || errors.Is(err, errTableChanged) || isHalt(err) || !postgres.Retriable(err)) {
			return done, err
		}
		if err == nil || errors.Is(err, errShared) {
			continue
		}
		cfg.Log.Warn("retrying", zap.Error(withoutValues(err)), zap.Duration("in", errorPause))
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(errorPause):
		}
	}
}

// trust returns doubt unless the registry has a schema of the topic's first records. A batch may be a single bad record.
func (r *runner) trust(ctx context.Context, admin *kadm.Client, doubt doubtful) error {
	asking, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	records, err := r.cfg.firstRecords(asking, admin, sampleRecords)
	if err != nil {
		return err
	}
	decoder := r.cfg.newDecoder(&table{})
	decoder.readable = &r.readable
	for _, record := range records {
		_, _, err := decoder.unframe(ctx, record.Value, &decoder.value)
		if bad := badRecord(""); err != nil && !errors.As(err, &bad) {
			return err
		}
		if r.readable {
			return nil
		}
	}
	return doubt
}

// close closes the connection, and thereby releases the locks.
func (t *target) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.conn.Close(ctx)
}

// prepare reads the table's definition, after creating the table if necessary.
func (r *runner) prepare(ctx context.Context, t *target, admin *kadm.Client) (err error) {
	if t.table, err = r.cfg.lookUp(ctx, t.conn); err != nil {
		return err
	}
	if t.table == nil && !r.cfg.Create {
		return Halt{fmt.Sprintf("table %s.%s does not exist", r.cfg.Schema, r.cfg.Table), "create it, or let pgtee create it with --create-table"}
	}
	if t.table == nil {
		if err = r.cfg.create(ctx, t, admin); err != nil {
			return err
		}
		if t.table, err = r.cfg.lookUp(ctx, t.conn); err != nil {
			return err
		}
	}
	if t.table == nil {
		return fmt.Errorf("table %s.%s was dropped immediately after it was created", r.cfg.Schema, r.cfg.Table)
	}
	if t.table.keys > 0 {
		return t.exec(ctx, t.table.stageSQL())
	}
	return nil
}

// find describes the topic and registers its partitions.
func (r *runner) find(ctx context.Context, t *target, admin *kadm.Client) (*topic, error) {
	asking, cancel := context.WithTimeout(ctx, askPatience)
	defer cancel()
	topic, err := r.cfg.describe(asking, admin)
	if missing := (noTopic{}); errors.As(err, &missing) && r.cfg.Once {
		return nil, Halt{err.Error(), "check --topic and --kafka"}
	}
	if err != nil {
		return nil, err
	}
	err = t.register(ctx, topic, func(fresh bool) (map[int32]int64, error) { return r.cfg.From.resolve(asking, admin, topic, fresh) })
	if err == nil && r.cfg.Once && r.ends == nil {
		r.ends, err = r.cfg.committedEnds(asking, admin)
	}
	t.topicID = topic.id
	return topic, err
}

// errShared ends a turn because the partitions must be redistributed.
var errShared = errors.New("the partitions must be redistributed")

// turn is the single path for start and recovery: take this consumer's share of the partitions, fence them, continue from their positions in pgtee.consumed,
// write. It ends with an error, or when the requested end is reached.
func (r *runner) turn(ctx context.Context, t *target, admin *kadm.Client) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	topic, err := r.find(ctx, t, admin)
	if err != nil {
		return false, err
	}
	mine, err := t.assign(ctx, topic.partitions)
	if err != nil {
		return false, err
	}
	if err := t.release(ctx, mine); err != nil {
		return false, err
	}
	starts, err := t.claim(ctx, topic, mine)
	if err != nil {
		return false, err
	}
	h := &turnState{runner: r, target: t, topic: topic, mine: mine, starts: starts, batches: make(chan *batch), free: make(chan *batch, 2)}
	if done, err := h.done(ctx); done || err != nil {
		return done, err
	}
	h.reportState()
	decoder := r.cfg.newDecoder(t.table)
	decoder.readable = &r.readable
	s, err := r.cfg.open(topic, decoder, starts)
	if err != nil {
		return false, err
	}
	var running sync.WaitGroup
	defer s.client.Close()
	defer running.Wait()
	defer cancel(nil)
	fetched := make(chan kgo.Fetches)
	if len(starts) > 0 {
		running.Go(func() { cancel(s.poll(ctx, fetched)) })
		running.Go(func() { cancel(s.read(ctx, fetched, h.batches, h.free)) })
	}
	running.Go(func() { cancel(r.watchTopic(ctx, admin, topic)) })
	err = h.run(ctx)
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
		err = cause
	}
	if err == nil {
		return true, nil
	}
	return false, err
}

// watchTopic ends a turn when the topic has changed.
func (r *runner) watchTopic(ctx context.Context, admin *kadm.Client, was *topic) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(topicPause):
		}
		is, err := r.cfg.describe(ctx, admin)
		switch {
		case err != nil: // the readers of the topic will report the error
		case is.id != was.id:
			return topicRecreated(was.name, r.cfg.group())
		case len(is.partitions) > len(was.partitions):
			return errShared
		}
	}
}

// turnState is the state of a consumer during a turn.
type turnState struct {
	*runner
	target  *target
	topic   *topic
	mine    []int32
	starts  map[int32]start // of the partitions that this consumer was able to take
	batches chan *batch
	free    chan *batch
}

func (h *turnState) reportState() {
	state := "consuming"
	if len(h.starts) == 0 {
		state = "standing by"
	}
	h.cfg.Stats.change(func(v *Values) { v.State, v.Partitions, v.Lag = state, len(h.starts), 0 })
	h.cfg.Log.Info(state, zap.String("topic", h.topic.name), zap.String("group", h.cfg.group()), zap.Int("partitions", len(h.starts)), zap.Int("of", len(h.topic.partitions)))
}

// run writes batches until ctx ends or the requested end is reached.
func (h *turnState) run(ctx context.Context) error {
	h.free <- newBatch()
	tick := time.NewTicker(membersInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case b := <-h.batches:
			if err := h.target.write(ctx, b); err != nil {
				return err
			}
			h.written(b)
			h.free <- b
		case <-tick.C:
			if err := h.checkShare(ctx); err != nil {
				return err
			}
		}
		if done, err := h.done(ctx); done || err != nil {
			return err
		}
	}
}

// checkShare ends the turn if the partitions must be redistributed.
func (h *turnState) checkShare(ctx context.Context) error {
	mine, err := h.target.assign(ctx, h.topic.partitions)
	if err != nil {
		return err
	}
	if !slices.Equal(mine, h.mine) {
		return errShared
	}
	for _, p := range mine {
		if _, held := h.starts[p]; held {
			continue
		}
		rows, err := postgres.Query(ctx, h.target.conn, lockPartition, h.target.lockNameOf(p))
		if err != nil {
			return err
		}
		if rows[0][0] == "true" {
			h.target.epoch[p] = 0 // the lock is held; the next turn fences the partition
			return errShared
		}
	}
	return nil
}

// written records the progress after a batch.
func (h *turnState) written(b *batch) {
	var records int64
	for number, p := range b.positions {
		h.starts[number] = start{p.next, p.leader}
		records += p.records
	}
	var dead int64
	for i := range b.rows {
		if b.rows[i].dead != "" {
			dead++
		}
	}
	if dead > 0 {
		h.cfg.Log.Warn("records were written to pgtee.dead_letters", zap.Int64("records", dead), zap.Int64("of", records))
	}
	h.cfg.Stats.change(func(v *Values) {
		v.Records += records
		v.Dead += dead
		v.Commits++
	})
	h.rewinds = 0
}

// done reports whether the end required by Config.Once has been reached in every partition, including those of other consumers of the group.
func (h *turnState) done(ctx context.Context) (bool, error) {
	if !h.cfg.Once {
		return false, nil
	}
	for p, at := range h.starts {
		if at.next < h.ends[p] {
			return false, nil
		}
	}
	if len(h.starts) == len(h.topic.partitions) {
		return true, nil
	}
	offsets, err := h.target.offsets(ctx)
	if err != nil {
		return false, err
	}
	for p, end := range h.ends {
		if offsets[p] < end {
			return false, nil
		}
	}
	return true, nil
}
