package snapshot

import (
	"encoding/json"
	"fmt"
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
		if s.Snapshot == "" || s.Snapshot == copy.ID {
			found = true
			c.change(copy.ID, s)
		}
	}
	if !found {
		return fmt.Sprintf("no snapshot %q is under way", s.Snapshot)
	}
	return ""
}

func (c *Copier) execute(s *outbox.SignalRecord) (why string) {
	if s.Missed() && c.joinResync(s.Tables) {
		return ""
	}
	copy := Copy{ID: s.ID, Tables: s.Tables, Conditions: s.Conditions, Resync: s.Type == outbox.Resync, Again: true}
	for _, condition := range s.Conditions {
		if err := filter.Check(condition.Filter); err != nil {
			return err.Error()
		}
	}
	pending, err := json.Marshal(append(slices.Clone(c.state.Copies), copy))
	switch {
	case err != nil:
		return err.Error()
	case len(pending)-c.movedBytes() > MaxPendingBytes:
		return fmt.Sprintf("the snapshots that are asked for take %d bytes in the progress record, %d are allowed: use patterns of tables, or wait for those before it", len(pending), MaxPendingBytes)
	case slices.ContainsFunc(c.state.Copies, func(other Copy) bool { return other.ID == copy.ID }):
		return "a snapshot of this id is under way"
	}
	c.request(copy)
	return ""
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
