package snapshot

import (
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Begin requests the copy that the mode requires. recorded: Kafka has a position, so no initial copy is needed. needed: changes were lost.
func (c *Copier) Begin(recorded, needed bool) {
	s := c.cfg
	switch {
	case s.Open == nil || s.Mode == Never:
	case needed:
		c.request(Copy{ID: "needed-" + c.Now().UTC().Format("20060102T150405"), Tables: s.Tables, Initial: true, Again: true})
	case s.Mode == Only:
		c.requestOnly(recorded)
	case !recorded:
		c.request(Copy{ID: "initial", Tables: s.Tables, Initial: true})
	}
}

// requestOnly requests the copy of mode Only, or resumes an interrupted one.
func (c *Copier) requestOnly(recorded bool) {
	if c.Knows(c.cfg.run) {
		return
	}
	for _, r := range c.state.Copies {
		if strings.HasPrefix(r.ID, onlyPrefix) && slices.Equal(r.Tables, c.cfg.Tables) {
			c.cfg.run = r.ID
			return
		}
	}
	c.request(Copy{ID: c.cfg.run, Tables: c.cfg.Tables, Initial: true, Again: recorded})
}

// Knows reports whether a copy with this id has been requested or finished.
func (c *Copier) Knows(id string) bool {
	return slices.ContainsFunc(c.state.Copies, func(r Copy) bool { return r.ID == id }) || c.ended(id)
}

func (c *Copier) ended(id string) bool {
	return slices.ContainsFunc(c.state.Finished, func(f FinishedCopy) bool { return f.ID == id })
}

// OnlyResult returns how the copy of mode Only ended; nil if it has not ended, or in another mode.
func (c *Copier) OnlyResult() error {
	if c.cfg.Mode != Only || !c.ended(c.cfg.run) {
		return nil
	}
	for _, f := range c.state.Finished {
		if f.ID == c.cfg.run && f.Stopped {
			return halt.New(halt.ErrSnapshotStopped, f.Why, "start again with other --snapshot-tables, or continue with --snapshot never")
		}
	}
	return ErrTaken
}

// request adds a copy.
func (c *Copier) request(request Copy) {
	request.Requested = c.Now().UTC()
	c.state.Copies = append(c.state.Copies, request)
	c.dirty = true
}

// Current returns the current copy, or nil if there is none.
func (c *Copier) Current() *Copy {
	if c.cfg.Open == nil {
		return nil
	}
	for i := range c.state.Copies {
		if !c.state.Copies[i].Paused {
			return &c.state.Copies[i]
		}
	}
	return nil
}

// plan starts the current copy with the list of tables.
func (c *Copier) plan(listed []outbox.ListedTable) {
	work := c.Current()
	c.tables, c.reached = map[uint32]outbox.ListedTable{}, map[uint32][][]byte{}
	first := work.Until == 0
	for _, t := range listed {
		if !c.publishes(work, &t) || !work.wants(&t) || !first && t.OID > work.Until {
			continue
		}
		c.tables[t.OID] = t
		if t.OID > work.After && !slices.Contains(work.Kept, t.Root) {
			c.todo = append(c.todo, t)
		}
	}
	for _, w := range work.Working {
		if !w.Read {
			c.reached[w.OID] = w.Last
		}
	}
	if first && !c.startCopy(work, listed) {
		return
	}
	work.Working = slices.DeleteFunc(work.Working, func(w TableCopy) bool { // dropped, or no longer published
		_, there := c.tables[w.OID]
		c.dirty = c.dirty || !there
		return !there
	})
	work.Kept = slices.DeleteFunc(slices.Clone(work.Kept), func(root uint32) bool {
		return !slices.ContainsFunc(listed, func(t outbox.ListedTable) bool { _, there := c.tables[t.OID]; return there && t.Root == root })
	})
	c.finish(work)
}

// startCopy records what a copy will read. If there is nothing to read, it ends the copy and returns false.
func (c *Copier) startCopy(work *Copy, listed []outbox.ListedTable) bool {
	if work.Unmatched = c.unmatched(work, listed); len(work.Unmatched) > 0 {
		if len(c.todo) == 0 {
			c.end(work.ID, noTable(work.Unmatched))
			return false
		}
		c.Log.Warn("a snapshot was requested of tables that are not published: are their names correct?", zap.String("finding", "snapshot-unmatched"), zap.String("id", work.ID), zap.Strings("tables", work.Unmatched))
	}
	work.TablesTotal, work.RowsEstimated, work.Until = len(c.todo), 0, 1
	for _, t := range c.todo {
		work.RowsEstimated += max(t.Rows, 0)
		work.Until = t.OID
	}
	c.dirty = true
	c.Log.Info("snapshot begins", zap.String("id", work.ID), zap.Int("tables", work.TablesTotal), zap.Int64("estimated rows", work.RowsEstimated))
	return true
}

// publishes reports whether a copy may include a table. Copies that publish tables again leave out event tables, because an event must not be
// repeated.
func (c *Copier) publishes(work *Copy, t *outbox.ListedTable) bool {
	repeats := work.Resync || work.Again
	return c.Shape.Includes(t.Schema, t.Name) && !(repeats && shape.MatchesAny(c.EventTables, t.Schema+"."+t.Name))
}

// unmatched returns the patterns of a copy that match no published table.
func (c *Copier) unmatched(work *Copy, listed []outbox.ListedTable) (globs []string) {
	for _, glob := range work.Tables {
		root, known := work.Roots[glob]
		if !slices.ContainsFunc(listed, func(t outbox.ListedTable) bool {
			return c.publishes(work, &t) && (shape.Matches(glob, t.Schema+"."+t.Name) || known && t.Root == root)
		}) {
			globs = append(globs, glob)
		}
	}
	return globs
}

// noTable returns the message that there is nothing to copy.
func noTable(globs []string) string {
	return "no published table matches " + strings.Join(globs, ", ") + ": want schema.table; pgtee check lists tables that are not published, and only the copy at the first start includes tables of --event-table"
}

// wants reports whether a copy includes a table. A table that has begun, or whose OID is known, stays included if it is renamed.
func (r *Copy) wants(t *outbox.ListedTable) bool {
	tables := r.Tables
	if r.of(t.OID) != nil || r.hasRoot(t.Root) {
		tables = nil
	}
	return shape.Included(r.nameOf(t), tables, r.Except)
}

// hasRoot reports whether the OID of a table was requested.
func (r *Copy) hasRoot(oid uint32) bool {
	for _, root := range r.Roots {
		if root == oid {
			return true
		}
	}
	return false
}

// nameOf returns the name under which a copy knows a table: the one that it had when it was begun.
func (r *Copy) nameOf(t *outbox.ListedTable) string {
	if w := r.of(t.OID); w != nil && w.Name != "" {
		return w.Name
	}
	return t.Schema + "." + t.Name
}

// condition returns the filters for the rows of a table.
func (r *Copy) condition(table string) (c filter.Condition) {
	for _, condition := range r.Conditions {
		if condition.Table == "" || shape.Matches(condition.Table, table) {
			c = append(c, condition.Filter)
		}
	}
	return c
}

// removeDropped removes a table that was dropped.
func (c *Copier) removeDropped(table uint32) {
	work := c.Current()
	work.Working = slices.DeleteFunc(work.Working, func(w TableCopy) bool { return w.OID == table })
	delete(c.reached, table)
	delete(c.refused, table)
	c.waiting(c.refusals())
	c.dirty = true
	c.finish(work)
}

// finish removes the completed tables of the current copy, and ends the copy if none is left.
func (c *Copier) finish(work *Copy) {
	work.Working = slices.DeleteFunc(work.Working, func(w TableCopy) bool {
		if !w.Read || len(w.Moved.Keys) > 0 {
			return false
		}
		work.TablesDone++
		c.tablesOut++
		c.dirty = true
		return true
	})
	if c.tables == nil || len(c.todo) > 0 || len(work.Working) > 0 || len(work.Kept) > 0 {
		return
	}
	c.end(work.ID, "")
}

// end removes a copy from the list. why is the reason why it was stopped; "" means that it is complete.
func (c *Copier) end(id, why string) {
	i := slices.IndexFunc(c.state.Copies, func(r Copy) bool { return r.ID == id })
	if i < 0 {
		return
	}
	if work := c.Current(); work != nil && work.ID == id {
		c.abandon()
	}
	ended := c.state.Copies[i]
	c.state.Copies = slices.Delete(c.state.Copies, i, i+1)
	f := FinishedCopy{ID: id, Stopped: why != "", Why: why, Tables: ended.TablesDone, Rows: ended.RowsDone, Unmatched: ended.Unmatched}
	if f.Stopped {
		f.Request = requestOf(&ended)
	}
	c.Remember(f)
	c.Log.Info("snapshot ended", zap.String("id", id), zap.Int("tables", ended.TablesDone), zap.Int64("rows", ended.RowsDone), zap.String("why", why))
}
