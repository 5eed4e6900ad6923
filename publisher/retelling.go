package publisher

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// retelling makes sure that a slot which sends again what Kafka holds tells the same history. A data folder that was
// restored, or a volume that was set back, has the system identifier and the timeline of the server that it was copied
// from: only its transactions tell that it is another one.
//
// The slot sends everything again that ends behind its own start. So the last transaction of the recorded position comes
// again if it ends there, with its id and commit time, and no other with rows comes behind it up to that position. Nothing is
// published before that is known.
type retelling struct {
	recorded Position
	start    outbox.LSN // of the slot: what ends up to here does not come again

	found  bool                // the last transaction of the position has come
	strays *outbox.Transaction // one with rows that is none of those that were published; nil: none has come
	over   bool
}

func newRetelling(recorded Position, start outbox.LSN) *retelling {
	return &retelling{recorded: recorded, start: start}
}

// see takes the next transaction of the stream; without a position there is nothing to compare. Its error is a *Halt.
func (r *retelling) see(tx *outbox.Transaction) error {
	if r == nil || r.over {
		return nil
	}
	p := &r.recorded
	if !tx.IsMarker() && !tx.More && tx.EndLSN <= p.EndLSN {
		switch {
		case p.isLast(tx):
			r.found = true
		case hasRows(tx) && (tx.EndLSN > p.LastLSN || p.LastLSN == 0 && !r.found):
			r.strays = tx
		}
	}
	if tx.Through() < p.EndLSN {
		return nil
	}
	r.over = true
	return r.judge()
}

// judge says what is wrong now that the stream has come to the recorded position.
func (r *retelling) judge() error {
	p := &r.recorded
	lost := p.XID != 0 && p.LastLSN > r.start && !r.found
	switch {
	case p.XID == 0 && p.LastLSN == 0: // the record does not know
	case lost:
		return halt.New(halt.ErrDiverged, fmt.Sprintf("transaction %d, which committed at %s and is in Kafka, does not end at %s in the log of the server: was it restored, or set back?",
			p.XID, p.CommitTime.Format(time.RFC3339Nano), p.LastLSN), repairDiverged)
	case r.strays != nil && (p.LastLSN != 0 || !r.found):
		return halt.New(halt.ErrDiverged, fmt.Sprintf("transaction %d of the server ends at %s, before %s, up to where Kafka holds all: was the server restored, or set back?",
			r.strays.XID, r.strays.EndLSN, p.EndLSN), repairDiverged)
	}
	return nil
}

// isLast reports whether a transaction is the last one that is out as a whole.
func (p *Position) isLast(tx *outbox.Transaction) bool {
	return tx.XID == p.XID && tx.CommitTime.Equal(p.CommitTime) && (p.LastLSN == 0 || p.LastLSN == tx.EndLSN)
}

// hasRows reports whether a transaction changed rows of tables.
func hasRows(tx *outbox.Transaction) bool {
	return !tx.Whole() || slices.ContainsFunc(tx.Changes, func(c outbox.Change) bool { return c.Relation != nil })
}
