// Package publisher ensures that Kafka holds every committed transaction of a database exactly once, in commit order. The guarantee is the function
// publish; everything else serves it.
package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/snapshot"
	"go.uber.org/zap"
)

// Publisher publishes one database. Run must be called from one goroutine; Stats may be called from any.
type Publisher struct {
	cfg    Config
	open   func(context.Context) (Source, error)
	log    Log
	format record.Format
	topics record.Topics
	owners owners
	limits map[string]topicLimit // of topics that accept only smaller records than the configuration allows
	part   int                   // size of the batch, in bytes, above which it is sent although the rest of a giant has not arrived
	now    func() time.Time
	pause  func(context.Context, time.Duration) error

	source      Source                  // nil: the slot is not held
	history     []outbox.TimelineSwitch // timeline switches of its server, oldest first
	acked       outbox.LSN              // position acknowledged on this source
	dropped     outbox.LSN              // position up to which transactions of this source were dropped from its queue
	resendCheck *resendCheck            // checks what the slot sends again; nil: no fence since the source was opened
	checked     time.Time               // when the publications were last checked
	doubted     *Position               // the recorded position for which the last check failed

	batch    *record.Batch // of this source
	composer composer
	giant    giant
	since    tally // since the last Publish
	tracing  tracing
	urgent   bool // the server waits for the position to be acknowledged

	copier  *snapshot.Copier // copies tables; created at each fence
	rows    chunkRows        // rows of the current chunk; reused
	signals Signals          // nil: no signal topic is read

	recorded      time.Time // when a position was last recorded in Kafka
	lastHeartbeat time.Time
	failures      int     // consecutive failures
	trouble       trouble // the failure logged last
	decoding      undecodable
	stats         stats
}

// giant is the progress of a transaction that arrives in parts. The zero value means that it has not begun.
type giant struct {
	beginWritten bool      // its BEGIN record has been appended
	goesOn       bool      // further parts follow
	opened       time.Time // when the first of its parts since the last Publish was composed; zero: none was
	torn         bool      // earlier parts of a giant that is not yet published have been dropped from the queue
}

// tally counts what has been composed since the last Publish.
type tally struct {
	transactions int // completely composed transactions
	sent         int // records given to the log
	filtered     int // changes without a record
	missed       int // tables with missing changes
	refused      int // refused events in the batches that were sent
	deadLetters  int // dead letters in the batches that were sent
}

// batch adds the counters of a batch that the log has accepted.
func (t *tally) batch(b *record.Batch) {
	t.refused += b.Refused
	t.deadLetters += b.DeadLetters
}

// New returns a Publisher that takes its slot with open, turns changes into records with format and writes them to log.
func New(cfg Config, open func(context.Context) (Source, error), log Log, format record.Format) (*Publisher, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return newPublisher(cfg, open, log, format), nil
}

func newPublisher(cfg Config, open func(context.Context) (Source, error), log Log, format record.Format) *Publisher {
	p := &Publisher{cfg: cfg, open: open, log: log, format: format, topics: record.TopicsOf(cfg.Prefix), owners: owners{}, limits: map[string]topicLimit{}, part: partBytes, now: time.Now, pause: Pause, composer: composer{notes: newNotes(cfg.SQLText, cfg.SQLTextBytes)}, tracing: tracing{tell: cfg.Trace}}
	p.copier = p.newCopier(nil)
	p.cfg.Shape.Tell = p.warnOwnTopic
	return p
}

// newCopier returns a Copier that resumes the copies in the progress record.
func (p *Publisher) newCopier(recorded *snapshot.State) *snapshot.Copier {
	host := snapshot.Host{
		Shape: p.cfg.Shape, EventTables: p.cfg.EventTables, Log: p.cfg.Log,
		Identity: p.format.Identity,
		Now:      func() time.Time { return p.now() },
	}
	return snapshot.New(&p.cfg.Snapshot, host, recorded)
}

// partBytes bounds the memory of the batch: the records of a transaction take about ten times the memory of the transaction itself. The log keeps a
// few such parts in flight while the next one is composed.
const partBytes = 1 << 20

// Run publishes until ctx ends or an operator must act. In the first case it returns nil, in the second a *halt.Halt or an error of package outbox that
// says what to do. Run may be called again afterwards.
func (p *Publisher) Run(ctx context.Context) error {
	defer p.log.Close()
	defer p.release()
	for {
		err := p.publish(ctx)
		p.tracing.end(p.since.transactions, err, p.now)
		if ctx.Err() != nil || errors.Is(err, snapshot.ErrTaken) {
			p.stats.state("stopped")
			return nil
		}
		wait := p.backoff()
		err = p.adaptTo(err)
		switch halt.FateOf(err) {
		case halt.Stop:
			p.halt(err)
			return err
		case halt.StandBy:
			p.release()
			p.logTrouble("standing by", err)
			wait = standByPause
		case halt.Retry:
			p.logTrouble("retrying", err)
		}
		if p.pause(ctx, wait) != nil {
			p.stats.state("stopped")
			return nil
		}
	}
}

// publish is the only path for both start and recovery. It never returns nil.
func (p *Publisher) publish(ctx context.Context) error {
	if err := p.hold(ctx); err != nil {
		return err
	}
	defer p.closeSignals()
	position, err := p.fence(ctx)
	if err != nil {
		return err
	}
	defer p.copier.Stop()
	next := position
	for {
		transactions, err := p.receive(ctx, next)
		if err != nil {
			return err
		}
		if next, err = p.compose(ctx, transactions, position, next); err != nil {
			return err
		}
		if err := p.heartbeat(ctx); err != nil {
			return err
		}
		if next, err = p.appendChunks(ctx, next); err != nil {
			return copyError{err}
		}
		next.ChosenKeys = p.cfg.Keys.Recorded()
		if p.due(position, next) {
			p.since.sent += p.batch.Len()
			p.tracing.send(p.batch, p.now)
			if err := p.log.Publish(ctx, p.batch, next); err != nil {
				return unpublished(next, err)
			}
			position = next
			p.published(position)
			p.stats.pass(position.EndLSN, p.source.System().Server, p.copier.Copying())
		} else if p.batch.Len() == 0 && p.since.sent == 0 && !p.copier.Copying() {
			p.stats.pass(next.EndLSN, p.source.System().Server, false)
		}
		p.drop(transactions)
		if p.resendCheck.over { // until then the server may turn out to have another history, and the slot must retain its changes
			p.ack(min(position.EndLSN, p.source.Received()))
		}
	}
}

// due reports whether to publish now. A giant is published once its last part has arrived. But Kafka aborts transactions that stay open too long: after
// PartAfter, the changes of a giant that have arrived so far are published as a part, and the position records their number.
func (p *Publisher) due(position, next Position) bool {
	if !p.giant.opened.IsZero() {
		return p.now().Sub(p.giant.opened) >= p.cfg.PartAfter
	}
	return p.batch.Len() > 0 || p.since.sent > 0 || p.copier.Dirty() || p.idle(position, next)
}

// drop removes composed transactions from the source's queue.
func (p *Publisher) drop(transactions []*outbox.Transaction) {
	p.source.Drop(transactions)
	if n := len(transactions); n > 0 {
		p.dropped = max(p.dropped, transactions[n-1].Through())
		p.giant.torn = p.giant.torn || transactions[n-1].More
	}
}

// hold takes the slot. If it is held already, it checks the publications.
func (p *Publisher) hold(ctx context.Context) error {
	if p.source != nil && p.source.Err() == nil {
		return p.checkPublications(ctx)
	}
	p.release()
	if p.trouble.state != "standing by" {
		p.stats.state("waiting for the slot")
	}
	source, err := p.open(ctx)
	if err != nil {
		return fmt.Errorf("slot %s: %w", p.cfg.Slot, err)
	}
	s := source.System()
	p.source, p.acked, p.checked, p.resendCheck, p.dropped = source, 0, p.now(), nil, 0
	if p.history, err = historyOf(ctx, source); err != nil {
		p.release()
		return err
	}
	p.batch = p.newBatch(s)
	p.stats.holds(true)
	p.cfg.Log.Info("slot taken", zap.Stringer("lsn", s.ConfirmedFlush))
	return nil
}

// historyOf returns the timelines that led to the server's own.
func historyOf(ctx context.Context, source Source) ([]outbox.TimelineSwitch, error) {
	timeline := source.System().Timeline
	if timeline <= 1 {
		return nil, nil
	}
	history, err := source.TimelineHistory(ctx, timeline)
	if err != nil {
		return nil, fmt.Errorf("history of timeline %d: %w", timeline, err)
	}
	return history, nil
}

func (p *Publisher) newBatch(s outbox.System) *record.Batch {
	b := record.NewBatch(s.ID, p.cfg.Slot)
	b.Timeline, b.History = s.Timeline, p.history
	b.StandIn, _ = p.format.(record.StandInKeys)
	b.Authors = p.composer.notes
	return b
}

// fence shuts out any other publisher of the slot, then reads and checks the recorded position.
func (p *Publisher) fence(ctx context.Context) (Position, error) {
	p.stats.state("fencing")
	recorded, err := p.log.Fence(ctx, p.source.System())
	if err != nil {
		return Position{}, fmt.Errorf("fence %s: %w", p.cfg.TransactionalID(), err)
	}
	if p.giant.torn { // checked only here, so that the publisher keeps the slot while Kafka is unavailable
		p.release()
		return Position{}, errors.New("a giant transaction was interrupted: reopening the slot to receive it from its start")
	}
	if err := p.checkPrefix(recorded == nil); err != nil {
		p.release()
		return Position{}, err
	}
	if err := p.claimTopics(ctx); err != nil {
		return Position{}, err
	}
	copyAll, err := p.check(recorded)
	if err != nil {
		return Position{}, err
	}
	s := p.source.System()
	if copyAll {
		accepted := p.accept(recorded, startsAnew(s))
		p.evict(true)
		recorded = &accepted
	}
	position := startPosition(s, p.cfg.Slot)
	if recorded != nil {
		position = recorded.under(p.cfg.Database)
		position.Version = positionVersion
	}
	if err := p.compareHistory(position); err != nil {
		return Position{}, err
	}
	p.batch.Reset()
	p.batch.Cuts = len(position.Cuts)
	p.composer.columns.forget()
	p.since, p.giant = tally{}, giant{}
	if position.Timeline != s.Timeline {
		position.Timeline = s.Timeline
		if err := p.log.Publish(ctx, p.batch, position); err != nil {
			return Position{}, unpublished(position, err)
		}
	}
	p.cfg.Keys.Resume(position.ChosenKeys)
	p.copier = p.newCopier(position.Snapshots)
	p.copier.Begin(recorded != nil, copyAll)
	if err := p.readSignals(ctx); err != nil {
		return Position{}, err
	}
	if p.copier.Dirty() { // record the copies before anything is published
		position.EndLSN = max(position.EndLSN, s.ConfirmedFlush)
	}
	p.recorded = p.now()
	p.stats.start(p.acked, position.EndLSN, p.source.Received(), s.Server)
	if p.trouble.state != "retrying" { // otherwise the failure is over only when something has been published
		p.trouble = trouble{}
		p.cfg.Log.Info("publishing", zap.Stringer("lsn", position.EndLSN))
	}
	return position, nil
}

// compareHistory starts comparing the stream with the recorded position. Transactions that this source delivered before Kafka failed are not
// delivered again.
func (p *Publisher) compareHistory(position Position) error {
	r := p.resendCheck
	switch {
	case r == nil || r.over:
		p.resendCheck = newResendCheck(position, max(p.source.System().ConfirmedFlush, p.dropped))
	case r.recorded.EndLSN != position.EndLSN || r.recorded.XID != position.XID:
		p.release()
		return errors.New("the recorded position changed while transactions already in Kafka were being received again; starting over on a new connection")
	}
	return nil
}

// check compares the recorded position with the source. Since another publisher may have published after the connection was made, a failed check
// counts only if it fails again on a connection that was opened after the position was read. copyAll reports that changes were lost, so every table
// must be copied again.
func (p *Publisher) check(recorded *Position) (copyAll bool, err error) {
	s := p.source.System()
	s.Server = max(s.Server, p.source.Received())
	s.ConfirmedFlush = max(s.ConfirmedFlush, p.acked)
	err = check(s, recorded, p.history)
	if err == nil && recorded == nil {
		err = checkFormerSlot(p.cfg.Slot, s, p.others())
	}
	if err == nil {
		p.doubted = nil
		return false, nil
	}
	if recorded == nil {
		recorded = &Position{}
	}
	if p.doubted == nil || p.doubted.EndLSN != recorded.EndLSN {
		p.release()
		p.doubted = recorded
		return false, fmt.Errorf("position check failed, repeating it on a new connection: %v", err)
	}
	if p.cfg.Snapshot.Mends(err) {
		p.cfg.Log.Warn("changes were lost: every table is copied again; rows that were deleted meanwhile stay in the topics", zap.String("finding", "changes-resynced"), zap.Error(err))
		return true, nil
	}
	p.release()
	return false, err
}

// receive waits for transactions, but no longer than until the next timed task is due.
func (p *Publisher) receive(ctx context.Context, next Position) ([]*outbox.Transaction, error) {
	if !p.now().Before(p.checked.Add(p.cfg.CheckPublications)) {
		if err := p.checkPublications(ctx); err != nil {
			return nil, err
		}
	}
	if err := p.copier.OnlyResult(); err != nil {
		return nil, err
	}
	due := min(p.checked.Add(p.cfg.CheckPublications).Sub(p.now()), p.cfg.IdleProgress)
	if p.cfg.Heartbeat > 0 {
		due = min(due, p.untilHeartbeat())
	}
	if !p.giant.goesOn {
		due = p.copier.UntilDue(next.EndLSN, due)
	}
	if !p.giant.opened.IsZero() {
		due = min(due, p.giant.opened.Add(p.cfg.PartAfter).Sub(p.now()))
	}
	wait, cancel := context.WithTimeout(ctx, due)
	defer p.copier.Wake(wait, cancel)()
	defer cancel()
	transactions, err := p.source.Next(wait, p.cfg.MaxBatchBytes)
	if err != nil && errors.Is(err, wait.Err()) && ctx.Err() == nil && p.source.Err() == nil {
		return nil, nil
	}
	if err != nil {
		p.release()
		return nil, fmt.Errorf("stream of slot %s: %w", p.cfg.Slot, err)
	}
	p.stats.receive(p.source.Received())
	return transactions, nil
}

// idle reports whether a position without events must be recorded now.
func (p *Publisher) idle(position, next Position) bool {
	return next.EndLSN > position.EndLSN && (p.urgent || p.now().Sub(p.recorded) >= p.cfg.IdleProgress)
}

// checkPublications halts if the publications have changed. If the server accepts no new connection (it may be shutting down and waiting for an
// acknowledgement), the check is repeated later; until then the stream itself reports errors and warnings.
func (p *Publisher) checkPublications(ctx context.Context) error {
	err := p.source.CheckPublications(ctx)
	if halt.FateOf(err) == halt.Stop {
		return fmt.Errorf("publications of slot %s: %w", p.cfg.Slot, err)
	}
	p.checked = p.now()
	return nil
}

// unpublished adds the position to an error of Publish.
func unpublished(next Position, err error) error {
	return fmt.Errorf("publish through %s: %w", next.EndLSN, err)
}

func (p *Publisher) published(position Position) {
	p.since.batch(p.batch)
	p.warnRefused()
	if n := p.since.deadLetters; n > 0 {
		p.cfg.Log.Warn("changes are too large for a record; the dead-letter topic describes them", zap.String("finding", "dead-letters"), zap.Int("changes", n), zap.String("topic", p.topics.DeadLetter))
	}
	p.stats.publish(position.EndLSN, p.since)
	p.tracing.end(p.since.transactions, nil, p.now)
	p.batch.Reset()
	p.since, p.urgent, p.giant.opened = tally{}, false, time.Time{}
	p.recorded, p.failures = p.now(), 0
	p.recovered(position)
	p.stats.copied(p.copier.Recorded())
	p.giant.torn = p.giant.torn && p.giant.goesOn
	if position.Ordinal > 0 {
		p.cfg.Log.Info("published a part of a transaction", zap.Stringer("lsn", position.EndLSN), zap.Int("part", position.Part), zap.Int("changes", position.Ordinal))
	}
}

// warnRefused logs, once, that events of the application are refused.
func (p *Publisher) warnRefused() {
	if p.since.refused == 0 || p.Stats().Refused > 0 {
		return
	}
	p.cfg.Log.Warn("events of the application are refused: their headers say why. The metric pgtee_refused_events_total counts further ones",
		zap.String("finding", "events-refused"), zap.String("topic", p.cfg.Router.Refused()))
}

// ack lets PostgreSQL discard the WAL up to a position that is recorded in Kafka and that this source has delivered. After a restart the slot sends again
// everything that was not acknowledged.
func (p *Publisher) ack(upTo outbox.LSN) {
	if upTo <= p.acked {
		return
	}
	p.source.Ack(upTo)
	p.acked = upTo
	p.stats.ack(upTo)
}

// release closes the connection that holds the slot, if there is one.
func (p *Publisher) release() {
	if p.source == nil {
		return
	}
	if err := p.source.Close(); err != nil {
		p.cfg.Log.Debug("close the stream", zap.Error(err))
	}
	p.source, p.giant.torn = nil, false
	p.stats.holds(false)
}

// heartbeat appends a heartbeat record when one is due. The record is sent in the Kafka transaction of the next batch, or in one that only records
// the position.
func (p *Publisher) heartbeat(ctx context.Context) error {
	if p.cfg.Heartbeat == 0 || p.untilHeartbeat() > 0 {
		return nil
	}
	p.lastHeartbeat = p.now()
	if format, ok := p.format.(record.Heartbeats); ok {
		if err := format.AppendHeartbeat(ctx, p.batch); err != nil {
			return record.Unencoded("heartbeat", err)
		}
	}
	return nil
}

func (p *Publisher) untilHeartbeat() time.Duration {
	return p.lastHeartbeat.Add(p.cfg.Heartbeat).Sub(p.now())
}
