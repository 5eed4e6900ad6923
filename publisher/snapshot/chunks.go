package snapshot

import (
	"cmp"
	"maps"
	"slices"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/filter"
)

// Judge decides what to do with the rows of a chunk, and returns the relation under which to publish them.
func (c *Copier) Judge(chunk *HeldChunk) (Verdict, *pgoutput.Relation) {
	return c.overlay.judge(chunk.Chunk)
}

// Merge calls use for each row of a chunk that must be published, with its number. relation is the result of Judge.
func (c *Copier) Merge(chunk *HeldChunk, relation *pgoutput.Relation, use func(i int, row pgoutput.Tuple) error) error {
	return c.overlay.merge(chunk.Chunk, relation, func(i int, row pgoutput.Tuple) error {
		if chunk.pass.keys != nil && !c.listed(chunk, row) {
			return nil
		}
		return use(i, row)
	})
}

// Filter returns the condition of the current copy for the chunk's table; nil means every row. The condition was valid when the chunk was read.
func (c *Copier) Filter(chunk *HeldChunk) (*filter.Filter, error) {
	work := c.Current()
	t, known := c.tables[chunk.Table]
	if !known || len(work.Conditions) == 0 {
		return nil, nil
	}
	return filter.Bind(chunk.Relation, work.condition(work.nameOf(&t)))
}

// LastMark returns Debezium's snapshot marker for the last row of a chunk.
func (c *Copier) LastMark(chunk *HeldChunk) outbox.SnapshotMark {
	work := c.Current()
	switch {
	case !c.isLastChunk(work, chunk):
		return outbox.MarkTrue
	case len(c.todo) == 0 && len(work.Working) == 1:
		return outbox.MarkLast
	}
	return outbox.MarkLastOfTable
}

// Emptying returns the tables whose topics must be emptied now; nil if there are none.
func (c *Copier) Emptying() []*pgoutput.Relation { return c.emptying }

// Emptied is called when the records that empty those topics are composed. Recording restarts at this point: every transaction that precedes
// them in the stream is visible to all reads from now on, and the changes of all others follow them.
func (c *Copier) Emptied() {
	work := c.Current()
	for _, oid := range slices.Sorted(maps.Keys(c.tables)) {
		if t := c.tables[oid]; oid <= work.After && slices.Contains(work.Kept, t.Root) && !slices.Contains(c.kept, t.Root) {
			work.Working = append(work.Working, beginning(&t))
		}
	}
	work.Emptied, work.Kept, c.dirty = true, c.kept, true
	c.abandon()
	c.start()
}

// Dirty reports whether the state differs from the recorded one.
func (c *Copier) Dirty() bool { return c.dirty }

// Recorded is called when the state has been recorded in Kafka. It returns how many rows and tables were published since the last call.
func (c *Copier) Recorded() (rows, tables int) {
	rows, tables = c.rowsOut, c.tablesOut
	c.dirty, c.rowsOut, c.tablesOut = false, 0, 0
	return rows, tables
}

// State returns the copies for the progress record; nil if there is nothing to record.
func (c *Copier) State() *State { return c.state.orNil() }

// Signals returns how far the topic of signals has been read; nil if none is read.
func (c *Copier) Signals() *SignalPlace { return c.state.Signals }

// SetSignals records how far the topic of signals has been read.
func (c *Copier) SetSignals(place SignalPlace) {
	if c.state.Signals == nil || *c.state.Signals != place {
		c.state.Signals, c.dirty = &place, true
	}
}

// Begun reports whether rows of a table have been published already.
func (c *Copier) Begun(work *Copy, table uint32) bool {
	w := work.of(table)
	return w != nil && w.Last != nil
}

// isLastChunk reports whether a chunk is the last one of its table.
func (c *Copier) isLastChunk(work *Copy, chunk *HeldChunk) bool {
	w := work.of(chunk.Table)
	return chunk.End && chunk.pass.keys == nil && (w == nil || len(w.Moved.Keys) == 0)
}

// orNil returns nil for a state without content.
func (s *State) orNil() *State {
	if len(s.Copies) == 0 && len(s.Finished) == 0 && s.Signals == nil {
		return nil
	}
	return s
}

// Stats describes the current copy, and how the last ones ended.
func (c *Copier) Stats() Stats {
	s := c.work()
	s.Finished = c.state.Finished
	return s
}

// work describes the current copy.
func (c *Copier) work() Stats {
	work := c.Current()
	if work == nil {
		if len(c.state.Copies) > 0 {
			return Stats{State: "paused", ID: c.state.Copies[0].ID}
		}
		return Stats{}
	}
	s := Stats{
		State: "copying", ID: work.ID, Waiting: cmp.Or(c.why, work.Waiting), TablesDone: work.TablesDone, TablesTotal: work.TablesTotal,
		RowsDone: work.RowsDone, RowsEstimated: work.RowsEstimated, Chunks: work.Chunks, Since: work.Requested,
	}
	for _, w := range work.Working {
		if t, known := c.tables[w.OID]; known {
			s.Table = t.Schema + "." + t.Name
		}
	}
	if c.why != "" || work.Waiting != "" && len(c.passes) == 0 {
		s.State = "waiting"
	}
	return s
}
