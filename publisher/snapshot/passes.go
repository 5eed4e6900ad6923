package snapshot

import (
	"slices"

	"github.com/pgtee/pgtee/outbox"
)

// tablePass is a pass in flight.
type tablePass struct {
	task    int
	table   uint32
	visible *outbox.Visible // the snapshot of the pass, or an older one
	read    bool            // its last chunk has arrived
	held    int             // number of its chunks that wait
	stale   bool            // its results are no longer wanted
	keys    [][][]byte      // keys of the rows that it reads; nil: it reads a range
}

// seen reports whether all present and future chunks see a transaction.
func (c *Copier) seen(xid outbox.XID) bool {
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

func (c *Copier) pass(task int) *tablePass {
	for _, p := range c.passes {
		if p.task == task {
			return p
		}
	}
	return nil
}

// dispatch gives work to idle readers, unless the stream is too far behind the reads.
func (c *Copier) dispatch(work *Copy, upTo outbox.LSN) {
	c.why = ""
	if n := len(c.held); n > 0 && c.cfg.MaxLagBytes > 0 && int64(c.held[n-1].At)-int64(upTo) > c.cfg.MaxLagBytes {
		c.why = "waiting for the stream to catch up"
		return
	}
	for c.hasRoom() && c.reading() < c.cfg.Readers {
		span, ok := c.nextSpan(work)
		if !ok {
			return
		}
		t := c.tables[span.Table]
		p := &tablePass{task: c.nextTask(), table: t.OID, visible: c.latest, keys: span.Keys}
		c.passes = append(c.passes, p)
		span.Task, span.Root, span.Rows = p.task, t.Root, c.rows
		if condition := work.condition(work.nameOf(&t)); condition != nil {
			span.Condition = condition.SQL
		}
		c.reader.Read(span)
	}
}

// reading returns the number of passes that use a connection.
func (c *Copier) reading() int {
	n := 0
	for _, p := range c.passes {
		if !p.read {
			n++
		}
	}
	return n
}

// nextSpan returns what to read next: the rest of a table that has begun, or else the next table.
func (c *Copier) nextSpan(work *Copy) (span outbox.Span, ok bool) {
	for i := range work.Working {
		w := &work.Working[i]
		if slices.ContainsFunc(c.passes, func(p *tablePass) bool { return p.table == w.OID && !p.read && !p.stale }) || c.Now().Before(c.refused[w.OID].retryAt) {
			continue
		}
		if span, ok = c.spanByKeys(w); ok {
			return span, true
		}
		if after, open := c.reached[w.OID]; open {
			return c.rangeOf(w, after)
		}
	}
	if len(c.todo) == 0 || len(c.refused) >= maxRefused {
		return span, false
	}
	t := c.todo[0]
	c.todo = c.todo[1:]
	work.Working = append(work.Working, beginning(&t))
	work.After = t.OID
	c.reached[t.OID] = nil
	return c.rangeOf(&work.Working[len(work.Working)-1], nil)
}

// rangeOf returns the span of a table's rows after a key, nil for all rows. If too many rows have moved before the first pass of the table, it returns
// false and restarts the recording, so that later passes see the new keys.
func (c *Copier) rangeOf(w *TableCopy, after [][]byte) (span outbox.Span, ok bool) {
	if after == nil && !c.noteOvertaken(w) {
		c.abandon()
		c.start()
		return span, false
	}
	return outbox.Span{Table: w.OID, After: after}, true
}

// Again discards the chunks of a table and reads them again.
func (c *Copier) Again(table uint32) {
	for _, p := range c.passes {
		if p.table == table {
			p.stale = true
		}
	}
	c.held = slices.DeleteFunc(c.held, func(h HeldChunk) bool {
		if h.Table == table {
			c.bytes -= h.Bytes()
			h.pass.held--
		}
		return h.Table == table
	})
	c.passes = slices.DeleteFunc(c.passes, (*tablePass).over)
	if w := c.Current().of(table); w != nil && !w.Read {
		c.reached[table] = w.Last
	}
}
