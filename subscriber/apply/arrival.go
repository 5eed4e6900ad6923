package apply

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A target that has reached the cut of Until has the state of the source at the cut only if no transaction before the cut remains to be published, and no
// copy of tables was running.

// arrived is called when everything has been applied and none of it is after the cut.
func (a *assembler) arrived() error {
	u := a.cfg.Until
	if u == nil || a.until != u {
		return nil
	}
	if u.Time.After(a.mark.CommitTime) && u.Time.After(a.commitTime) {
		return Halt{fmt.Sprintf("the last transaction that %s holds committed at %s: others may follow before the moment", a.cfg.from(), later(a.mark.CommitTime, a.commitTime).UTC().Format(time.RFC3339Nano)),
			"let the publisher catch up, name an earlier moment or an LSN, or take all that is there with `pgtee apply --once`"}
	}
	for id, table := range a.copies {
		if _, ended := a.mark.copyEnd(id); !ended {
			return insideCopy(id, table)
		}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// insideCopy is the error for a cut before the end of a copy. table, if known, is a table of which the copy has rows.
func insideCopy(id, table string) error {
	if table != "" {
		table = ", such as those of " + table + ","
	}
	return Halt{fmt.Sprintf("the moment lies before the end of the copy %s: rows that the source had then%s are missing", id, table), "name a later moment, or one before the copy if the topics had the rows before"}
}

// initialCopy is the id of the copy with which the topics of a publisher begin, if it was started with --snapshot initial.
const initialCopy = "initial"

// addInitialCopy adds the initial copy to copies, for topics that are applied from their beginning: its rows belong to every moment.
func (p *progress) addInitialCopy(copies map[string]string) {
	if _, known := copies[initialCopy]; !known && (p.hasCopy(initialCopy) || len(p.Snapshots.Finished) >= maxFinished) {
		copies[initialCopy] = ""
	}
}

// copied remembers that a copy has delivered rows of a table before the cut.
func (a *assembler) copied(id []byte, t *table) {
	if a.copies[string(id)] != t.source {
		a.copies[string(id)] = t.source
	}
}

// checkCopies returns an error if rows after the cut belong to a copy with rows before it. It reads these records, but does not apply them.
func (a *assembler) checkCopies(ctx context.Context) (done bool, err error) {
	if a.until != a.cfg.Until || len(a.copies) == 0 {
		return true, nil
	}
	var last time.Time
	for _, id := range slices.Sorted(maps.Keys(a.copies)) {
		end, ended := a.mark.copyEnd(id)
		if !ended {
			return false, insideCopy(id, a.copies[id])
		}
		last = later(last, end)
	}
	for {
		e, more := a.source.peek()
		switch {
		case !more && a.source.broken() != nil:
			return false, a.source.broken()
		case !more:
			return a.source.drained() && a.mark.EndLSN >= a.once, nil
		case e.record.Timestamp.After(last.Add(copySlack)):
			return true, nil
		}
		if _, ours := a.copies[string(e.snapshot)]; ours {
			value, err := a.cfg.payloadOf(ctx, e.record.Value)
			if err == nil {
				err = a.envelope.read(value, &e.from.table)
			}
			if err != nil {
				return false, unreadable(e, err)
			}
			if a.name = a.envelope.name(a.name[:0]); a.cfg.includes(string(a.name)) {
				return false, insideCopy(string(e.snapshot), string(a.name))
			}
		}
		a.source.take()
	}
}

const (
	copySlack   = 10 * time.Minute // how long after the recorded end of a copy its records may be timestamped
	maxFinished = 8                // copies that the publisher remembers
)

var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// hasCopy reports whether a copy runs or has ended lately.
func (p *progress) hasCopy(id string) bool {
	is := func(c copyID) bool { return c.ID == id }
	return slices.ContainsFunc(p.Snapshots.Copies, is) || slices.ContainsFunc(p.Snapshots.Finished, is)
}

// copyEnd returns when all rows of a copy were published; false: they are not, or that is not known.
func (p *progress) copyEnd(id string) (end time.Time, ended bool) {
	finished := p.Snapshots.Finished
	if len(finished) >= maxFinished && !p.hasCopy(id) {
		return finished[0].Finished, true // it was forgotten before
	}
	for _, c := range finished {
		if c.ID == id {
			return c.Finished, true
		}
	}
	return endOfTime, !p.copying(id)
}
