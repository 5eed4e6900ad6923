package publisher

import (
	"fmt"

	"github.com/pgtee/pgtee/outbox"
)

// Repairs name what the operator does about a halt.
const (
	repairSystem   = "use another --prefix for this server, or run `pgtee repair --accept-divergence` to follow it from here on"
	repairDiverged = "run `pgtee repair --accept-divergence` to go on from the database as it is now"
	repairSnapshot = "run `pgtee repair --accept-divergence` to go on from where the slot stands, then take a new snapshot of the tables that lack rows"
	repairPublish  = "run `pgtee setup` to make the publications right, then `pgtee repair --accept-divergence`, and take a new snapshot of what was written meanwhile"
)

// check compares the recorded position (nil: no record) with the server and the slot, in s. history
// returns the switches of s.Timeline; it is asked only if the timelines differ. An error is a *Halt,
// or an error of history.
//
// s.Server and s.ConfirmedFlush are the newest known: what came over the connection since it was
// made counts.
func check(s outbox.System, recorded *Position, history func(timeline int32) ([]outbox.TimelineSwitch, error)) error {
	if recorded == nil {
		return checkFirst(s)
	}
	p := *recorded
	switch {
	case p.SystemID != s.ID:
		return &Halt{ErrOtherSystem, fmt.Sprintf("record %s, server %s", p.SystemID, s.ID), repairSystem}
	case p.DatabaseOID != s.DatabaseOID:
		return &Halt{ErrOtherDatabase, fmt.Sprintf("record %s (oid %d), server %s (oid %d)", p.Database, p.DatabaseOID, s.Database, s.DatabaseOID), repairSystem}
	case p.PublicationHash != s.PublicationHash:
		return &Halt{ErrPublications, "they were dropped, made again or altered since " + p.EndLSN.String(), repairPublish}
	}
	if err := checkTimeline(s, p, history); err != nil {
		return err
	}
	switch {
	case s.Server < p.EndLSN:
		return &Halt{ErrDatabaseBehind, fmt.Sprintf("published up to %s, the server writes at %s", p.EndLSN, s.Server), repairDiverged}
	case s.ConfirmedFlush > p.EndLSN:
		return &Halt{ErrGap, fmt.Sprintf("published up to %s, the slot starts at %s", p.EndLSN, s.ConfirmedFlush), repairSnapshot}
	}
	return nil
}

// checkFirst tells a first start from a lost record: the slot has not moved since it was made.
func checkFirst(s outbox.System) error {
	if s.ConfirmedFlush == s.ConsistentPoint {
		return nil
	}
	return &Halt{ErrProgressLost, fmt.Sprintf("the slot has moved from %s to %s", s.ConsistentPoint, s.ConfirmedFlush), repairSnapshot}
}

// checkTimeline lets a position of an older timeline pass if the server's history shares everything
// up to it.
func checkTimeline(s outbox.System, p Position, history func(int32) ([]outbox.TimelineSwitch, error)) error {
	if p.Timeline == s.Timeline {
		return nil
	}
	switches, err := history(s.Timeline)
	if err != nil {
		return fmt.Errorf("history of timeline %d: %w", s.Timeline, err)
	}
	end, found := leftAt(switches, p.Timeline)
	switch {
	case !found:
		return &Halt{ErrDiverged, fmt.Sprintf("published up to %s of timeline %d, which the server's timeline %d does not descend from", p.EndLSN, p.Timeline, s.Timeline), repairDiverged}
	case end < p.EndLSN:
		return &Halt{ErrDiverged, fmt.Sprintf("published up to %s of timeline %d, which the server left at %s for timeline %d: Kafka holds commits that the database has lost",
			p.EndLSN, p.Timeline, end, s.Timeline), repairDiverged}
	}
	return nil
}

// leftAt returns where the server's history left a timeline, if it ever was on it.
func leftAt(switches []outbox.TimelineSwitch, timeline int32) (end outbox.LSN, found bool) {
	for _, left := range switches {
		if left.Timeline == timeline {
			return left.End, true
		}
	}
	return 0, false
}
