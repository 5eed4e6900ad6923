package publisher

import (
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// resendCheck verifies that the transactions which the slot sends again are those that Kafka holds. A restored data directory, or a volume rolled
// back to a snapshot, has the system identifier and timeline of the original server: only its transactions reveal the difference.
//
// The slot resends every transaction that ends after the slot's start. So if the last transaction of the recorded position ends after it, that one
// must come again with the same id and commit time, and none with rows may follow it up to the recorded position.
// Nothing is published until both have been checked.
type resendCheck struct {
	recorded Position
	start    outbox.LSN // of the slot: transactions that end up to here are not sent again

	found bool                // the last transaction of the position has been received
	stray *outbox.Transaction // a transaction with rows that was not published; nil: none received
	over  bool
}

func newResendCheck(recorded Position, start outbox.LSN) *resendCheck {
	return &resendCheck{recorded: recorded, start: start}
}

// observe handles the next transaction of the stream. Its error is a *halt.Halt.
func (r *resendCheck) observe(tx *outbox.Transaction) error {
	if r == nil || r.over {
		return nil
	}
	p := &r.recorded
	if !tx.IsMarker() && !tx.More && tx.EndLSN <= p.EndLSN {
		switch {
		case p.isLast(tx):
			r.found = true
		case hasRows(tx) && (tx.EndLSN > p.LastLSN || p.LastLSN == 0 && !r.found):
			r.stray = tx
		}
	}
	if tx.Through() < p.EndLSN {
		return nil
	}
	r.over = true
	return r.verdict()
}

// verdict returns the error, if any, once the stream has reached the recorded position.
func (r *resendCheck) verdict() error {
	p := &r.recorded
	lost := p.XID != 0 && p.LastLSN > r.start && !r.found
	switch {
	case p.XID == 0 && p.LastLSN == 0: // the position does not name its last transaction
	case lost:
		return halt.New(halt.ErrDiverged, fmt.Sprintf("transaction %d, which committed at %s and is in Kafka, does not end at %s in the server's WAL: was the server restored, or rolled back?",
			p.XID, p.CommitTime.Format(time.RFC3339Nano), p.LastLSN), repairDiverged)
	case r.stray != nil && (p.LastLSN != 0 || !r.found):
		return halt.New(halt.ErrDiverged, fmt.Sprintf("transaction %d of the server ends at %s, before %s, and is not in Kafka, which has everything up to there: was the server restored, or rolled back?",
			r.stray.XID, r.stray.EndLSN, p.EndLSN), repairDiverged)
	}
	return nil
}

// isLast reports whether a transaction is the last one that is completely published.
func (p *Position) isLast(tx *outbox.Transaction) bool {
	return tx.XID == p.XID && tx.CommitTime.Equal(p.CommitTime) && (p.LastLSN == 0 || p.LastLSN == tx.EndLSN)
}

// hasRows reports whether a transaction changed rows of tables.
func hasRows(tx *outbox.Transaction) bool {
	return !tx.Whole() || slices.ContainsFunc(tx.Changes, func(c outbox.Change) bool { return c.Relation != nil })
}
