package publisher

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/pgtee/pgtee/outbox"
)

// Repair makes Kafka follow the database as it is now, whatever lies between them before: it records
// the position from which everything that the slot still has, and Kafka may lack, is published. Nobody
// publishes meanwhile, for it holds the slot. It returns the position that was recorded, nil for none,
// and the new one.
//
// The audit topic gets a record of it, so that a reader knows that the stream was cut here:
//
//	{"v":1,"database","via":"repair","verified":null,"reason":"no note","from":position|null,"to":position}
func (p *Publisher) Repair(ctx context.Context) (from *Position, to Position, err error) {
	defer p.log.Close()
	defer p.release()
	if err := p.hold(ctx); err != nil {
		return nil, to, err
	}
	if from, err = p.log.Fence(ctx); err != nil {
		return nil, to, fmt.Errorf("fence %s: %w", p.cfg.TransactionalID(), err)
	}
	to = p.accept(from)
	if err := p.appendRepair(from, to); err != nil {
		return nil, to, err
	}
	return from, to, p.log.Publish(ctx, p.batch, to)
}

// accept returns the end of the history that Kafka and the database share, as far as that is known,
// and never one that the slot has passed.
func (p *Publisher) accept(recorded *Position) Position {
	s := p.source.System()
	to := startPosition(s, p.cfg.Slot)
	to.EndLSN = s.ConfirmedFlush
	if recorded == nil || recorded.SystemID != s.ID || recorded.DatabaseOID != s.DatabaseOID {
		return to
	}
	to.Snapshots = recorded.Snapshots
	shared := recorded.EndLSN
	if recorded.Timeline != s.Timeline {
		end, _ := leftAt(p.history, recorded.Timeline) // never there: nothing is shared
		shared = min(shared, end)
	}
	if shared <= s.Server { // else the server was set back: nobody knows what it shares
		to.EndLSN = max(to.EndLSN, shared)
	}
	if to.EndLSN == recorded.EndLSN && recorded.reach() <= s.Server && checkTimeline(s, *recorded, p.history) == nil {
		to.Ordinal, to.Part = recorded.Ordinal, recorded.Part
	}
	return to
}

func (p *Publisher) appendRepair(from *Position, to Position) error {
	value, err := json.Marshal(struct {
		Version  int       `json:"v"`
		Database string    `json:"database"`
		Via      string    `json:"via"`
		Verified *bool     `json:"verified"`
		Reason   string    `json:"reason"`
		From     *Position `json:"from"`
		To       Position  `json:"to"`
	}{1, p.cfg.Database, "repair", nil, "no note", from, to})
	if err != nil {
		return err
	}
	b := p.batch
	b.Begin(&outbox.Transaction{CommitLSN: to.EndLSN})
	b.ordinal = append(b.ordinal[:0], "repair"...)
	start := len(b.Buf)
	b.Buf = append(b.Buf, value...)
	b.Add(p.topics.audit, Null, start)
	return nil
}
