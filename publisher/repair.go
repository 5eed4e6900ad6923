package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// ResyncChoice says which tables a repair publishes again.
type ResyncChoice string

const (
	ResyncLost ResyncChoice = "lost" // tables that may differ from their topics, if these are known; otherwise all
	ResyncAll  ResyncChoice = "all"
	ResyncNone ResyncChoice = "none"
)

// Repaired is the result of a repair.
type Repaired struct {
	From *Position // recorded before; nil: no position was
	To   Position
	Lost int      // number of transactions that Kafka holds and the database has lost
	ID   string   // of the resync; "": nothing is published again
	Only []string // tables of the resync, schema.table; none: every published table
}

// Repair makes Kafka follow the database as it is now, however the two differ. It records the position from which to continue, so that
// everything is published that the slot still has and Kafka may lack, and requests a resync of the tables that may differ from their topics. It holds
// the slot, so no other publisher can run meanwhile.
//
// It also writes a record to the audit topic, so that readers know that the stream was cut here. Transactions that the topic reported earlier and
// that end after "to", up to the end of "from", no longer exist in the database:
//
//	{"v":1,"database","via":"repair","verified":null,"reason":"no note","from":position|null,"to":position,"lost_transactions","resync":id|null}
func (p *Publisher) Repair(ctx context.Context, resync ResyncChoice) (r Repaired, err error) {
	defer p.log.Close()
	defer p.release()
	if err := p.hold(ctx); err != nil {
		return r, err
	}
	if r.From, err = p.log.Fence(ctx, p.source.System()); err != nil {
		return r, fmt.Errorf("fence %s: %w", p.cfg.TransactionalID(), err)
	}
	c, err := p.findDivergence(ctx, r.From)
	if err != nil {
		return r, err
	}
	r.To, r.Lost = p.accept(r.From, c), c.lost
	if resync == ResyncAll || resync == ResyncLost && c.doubtful() {
		r.Only = c.tables
		if names := strings.Join(c.tables, ","); resync == ResyncAll || c.all || len(names) > snapshot.MaxPendingBytes/2 {
			r.Only = nil
		}
		r.ID = "repair-" + p.now().UTC().Format("20060102T150405")
		r.To.Snapshots = withCopy(r.To.Snapshots, snapshot.Copy{ID: r.ID, Tables: r.Only, Resync: true, Requested: p.now().UTC()})
	}
	p.evict(true)
	p.evict(false)
	if err := p.appendRepair(&r); err != nil {
		return r, err
	}
	return r, p.log.Publish(ctx, p.batch, r.To)
}

// withCopy returns the state with one additional requested copy.
func withCopy(s *snapshot.State, c snapshot.Copy) *snapshot.State {
	next := snapshot.State{}
	if s != nil {
		next = *s
	}
	next.Copies = append(next.Copies[:len(next.Copies):len(next.Copies)], c)
	return &next
}

// divergence describes where the histories of Kafka and of the database diverge.
type divergence struct {
	end      outbox.LSN // end LSN of the shared history
	shared   shared     // last transaction of the shared history
	diverged bool       // Kafka holds transactions after the end

	lost   int      // number of lost transactions, according to the audit topic
	tables []string // tables that may differ from their topics, schema.table
	all    bool     // other tables may differ too
}

// shared is the last transaction that Kafka and the database have in common. A zero XID means that no transaction ends there; the zero value means
// that it is not known.
type shared struct {
	end  outbox.LSN
	xid  outbox.XID
	time time.Time
}

// doubtful reports whether any table may differ from its topic.
func (c *divergence) doubtful() bool { return c.all || len(c.tables) > 0 }

// startsAnew returns a divergence at the start of the slot: nothing before it is compared.
func startsAnew(s outbox.System) divergence {
	return divergence{end: s.ConfirmedFlush, shared: shared{end: s.ConfirmedFlush}}
}

// findDivergence determines up to where Kafka and the database share their history. If the timelines differ, the server knows where it left the recorded
// one. On the same timeline, transactions that the slot sends again are compared with the audit topic one by one. The source cannot be used for
// publishing afterwards.
func (p *Publisher) findDivergence(ctx context.Context, recorded *Position) (divergence, error) {
	s := p.source.System()
	c := startsAnew(s)
	switch {
	case recorded == nil:
		c.all = s.ConfirmedFlush != s.ConsistentPoint || len(p.neighbours(true)) > 0 // unknown changes are lost
		return c, nil
	case recorded.SystemID != s.ID || recorded.DatabaseOID != s.DatabaseOID:
		return c, nil
	case s.ConfirmedFlush > recorded.EndLSN || recorded.isBefore(s.Generation):
		c.all = true
		return c, nil
	}
	limit := s.Server
	if recorded.Timeline != s.Timeline {
		left, _ := leftAt(p.history, recorded.Timeline) // 0 if the server was never on it: nothing is shared
		limit = min(limit, left)
	}
	t, err := p.trailBack(ctx, s.ConfirmedFlush, slices.Concat(recorded.under(p.cfg.Database).FormerNames, []string{p.cfg.Database}))
	if err != nil {
		return c, err
	}
	upTo := min(recorded.EndLSN, limit)
	last, differs, err := p.compareResent(ctx, recorded, upTo, t)
	if err != nil {
		return c, err
	}
	switch {
	case !differs && recorded.reach() <= limit:
		c.end, c.shared = recorded.EndLSN, shared{recorded.LastLSN, recorded.XID, recorded.CommitTime}
	case !differs && recorded.Timeline != s.Timeline:
		c.end, c.shared, c.diverged = max(upTo, c.end), last, true
	case t.Whole:
		c.end, c.shared, c.diverged = last.end, last, true
	default: // it is unknown how much of what the slot sends is in Kafka
		c.diverged = true
	}
	if c.diverged {
		c.lost, c.tables, c.all = t.lostAfter(c.end)
	}
	c.all = c.all || recorded.PublicationHash != s.PublicationHash
	p.cfg.Log.Info("compared what the slot sends with what Kafka holds", zap.Stringer("shared", c.end), zap.Bool("diverged", c.diverged), zap.Int("lost", c.lost))
	return c, nil
}

// trailBack reads the audit topic backwards if the log supports it, and otherwise returns an empty trail.
func (p *Publisher) trailBack(ctx context.Context, back outbox.LSN, names []string) (*Trail, error) {
	if l, ok := p.log.(Trails); ok {
		return l.Trail(ctx, back, names)
	}
	return &Trail{}, nil
}

const (
	resendPause    = 200 * time.Millisecond
	resendPatience = 15 * time.Second // how long the server may send nothing new
)

// compareResent reads the transactions that the slot sends again, up to a position, and returns the last one that is also in Kafka. differs reports
// whether the slot sent a transaction that Kafka lacks, or did not send the last one that Kafka has.
func (p *Publisher) compareResent(ctx context.Context, recorded *Position, upTo outbox.LSN, t *Trail) (last shared, differs bool, err error) {
	start := p.source.System().ConfirmedFlush
	last = shared{end: start}
	again := newResendCheck(*recorded, start)
	for lastReceived := p.now(); start < upTo; {
		wait, cancel := context.WithTimeout(ctx, resendPause)
		transactions, err := p.source.Next(wait, p.cfg.MaxBatchBytes)
		cancel()
		switch {
		case err == nil:
			lastReceived = p.now()
		case ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded):
			return last, false, fmt.Errorf("compare what slot %s sends with Kafka: %w", p.cfg.Slot, err)
		case p.source.Received() >= upTo || p.now().Sub(lastReceived) > resendPatience:
			return last, upTo == recorded.EndLSN && again.verdict() != nil, nil
		}
		for _, tx := range transactions {
			whole := !tx.IsMarker() && !tx.More && tx.EndLSN <= upTo
			if again.observe(tx) != nil || t.Whole && whole && p.wanted(tx) && !t.has(tx) {
				return last, true, nil
			}
			if whole {
				last = shared{tx.EndLSN, tx.XID, tx.CommitTime}
			}
			if tx.Through() >= upTo {
				return last, false, nil
			}
		}
		p.source.Drop(transactions)
	}
	return last, false, nil
}

// accept returns the position that replaces the recorded one.
func (p *Publisher) accept(recorded *Position, c divergence) Position {
	s := p.source.System()
	to := startPosition(s, p.cfg.Slot)
	to.EndLSN, to.LastLSN, to.XID, to.CommitTime = c.end, c.shared.end, c.shared.xid, c.shared.time
	if recorded == nil {
		return to
	}
	// Records stay in the topics, even those of another server or database. New records must not look older than these, so the number of cuts
	// in the event ids never becomes smaller.
	to.Cuts = recorded.Cuts
	sameServer := recorded.SystemID == s.ID
	if c.diverged || to.EndLSN < recorded.EndLSN {
		cut := c.end
		if left, known := leftAt(p.history, recorded.Timeline); known && sameServer {
			cut = min(cut, left) // a slot that was created after the switch starts after the transactions that the database has lost
		}
		to.Cuts = append(slices.Clone(recorded.Cuts), cut)
	}
	if !sameServer || recorded.DatabaseOID != s.DatabaseOID {
		return to
	}
	to.Snapshots, to.ChosenKeys, to.FormerNames = recorded.Snapshots, recorded.ChosenKeys, recorded.under(p.cfg.Database).FormerNames
	if !c.diverged && to.EndLSN == recorded.EndLSN {
		to.Ordinal, to.Part = recorded.Ordinal, recorded.Part
	}
	return to
}

func (p *Publisher) appendRepair(r *Repaired) error {
	var resync *string
	if r.ID != "" {
		resync = &r.ID
	}
	value, err := json.Marshal(struct {
		Version  int       `json:"v"`
		Database string    `json:"database"`
		Via      string    `json:"via"`
		Verified *bool     `json:"verified"`
		Reason   string    `json:"reason"`
		From     *Position `json:"from"`
		To       Position  `json:"to"`
		Lost     int       `json:"lost_transactions"`
		Resync   *string   `json:"resync"`
	}{1, p.cfg.Database, "repair", nil, "no note", r.From, r.To, r.Lost, resync})
	if err != nil {
		return err
	}
	b := p.batch
	b.Cuts = len(r.To.Cuts)
	b.Begin(&outbox.Transaction{CommitLSN: r.To.EndLSN})
	b.Mark("repair")
	start := len(b.Buf)
	b.Buf = append(b.Buf, value...)
	b.Add(p.topics.Audit, record.Null, start)
	return nil
}
