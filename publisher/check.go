package publisher

import (
	"fmt"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// Repairs that an operator can make after a halt.
const (
	repairSystem      = "use another --prefix for this server, or run `pgtee repair --accept-divergence` to follow it from here on"
	repairDatabase    = "if databases have exchanged their names, give one of them a name that none had, and start its publisher first; else " + repairSystem
	repairDiverged    = "run `pgtee repair --accept-divergence`, which continues after the last transaction that Kafka and the database share, and publishes again the tables that later ones changed"
	repairUndecodable = "retries do not help, and any other slot would fail at the same transaction: drop the slot with pg_drop_replication_slot(), run `pgtee setup`, then `pgtee repair --accept-divergence`, which publishes every table again; the audit of what was written meanwhile is lost"
	repairLost        = "run `pgtee repair --accept-divergence`, which continues from where the slot stands and publishes every table again (--resync none: no table)"
	repairPublish     = "run `pgtee setup` to correct the publications, then `pgtee repair --accept-divergence`, which publishes every table again (--resync none: no table)"
)

// check compares the recorded position (nil: no record) with the server and slot described by s. history lists the timeline switches that led to
// s.Timeline. An error is a *halt.Halt.
//
// s.Server and s.ConfirmedFlush must be the newest known values, including what has been received since the connection was made.
func check(s outbox.System, recorded *Position, history []outbox.TimelineSwitch) error {
	if recorded == nil {
		return checkFirst(s)
	}
	p := *recorded
	if err := p.checkOrigin(s); err != nil {
		return err
	}
	if p.PublicationHash != s.PublicationHash {
		return halt.New(halt.ErrPublications, "they were dropped, recreated or altered since "+p.EndLSN.String(), repairPublish)
	}
	if err := checkTimeline(s, p, history); err != nil {
		return err
	}
	if err := p.CheckReach(s.Server, s.ConfirmedFlush); err != nil {
		return err
	}
	if p.isBefore(s.Generation) {
		return halt.New(halt.ErrGap, fmt.Sprintf("the slot was recreated at %s, after %s was published", s.ConsistentPoint, p.EndLSN), repairLost)
	}
	return nil
}

// checkOrigin compares the position with the identity of server and database.
func (p Position) checkOrigin(s outbox.System) error {
	switch {
	case p.SystemID != s.ID:
		return halt.New(halt.ErrOtherSystem, fmt.Sprintf("record %s, server %s", p.SystemID, s.ID), repairSystem)
	case p.DatabaseOID != s.DatabaseOID:
		return halt.New(halt.ErrOtherDatabase, fmt.Sprintf("record %s (oid %d), server %s (oid %d)", p.Database, p.DatabaseOID, s.Database, s.DatabaseOID), repairDatabase)
	}
	return nil
}

// CheckReach compares a position with the server's write position and the slot's start, which any role may read.
func (p Position) CheckReach(server, start outbox.LSN) error {
	switch {
	case server < p.reach():
		return halt.New(halt.ErrDatabaseBehind, fmt.Sprintf("published up to %s, but the server writes at %s", p.reach(), server), repairDiverged)
	case start > p.EndLSN:
		return halt.New(halt.ErrGap, fmt.Sprintf("published up to %s, but the slot starts at %s", p.EndLSN, start), repairLost)
	}
	return nil
}

// checkFirst distinguishes a first start from a lost progress record: on a first start the slot has not moved since its creation.
func checkFirst(s outbox.System) error {
	if s.ConfirmedFlush == s.ConsistentPoint {
		return nil
	}
	return halt.New(halt.ErrProgressLost, fmt.Sprintf("the slot has moved from %s to %s", s.ConsistentPoint, s.ConfirmedFlush), repairLost)
}

// checkTimeline accepts a position on an older timeline if the server's history contains that timeline up to the position.
func checkTimeline(s outbox.System, p Position, history []outbox.TimelineSwitch) error {
	if p.Timeline == s.Timeline {
		return nil
	}
	end, found := leftAt(history, p.Timeline)
	switch {
	case !found:
		return halt.New(halt.ErrDiverged, fmt.Sprintf("published up to %s of timeline %d, which the server's timeline %d does not descend from", p.reach(), p.Timeline, s.Timeline), repairDiverged)
	case end < p.reach():
		return halt.New(halt.ErrDiverged, fmt.Sprintf("published up to %s of timeline %d, which the server left at %s for timeline %d: Kafka holds commits that the database has lost",
			p.reach(), p.Timeline, end, s.Timeline), repairDiverged)
	}
	return nil
}

// leftAt returns the position at which the server's history left a timeline, if it contains that timeline.
func leftAt(switches []outbox.TimelineSwitch, timeline int32) (end outbox.LSN, found bool) {
	for _, left := range switches {
		if left.Timeline == timeline {
			return left.End, true
		}
	}
	return 0, false
}
