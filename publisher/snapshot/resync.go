package snapshot

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/shape"
)

// joinResync adds tables to a resync that has not started yet, instead of requesting another one, so that only their names take room in the progress
// record. If even these take too much, the resync includes every table.
func (c *Copier) joinResync(tables []string, roots map[string]uint32) bool {
	for i := range c.state.Copies {
		copy := &c.state.Copies[i]
		excluded := slices.ContainsFunc(tables, func(name string) bool { return shape.MatchesAny(copy.Except, name) }) // by an operator, since
		if copy.Resync && !copy.Emptied && !excluded && strings.HasPrefix(copy.ID, outbox.MissedPrefix) {
			names := append(slices.Clone(copy.Tables), tables...)
			slices.Sort(names)
			names = slices.Compact(names)
			joined := maps.Clone(copy.Roots)
			if joined == nil {
				joined = map[string]uint32{}
			}
			maps.Copy(joined, roots)
			if len(copy.Tables) == 0 || len(strings.Join(names, ",")) > MaxPendingBytes/2 {
				names, joined = nil, nil
			}
			copy.Tables, copy.Roots, copy.Until = names, joined, 0
			if c.pendingBytes(Copy{}) > MaxPendingBytes {
				copy.Tables, copy.Roots = nil, nil
			}
			c.dirty = true
			if c.Current() == copy {
				c.abandon()
			}
			return true
		}
	}
	return false
}

// describe requests descriptions of the tables of a resync whose topics must be emptied, and asks whether they can be read: the topic of a table that
// cannot would stay empty.
func (c *Copier) describe(work *Copy) {
	if c.describing != 0 || c.emptying != nil || work.Emptied && len(work.Kept) == 0 {
		return
	}
	var tables []outbox.ListedTable
	for _, oid := range slices.Sorted(maps.Keys(c.tables)) {
		t := c.tables[oid]
		if work.Emptied && !slices.Contains(work.Kept, t.Root) {
			continue
		}
		if c.Now().Before(c.refused[oid].retryAt) {
			return
		}
		tables = append(tables, t)
	}
	c.describing = c.nextTask()
	c.reader.Describe(c.describing, tables)
}

// described decides which topics are emptied now: those of all tables that can be read; none if no table can be, or if too many cannot.
func (c *Copier) described(r *outbox.Reading) {
	c.describing, c.kept, c.backoff = 0, nil, firstReadPause
	locked := false // a table, perhaps only for a moment
	for _, oid := range slices.Sorted(maps.Keys(r.Refused)) {
		c.setAside(oid, r.Refused[oid])
		locked = locked || !c.refused[oid].told
		c.kept = append(c.kept, c.tables[oid].Root)
	}
	if len(c.kept) == 0 || len(r.Relations) > 0 && len(c.kept) <= maxRefused/2 {
		c.emptying = append([]*pgoutput.Relation{}, r.Relations...)
		return
	}
	if work := c.Current(); !locked && (!work.Emptied || len(c.todo) == 0 && len(work.Working) == 0) {
		c.giveWay(work)
	}
}

// stuckPause is how often copies that all wait for tables take turns.
const stuckPause = time.Minute

// giveWay moves a copy that can only wait to the end of the list, unless less than stuckPause ago all others could only wait, too.
func (c *Copier) giveWay(work *Copy) {
	work.stuck = c.Now()
	if !slices.ContainsFunc(c.state.Copies, func(other Copy) bool { return !other.Paused && c.Now().Sub(other.stuck) >= stuckPause }) {
		return
	}
	i := slices.IndexFunc(c.state.Copies, func(other Copy) bool { return other.ID == work.ID })
	waiting := *work
	c.state.Copies = append(slices.Delete(c.state.Copies, i, i+1), waiting)
	c.dirty = true
	c.abandon()
}
