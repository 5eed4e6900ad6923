package snapshot

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/filter"
)

func AsksForRows(s *outbox.SignalRecord) bool {
	return s.Type == outbox.ExecuteSnapshot || s.Type == outbox.Resync
}

// Obey executes a signal. It returns why it cannot; "" if it can.
func (c *Copier) Obey(s *outbox.SignalRecord) (why string) {
	if c.cfg.Open == nil {
		return "this publisher takes no snapshots"
	}
	if AsksForRows(s) {
		return c.execute(s)
	}
	found := false
	for _, copy := range slices.Clone(c.state.Copies) {
		if concerns(s, &copy) {
			found = true
			c.change(copy.ID, s)
		}
	}
	switch {
	case found:
		return ""
	case s.Snapshot == "":
		return "no snapshot is under way that can be changed without its id"
	}
	return fmt.Sprintf("no snapshot %q is under way", s.Snapshot)
}

// concerns reports whether a signal is about a copy. A signal without an id does not stop a resync, since the topics that the resync has emptied would
// stay incomplete.
func concerns(s *outbox.SignalRecord, copy *Copy) bool {
	if s.Snapshot == "" {
		return !(copy.Resync && s.Type == outbox.StopSnapshot)
	}
	return s.Snapshot == copy.ID
}

func (c *Copier) execute(s *outbox.SignalRecord) (why string) {
	copy := Copy{ID: s.ID, Tables: s.Tables, Conditions: s.Conditions, Resync: s.Type == outbox.Resync, Again: true}
	if s.Missed() {
		copy.Roots = s.Roots
		c.requestMissed(copy)
		return ""
	}
	for _, condition := range s.Conditions {
		if err := filter.Check(condition.Filter); err != nil {
			return err.Error()
		}
	}
	switch {
	case copy.Resync && len(copy.Conditions) > 0:
		return "a resync empties the topic, so it must include all rows: leave out additional-conditions, or request a snapshot (execute-snapshot)"
	case c.pendingBytes(copy) > MaxPendingBytes:
		return fmt.Sprintf("the requested snapshots would take more than %d bytes in the progress record: use patterns of tables, or wait until earlier ones are finished", MaxPendingBytes)
	case slices.ContainsFunc(c.state.Copies, func(other Copy) bool { return other.ID == copy.ID }):
		return "a snapshot of this id is under way"
	}
	c.request(copy)
	return ""
}

// requestMissed requests the resync of tables with missing changes. Nobody would request it again, so it is never refused: if the names of the tables
// take too much room, it is of every table.
func (c *Copier) requestMissed(copy Copy) {
	if c.joinResync(copy.Tables, copy.Roots) {
		return
	}
	if c.pendingBytes(copy) > MaxPendingBytes {
		copy.Tables, copy.Roots = nil, nil
	}
	c.request(copy)
}

// pendingBytes returns the size of all requests in the progress record if one is added.
func (c *Copier) pendingBytes(added Copy) int {
	pending, err := json.Marshal(append(slices.Clone(c.state.Copies), added))
	if err != nil {
		return math.MaxInt
	}
	return len(pending) - c.movedBytes()
}

// change pauses, resumes or stops a copy, or excludes tables from it.
func (c *Copier) change(id string, s *outbox.SignalRecord) {
	i := slices.IndexFunc(c.state.Copies, func(copy Copy) bool { return copy.ID == id })
	copy := &c.state.Copies[i]
	atWork := c.Current() == copy
	c.dirty = true
	switch s.Type {
	case outbox.PauseSnapshot:
		copy.Paused = true
	case outbox.ResumeSnapshot:
		copy.Paused = false
	case outbox.StopSnapshot:
		if len(s.Tables) == 0 {
			c.end(id, "stopped by a signal")
			return
		}
		copy.Except = append(slices.Clone(copy.Except), s.Tables...)
	}
	if atWork || c.Current() == copy {
		c.abandon()
	}
}
