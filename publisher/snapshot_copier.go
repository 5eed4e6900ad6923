package publisher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// copier copies tables while the stream runs: it has chunks read ahead, and gives each to the publisher when the stream has
// come to where the chunk was read. SNAPSHOT.md says why that is right. It lives from one fence to the next failure; what
// it has to know then is in the progress record.
type copier struct {
	cfg   *Config
	now   func() time.Time
	state *Snapshots // as the next progress record will have it
	dirty bool       // state differs from the recorded one

	reader   TableReader // nil: nothing to copy
	overlay  overlay
	starting int             // task of the Begin that counts
	latest   *outbox.Visible // a snapshot that is older than those of all passes to come; nil: Begin has not returned
	task     int             // the last number given
	passes   []*tablePass    // in flight: from Read until the last chunk is published
	stash    []outbox.Reading
	held     []heldChunk // read and not published, in the order of their arrival
	bytes    int         // of held

	listing int                           // the task; 0: none
	tables  map[uint32]outbox.ListedTable // of the copy at work; nil: not listed
	todo    []outbox.ListedTable          // of those, not begun
	reached map[uint32][][]byte           // by table: up to where it is read
	rows    int                           // that a pass may read

	nudged  time.Time
	retryAt time.Time // after a failure
	backoff time.Duration
	budget  float64   // rows that the throttle lets through
	filled  time.Time // when it was last raised
	why     string    // nothing is read now
}

// tablePass is a pass in flight.
type tablePass struct {
	task    int
	table   uint32
	visible *outbox.Visible // what it sees, or something older
	read    bool            // its last chunk is here
	held    int             // chunks of it that wait
	stale   bool            // what it brings is not wanted any more
}

type heldChunk struct {
	*outbox.Chunk
	pass    *tablePass
	arrived time.Time
}

const (
	firstPassRows = 1 << 17
	leastPassRows = 64

	nudgeAfter      = 250 * time.Millisecond
	nudgeEvery      = time.Second
	firstReadPause  = 100 * time.Millisecond
	longestPause    = 30 * time.Second
	maxFinished     = 8
	maxPendingBytes = 128 << 10 // of requests in the progress record
)

// newCopier takes up what the progress record says.
func (p *Publisher) newCopier(recorded *Snapshots) *copier {
	c := &copier{cfg: &p.cfg, now: func() time.Time { return p.now() }, state: &Snapshots{}, rows: firstPassRows, backoff: firstReadPause}
	if recorded != nil {
		*c.state = *recorded
		c.state.Copies = slices.Clone(recorded.Copies)
		for i := range c.state.Copies {
			c.state.Copies[i].Working = slices.Clone(recorded.Copies[i].Working)
		}
	}
	return c
}

// begin asks for what the mode says. recorded says whether Kafka holds a position: then all rows are there, or on their way.
// needed says that some are lost.
func (c *copier) begin(recorded, needed bool) {
	s := &c.cfg.Snapshot
	switch {
	case s.Open == nil || s.Mode == SnapshotNever:
	case needed:
		c.request(Copy{ID: "needed-" + c.now().UTC().Format("20060102T150405"), Tables: s.Tables, Initial: true})
	case s.Mode == SnapshotOnly && !c.knows(c.cfg.run):
		c.request(Copy{ID: c.cfg.run, Tables: s.Tables, Initial: true})
	case s.Mode != SnapshotOnly && !recorded:
		c.request(Copy{ID: "initial", Tables: s.Tables, Initial: true})
	}
}

// knows says whether a copy is under way or was.
func (c *copier) knows(id string) bool {
	return slices.ContainsFunc(c.state.Copies, func(r Copy) bool { return r.ID == id }) || c.ended(id)
}

func (c *copier) ended(id string) bool {
	return slices.ContainsFunc(c.state.Finished, func(f FinishedCopy) bool { return f.ID == id })
}

// request adds a copy.
func (c *copier) request(request Copy) {
	request.Requested = c.now().UTC()
	c.state.Copies = append(c.state.Copies, request)
	c.dirty = true
}

// current is the copy at work, nil for none.
func (c *copier) current() *Copy {
	if c.cfg.Snapshot.Open == nil {
		return nil
	}
	for i := range c.state.Copies {
		if !c.state.Copies[i].Paused {
			return &c.state.Copies[i]
		}
	}
	return nil
}

// start begins to record, and only then asks for a snapshot: see overlay.
func (c *copier) start() {
	if c.reader == nil {
		c.reader = c.cfg.Snapshot.Open()
	}
	c.overlay.reset()
	c.latest, c.starting = nil, c.next()
	c.reader.Begin(c.starting)
}

func (c *copier) next() int { c.task++; return c.task }

// stop gives up what is in flight.
func (c *copier) stop() {
	if c.reader != nil {
		c.reader.Close()
		c.reader = nil
	}
	c.abandon()
	c.overlay.reset()
	c.latest, c.passes, c.stash, c.listing = nil, nil, nil, 0
}

// abandon forgets what was read and not published, and where reading stood.
func (c *copier) abandon() {
	c.held, c.bytes = nil, 0
	c.tables, c.todo, c.reached = nil, nil, nil
	c.listing = 0
	for _, p := range c.passes {
		p.stale, p.held = true, 0
	}
}

// observe records what a transaction of the stream did, before anything that follows it is published.
func (c *copier) observe(tx *outbox.Transaction) {
	if c.reader == nil || c.seen(tx.XID) {
		return
	}
	for i := range tx.Changes {
		change := &tx.Changes[i]
		switch change.Op {
		case outbox.Insert, outbox.Update, outbox.Delete, outbox.Truncate:
			c.overlay.record(change, tx.XID)
		}
	}
	if c.overlay.bytes > c.cfg.Snapshot.maxOverlayBytes {
		c.overlay.prune(c.seen)
	}
	if c.overlay.bytes > c.cfg.Snapshot.maxOverlayBytes {
		c.cfg.Log.Warn("the stream overtakes the snapshot with more rows than memory may take; what was read ahead is read again in smaller parts",
			zap.Int("bytes", c.overlay.bytes))
		c.rows = max(c.rows/2, leastPassRows)
		c.abandon()
		c.start()
	}
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

// turn takes what was read and gives the readers more to do. upTo is how far the stream has come.
func (c *copier) turn(upTo outbox.LSN) {
	work := c.current()
	if work == nil {
		if c.reader != nil {
			c.stop()
		}
		return
	}
	if c.reader == nil {
		if c.now().Before(c.retryAt) {
			return
		}
		c.start()
	}
	c.collect()
	if c.reader == nil || c.latest == nil {
		return
	}
	if c.tables == nil {
		if c.listing == 0 {
			c.listing = c.next()
			c.reader.List(c.listing)
		}
		return
	}
	c.dispatch(work, upTo)
	c.nudge(upTo)
}

// collect takes what has arrived, as long as there is room.
func (c *copier) collect() {
	for c.reader != nil && c.roomy() {
		r, ok := c.arrival()
		if !ok {
			return
		}
		c.take(&r)
	}
}

func (c *copier) roomy() bool { return c.bytes < c.cfg.Snapshot.maxHeldBytes }

func (c *copier) arrival() (r outbox.Reading, ok bool) {
	if len(c.stash) > 0 {
		r, c.stash = c.stash[0], c.stash[1:]
		return r, true
	}
	select {
	case r = <-c.reader.Results():
		return r, true
	default:
		return r, false
	}
}

// wake calls arrived once something has come, and returns what ends that: until then nobody else may use the copier.
func (c *copier) wake(ctx context.Context, arrived func()) (done func()) {
	if c.reader == nil || !c.roomy() {
		return func() {}
	}
	results, ended := c.reader.Results(), make(chan struct{})
	go func() { // waited for by done
		defer close(ended)
		select {
		case r := <-results:
			c.stash = append(c.stash, r)
			arrived()
		case <-ctx.Done():
		}
	}()
	return func() { <-ended }
}

func (c *copier) take(r *outbox.Reading) {
	p := c.pass(r.Task)
	switch {
	case r.Err != nil:
		c.failed(p, r)
	case r.Waiting != "":
		c.why = "waiting for " + r.Waiting
		c.cfg.Log.Info("the snapshot waits for a transaction that began before it", zap.String("for", r.Waiting))
	case r.Visible != nil && r.Task == c.starting:
		c.latest, c.why = r.Visible, ""
	case r.Task == c.listing && r.Done:
		c.listing = 0
		c.plan(r.Tables)
	}
	if p == nil {
		return
	}
	if r.Chunk != nil && !p.stale {
		c.hold(p, r.Chunk)
	}
	p.read = p.read || r.Done
	c.passes = slices.DeleteFunc(c.passes, (*tablePass).over)
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

func (c *copier) hold(p *tablePass, chunk *outbox.Chunk) {
	p.visible = &chunk.Visible
	c.latest = p.visible
	c.backoff = firstReadPause
	c.held = append(c.held, heldChunk{chunk, p, c.now()})
	c.bytes += chunk.Bytes()
	p.held++
	if chunk.Last != nil {
		c.reached[p.table] = chunk.Last
	}
	if chunk.End {
		delete(c.reached, p.table)
	}
}

// failed begins anew after a pause: nobody but the copy waits for it.
func (c *copier) failed(p *tablePass, r *outbox.Reading) {
	if p != nil && p.stale {
		return
	}
	if p != nil && errors.Is(r.Err, outbox.ErrTableGone) {
		c.gone(p.table)
		return
	}
	c.why = r.Err.Error()
	c.cfg.Log.Warn("the snapshot cannot read, the stream goes on; trying again", zap.Duration("in", c.backoff), zap.Error(r.Err))
	c.stop()
	c.retryAt = c.now().Add(c.backoff)
	c.backoff = min(2*c.backoff, longestPause)
}

// plan takes the list of tables for the copy at work.
func (c *copier) plan(listed []outbox.ListedTable) {
	work := c.current()
	c.tables, c.reached = map[uint32]outbox.ListedTable{}, map[uint32][][]byte{}
	first, estimate := work.Until == 0, int64(0)
	for _, t := range listed {
		if !c.cfg.Shape.Includes(t.Schema, t.Name) || !work.wants(t.Schema+"."+t.Name) || !first && t.OID > work.Until {
			continue
		}
		c.tables[t.OID] = t
		estimate += max(t.Rows, 0)
		if t.OID > work.After {
			c.todo = append(c.todo, t)
		}
	}
	for _, w := range work.Working {
		c.reached[w.OID] = w.Last
	}
	if first {
		work.TablesTotal, work.RowsEstimated, work.Until = len(c.todo), estimate, 1
		if len(c.todo) > 0 {
			work.Until = c.todo[len(c.todo)-1].OID
		}
		c.dirty = true
		c.cfg.Log.Info("snapshot begins", zap.String("id", work.ID), zap.Int("tables", work.TablesTotal), zap.Int64("estimated rows", estimate))
	}
	work.Working = slices.DeleteFunc(work.Working, func(w TableCopy) bool { // dropped, or not published any more
		_, there := c.tables[w.OID]
		c.dirty = c.dirty || !there
		return !there
	})
	c.finish(work)
}

// wants says whether a copy is of a table.
func (r *Copy) wants(table string) bool { return included(table, r.Tables, r.Except) }

// condition returns the SQL that the rows of a table have to satisfy.
func (r *Copy) condition(table string) (string, error) {
	sql := ""
	for _, condition := range r.Conditions {
		if condition.Table != "" && !matches(condition.Table, table) {
			continue
		}
		text, err := ConditionSQL(condition.Filter)
		if err != nil {
			return "", err
		}
		if sql != "" {
			sql += " AND "
		}
		sql += "(" + text + ")"
	}
	return sql, nil
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

// nudge makes the server tell how far its log is, if a chunk waits for that.
func (c *copier) nudge(upTo outbox.LSN) {
	if len(c.held) == 0 || c.held[0].At <= upTo {
		return
	}
	now := c.now()
	if now.Sub(c.held[0].arrived) < nudgeAfter || now.Sub(c.nudged) < nudgeEvery {
		return
	}
	c.nudged = now
	c.reader.Nudge(c.next())
}

// ready returns the next chunk that may be published now that the stream has come to upTo; nil for none.
func (c *copier) ready(upTo outbox.LSN) *heldChunk {
	if c.current() == nil || len(c.held) == 0 || c.held[0].At > upTo || !c.allowed() {
		return nil
	}
	return &c.held[0]
}

// untilDue is how long the loop may wait for the stream.
func (c *copier) untilDue(upTo outbox.LSN, longest time.Duration) time.Duration {
	switch {
	case c.cfg.Snapshot.Open == nil:
		return longest
	case c.current() == nil:
		return min(longest, time.Second)
	case c.reader == nil:
		return min(longest, max(0, c.retryAt.Sub(c.now())))
	case len(c.held) > 0 && c.held[0].At <= upTo && c.budget >= 0:
		return 0
	case len(c.held) > 0:
		return min(longest, nudgeAfter)
	}
	return min(longest, time.Second)
}

// allowed is the throttle: it lets a chunk through while the budget is not overdrawn.
func (c *copier) allowed() bool {
	rate := float64(c.cfg.Snapshot.RowsPerSecond)
	if rate == 0 {
		return true
	}
	now := c.now()
	c.budget = min(c.budget+now.Sub(c.filled).Seconds()*rate, rate)
	c.filled = now
	return c.budget >= 0
}

// published takes a chunk off.
func (c *copier) published(chunk *heldChunk) {
	work := c.current()
	c.dirty = true
	c.budget -= float64(chunk.Len())
	work.Chunks++
	work.RowsDone += int64(chunk.Len())
	if i := slices.IndexFunc(work.Working, func(w TableCopy) bool { return w.OID == chunk.Table }); i >= 0 {
		if chunk.Last != nil {
			work.Working[i].Last = chunk.Last
		}
		if chunk.End {
			work.Working = slices.Delete(work.Working, i, i+1)
			work.TablesDone++
		}
	}
	c.bytes -= chunk.Bytes()
	chunk.pass.held--
	c.held = c.held[1:]
	c.passes = slices.DeleteFunc(c.passes, (*tablePass).over)
	c.finish(work)
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

// gone leaves out a table that was dropped.
func (c *copier) gone(table uint32) {
	work := c.current()
	work.Working = slices.DeleteFunc(work.Working, func(w TableCopy) bool { return w.OID == table })
	delete(c.reached, table)
	c.dirty = true
	c.finish(work)
}

// finish ends the copy at work if nothing is left of it.
func (c *copier) finish(work *Copy) {
	if c.tables == nil || len(c.todo) > 0 || len(work.Working) > 0 {
		return
	}
	c.end(work.ID, "")
}

// end takes a copy off the list; why says what stopped it, "" that it is done.
func (c *copier) end(id, why string) {
	i := slices.IndexFunc(c.state.Copies, func(r Copy) bool { return r.ID == id })
	if i < 0 {
		return
	}
	if work := c.current(); work != nil && work.ID == id {
		c.abandon()
	}
	ended := c.state.Copies[i]
	c.state.Copies = slices.Delete(c.state.Copies, i, i+1)
	c.remember(FinishedCopy{ID: id, Stopped: why != "", Why: why, Tables: ended.TablesDone, Rows: ended.RowsDone})
	c.cfg.Log.Info("snapshot ended", zap.String("id", id), zap.Int("tables", ended.TablesDone), zap.Int64("rows", ended.RowsDone), zap.String("why", why))
}

// remember says how a copy ended, for some time.
func (c *copier) remember(f FinishedCopy) {
	f.Finished = c.now().UTC()
	c.state.Finished = append(c.state.Finished, f)
	c.state.Finished = c.state.Finished[max(0, len(c.state.Finished)-maxFinished):]
	c.dirty = true
}

// String is for logs.
func (r *Copy) String() string {
	return fmt.Sprintf("%s: %d of %d tables, %d rows", r.ID, r.TablesDone, r.TablesTotal, r.RowsDone)
}
