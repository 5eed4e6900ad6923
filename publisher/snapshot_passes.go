package publisher

import (
	"slices"

	"github.com/pgtee/pgtee/outbox"
)

// tablePass is a pass in flight.
type tablePass struct {
	task    int
	table   uint32
	visible *outbox.Visible // what it sees, or something older
	read    bool            // its last chunk is here
	held    int             // chunks of it that wait
	stale   bool            // what it brings is not wanted any more
}

// seen says whether all chunks in flight, and all to come, see a transaction.
func (c *copier) seen(xid outbox.XID) bool {
	if c.latest == nil || !c.latest.Sees(xid) {
		return false
	}
	for _, p := range c.passes {
		if !p.stale && !p.visible.Sees(xid) {
			return false
		}
	}
	return true
}

func (p *tablePass) over() bool { return p.read && (p.held == 0 || p.stale) }

func (c *copier) pass(task int) *tablePass {
	for _, p := range c.passes {
		if p.task == task {
			return p
		}
	}
	return nil
}

// dispatch keeps the readers busy, unless the stream is too far behind what they have read.
func (c *copier) dispatch(work *Copy, upTo outbox.LSN) {
	c.why = ""
	if n := len(c.held); n > 0 && c.cfg.Snapshot.MaxLagBytes > 0 && int64(c.held[n-1].At)-int64(upTo) > c.cfg.Snapshot.MaxLagBytes {
		c.why = "waiting for the stream to catch up"
		return
	}
	for c.roomy() && c.reading() < c.cfg.Snapshot.Readers {
		t, after, ok := c.choose(work)
		if !ok {
			return
		}
		condition, err := work.condition(t.Schema + "." + t.Name)
		if err != nil { // it was checked when it came
			c.why = err.Error()
			return
		}
		p := &tablePass{task: c.next(), table: t.OID, visible: c.latest}
		c.passes = append(c.passes, p)
		c.reader.Read(outbox.Span{Task: p.task, Table: t.OID, Root: t.Root, After: after, Condition: condition, Rows: c.rows})
	}
}

// reading counts the passes that use a connection.
func (c *copier) reading() int {
	n := 0
	for _, p := range c.passes {
		if !p.read {
			n++
		}
	}
	return n
}

// choose returns the next table to read of, and from where on: one that is begun, else the next.
func (c *copier) choose(work *Copy) (t outbox.ListedTable, after [][]byte, ok bool) {
	for _, w := range work.Working {
		busy := slices.ContainsFunc(c.passes, func(p *tablePass) bool { return p.table == w.OID && !p.read && !p.stale })
		after, open := c.reached[w.OID]
		if !busy && open {
			return c.tables[w.OID], after, true
		}
	}
	if len(c.todo) == 0 {
		return t, nil, false
	}
	t, c.todo = c.todo[0], c.todo[1:]
	work.Working = append(work.Working, TableCopy{OID: t.OID})
	work.After = t.OID
	c.reached[t.OID] = nil
	return t, nil, true
}

// again has the rest of a table read again.
func (c *copier) again(table uint32) {
	for _, p := range c.passes {
		if p.table == table {
			p.stale = true
		}
	}
	c.held = slices.DeleteFunc(c.held, func(h heldChunk) bool {
		if h.Table == table {
			c.bytes -= h.Bytes()
			h.pass.held--
		}
		return h.Table == table
	})
	c.passes = slices.DeleteFunc(c.passes, (*tablePass).over)
	work := c.current()
	for _, w := range work.Working {
		if w.OID == table {
			c.reached[table] = w.Last
		}
	}
}
