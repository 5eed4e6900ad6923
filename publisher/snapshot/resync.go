package snapshot

import (
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox"
)

// joinResync adds tables to a resync that has not started yet, instead of requesting another one: the progress record then only needs room for their
// names. If even the names take too much, the resync is of every table.
func (c *Copier) joinResync(tables []string) bool {
	for i := range c.state.Copies {
		copy := &c.state.Copies[i]
		if copy.Resync && !copy.Emptied && strings.HasPrefix(copy.ID, outbox.MissedPrefix) {
			names := append(slices.Clone(copy.Tables), tables...)
			slices.Sort(names)
			names = slices.Compact(names)
			if len(copy.Tables) == 0 || len(strings.Join(names, ",")) > MaxPendingBytes/2 {
				names = nil
			}
			copy.Tables, copy.Until = names, 0
			c.dirty = true
			if c.Current() == copy {
				c.abandon()
			}
			return true
		}
	}
	return false
}

// describe requests descriptions of the tables of a resync, whose topics must be emptied.
func (c *Copier) describe(work *Copy) {
	if c.describing != 0 || c.emptying != nil {
		return
	}
	var roots []uint32
	for _, t := range c.todo {
		roots = append(roots, t.Root)
	}
	slices.Sort(roots)
	c.describing = c.nextTask()
	c.reader.Describe(c.describing, slices.Compact(roots))
}
