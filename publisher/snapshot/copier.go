// Package snapshot copies tables while the stream runs: see ../SNAPSHOT.md. It decides what to read, and which of the rows read are published. The
// publisher publishes them.
package snapshot

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Copier copies tables while the stream runs. It reads chunks ahead, and hands each one to the publisher once the stream has reached the LSN at
// which the chunk was read. ../SNAPSHOT.md proves that this is correct. A Copier lives from one fence to the next failure: everything that its
// successor must know is in the progress record.
type Copier struct {
	Host
	cfg *Config

	state *State // as the next progress record will contain it
	dirty bool   // state differs from the recorded state

	rowsOut, tablesOut int // rows of chunks, and completed tables, since the last Publish

	reader   TableReader // nil: nothing to copy
	overlay  overlay
	starting int              // task of the latest Begin
	latest   *outbox.Visible  // no newer than the snapshot of any future pass; nil: Begin has not returned
	task     int              // the last task number assigned
	passes   []*tablePass     // in flight: from Read until the last chunk is published
	stash    []outbox.Reading // results that Wake has received
	rows     int              // rows that a pass may read
	readAhead

	nudged  time.Time
	retryAt time.Time // after a failure
	backoff time.Duration
	budget  float64   // rows that the rate limit permits
	filled  time.Time // when the budget was last raised
	why     string    // why nothing is being read
}

// readAhead is what abandon discards.
type readAhead struct {
	held       []HeldChunk                   // chunks read but not published, in order of arrival
	bytes      int                           // size of held
	listing    int                           // task of the current List; 0: none
	describing int                           // task of the current Describe; 0: none
	emptying   []*pgoutput.Relation          // tables whose topics must be emptied now; nil: not described yet
	kept       []uint32                      // Kept of the current copy once they are emptied
	tables     map[uint32]outbox.ListedTable // tables of the current copy; nil: not listed
	todo       []outbox.ListedTable          // those of them that have not begun
	reached    map[uint32][][]byte           // by table: key up to which it has been read
	refused    map[uint32]refusal            // by table: why it cannot be read at present
}

type HeldChunk struct {
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
	MaxPendingBytes = 128 << 10 // of the requests in the progress record
)

// Host is what a Copier needs from its publisher.
type Host struct {
	Shape       *shape.Shape
	EventTables []string // globs of the application's outbox tables, whose rows are not published again
	Identity    func(context.Context, *pgoutput.Relation, record.Place) (record.Identity, error)
	Now         func() time.Time
	Log         *zap.Logger
}

// New returns a Copier that resumes the copies in the progress record.
func New(cfg *Config, host Host, recorded *State) *Copier {
	c := &Copier{Host: host, cfg: cfg, state: &State{}, rows: firstPassRows, backoff: firstReadPause}
	if recorded != nil {
		*c.state = *recorded
		c.state.Copies = slices.Clone(recorded.Copies)
		for i := range c.state.Copies {
			working := slices.Clone(recorded.Copies[i].Working)
			for j := range working {
				if !working[j].Moved.sound() {
					working[j] = TableCopy{OID: working[j].OID, Root: working[j].Root, Name: working[j].Name}
				}
				working[j].Moved.resume()
				working[j].ctid = outbox.InCtidOrder(working[j].Last)
			}
			c.state.Copies[i].Working = working
		}
	}
	return c
}

// start begins to record changes, and only then requests a snapshot: see overlay.
func (c *Copier) start() {
	if c.reader == nil {
		c.reader = c.cfg.Open()
	}
	c.overlay.reset()
	c.latest, c.starting = nil, c.nextTask()
	c.reader.Begin(c.starting)
}

func (c *Copier) nextTask() int { c.task++; return c.task }

// Stop closes the reader and abandons everything in flight.
func (c *Copier) Stop() {
	if c.reader != nil {
		c.reader.Close()
		c.reader = nil
	}
	c.abandon()
	c.overlay.reset()
	c.latest, c.passes, c.stash = nil, nil, nil
}

// abandon discards chunks that were read but not published, and the reading positions.
func (c *Copier) abandon() {
	c.readAhead = readAhead{}
	c.overlay.forgetRead()
	for _, p := range c.passes {
		p.stale, p.held = true, 0
	}
}

// Copying reports whether there are copies that have not ended.
func (c *Copier) Copying() bool { return len(c.state.Copies) > 0 }

// Observe records the changes of a transaction of the stream. It must be called before anything after that transaction is published.
func (c *Copier) Observe(ctx context.Context, tx *outbox.Transaction) error {
	if !c.Copying() {
		return nil
	}
	overtakes := c.reader != nil && !c.seen(tx.XID)
	for i := range tx.Changes {
		change := &tx.Changes[i]
		switch change.Op {
		case outbox.Insert, outbox.Update, outbox.Delete, outbox.Truncate:
			id, err := c.Identity(ctx, change.Relation, record.PlaceOf(tx, change))
			if err != nil {
				return record.Unencoded(record.SourceName(change), err)
			}
			c.noteMove(change, id)
			if overtakes {
				c.overlay.record(change, tx.XID, id)
			}
		}
	}
	if c.overlay.bytes > c.cfg.MaxOverlayBytes {
		c.overlay.prune(c.seen)
	}
	if c.overlay.bytes > c.cfg.MaxOverlayBytes {
		c.Log.Warn("the stream changes more rows than the snapshot's memory limit allows; discarding what was read ahead and reading smaller parts",
			zap.String("finding", "snapshot-slow"), zap.Int("bytes", c.overlay.bytes))
		c.rows = max(c.rows/2, leastPassRows)
		c.abandon()
		c.start()
	}
	return nil
}

// Turn collects what has been read and gives the readers more work. upTo is the position of the stream.
func (c *Copier) Turn(upTo outbox.LSN) {
	work := c.Current()
	if work == nil {
		if c.reader != nil {
			c.Stop()
		}
		return
	}
	if c.reader == nil {
		if c.Now().Before(c.retryAt) {
			return
		}
		c.start()
	}
	c.collect()
	if work = c.Current(); work != nil && c.reader != nil && c.latest != nil {
		c.finish(work)
		work = c.Current()
	}
	if work == nil { // changes of the stream are not recorded until the next copy is requested
		c.Stop()
		return
	}
	if c.reader == nil || c.latest == nil {
		return
	}
	if c.tables == nil {
		if c.listing == 0 {
			c.listing = c.nextTask()
			c.reader.List(c.listing)
		}
		return
	}
	if work.Resync {
		if c.describe(work); !work.Emptied {
			return
		}
	}
	c.dispatch(work, upTo)
	c.nudge(upTo)
}

// collect handles results that have arrived, as long as there is room for their chunks.
func (c *Copier) collect() {
	for c.reader != nil && c.hasRoom() {
		r, ok := c.nextResult()
		if !ok {
			return
		}
		c.handle(&r)
	}
}

// hasRoom reports whether there is room for more chunks. It leaves room for those being read: two per reader, of the size of the last one.
func (c *Copier) hasRoom() bool {
	n := len(c.held)
	return n == 0 || c.bytes+2*c.cfg.Readers*c.held[n-1].Bytes() < c.cfg.MaxHeldBytes
}

func (c *Copier) nextResult() (r outbox.Reading, ok bool) {
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

// Wake calls arrived as soon as a result arrives. Between this call and the return of done, use the Copier for nothing else.
func (c *Copier) Wake(ctx context.Context, arrived func()) (done func()) {
	if c.reader == nil || !c.hasRoom() {
		return func() {}
	}
	results, ended := c.reader.Results(), make(chan struct{})
	go func() { // done waits for it
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

func (c *Copier) handle(r *outbox.Reading) {
	p := c.pass(r.Task)
	switch {
	case r.Err != nil:
		c.failed(p, r)
	case r.Waiting != "":
		c.why = "waiting for " + r.Waiting
		c.waiting(r.Waiting)
		c.Log.Info("the snapshot waits for a transaction that began before it", zap.String("for", r.Waiting))
	case r.Visible != nil && r.Task == c.starting:
		c.latest, c.why = r.Visible, ""
		c.waiting("")
	case r.Task == c.listing && r.Done:
		c.listing = 0
		c.plan(r.Tables)
	case r.Task == c.describing && r.Done:
		c.described(r)
	}
	if p == nil {
		return
	}
	if r.Chunk != nil && !p.stale {
		c.hold(p, r.Chunk)
	}
	if r.Done && r.Err == nil && c.refused[p.table].why != "" {
		delete(c.refused, p.table)
		c.waiting(c.refusals())
	}
	p.read = p.read || r.Done
	c.passes = slices.DeleteFunc(c.passes, (*tablePass).over)
}

func (c *Copier) hold(p *tablePass, chunk *outbox.Chunk) {
	p.visible = &chunk.Visible
	c.latest = p.visible
	c.backoff = firstReadPause
	if w := c.Current().of(p.table); w != nil && !w.ctid && outbox.InCtidOrder(chunk.Last) {
		if w.ctid = true; !c.noteDisplaced(w) {
			c.restart(w)
			return
		}
	}
	c.held = append(c.held, HeldChunk{chunk, p, c.Now()})
	c.bytes += chunk.Bytes()
	p.held++
	switch {
	case p.keys != nil:
	case chunk.End:
		delete(c.reached, p.table)
	case chunk.Last != nil:
		c.reached[p.table] = chunk.Last
	}
}

// failed handles a failed read. Errors of one table concern only that table or copy; any other stops the readers and restarts them after a pause,
// while the stream goes on.
func (c *Copier) failed(p *tablePass, r *outbox.Reading) {
	if p != nil && p.stale {
		return
	}
	if p != nil && errors.Is(r.Err, outbox.ErrTableGone) {
		c.removeDropped(p.table)
		return
	}
	if p != nil && errors.Is(r.Err, outbox.ErrOtherKey) {
		c.restartTable(p.table)
		return
	}
	if p != nil && errors.Is(r.Err, outbox.ErrCondition) {
		c.end(c.Current().ID, c.tables[p.table].Schema+"."+c.tables[p.table].Name+": "+r.Err.Error())
		return
	}
	if p != nil && errors.Is(r.Err, outbox.ErrTableRefused) {
		c.setAside(p.table, r.Err)
		return
	}
	c.why = r.Err.Error()
	c.waiting(c.why)
	c.Log.Warn("the snapshot cannot read a table; retrying, the stream continues", zap.String("finding", "snapshot-failing"), zap.Duration("in", c.backoff), zap.Error(r.Err))
	c.Stop()
	c.retryAt = c.Now().Add(c.backoff)
	c.backoff = min(2*c.backoff, longestPause)
}

// nudge makes the server report its current WAL position, if a held chunk waits for the stream to reach it.
func (c *Copier) nudge(upTo outbox.LSN) {
	if len(c.held) == 0 || c.held[0].At <= upTo {
		return
	}
	now := c.Now()
	if now.Sub(c.held[0].arrived) < nudgeAfter || now.Sub(c.nudged) < nudgeEvery {
		return
	}
	c.nudged = now
	c.reader.Nudge(c.nextTask())
}

// Ready returns the next chunk that may be published when the stream has reached upTo; nil for none.
func (c *Copier) Ready(upTo outbox.LSN) *HeldChunk {
	if c.Current() == nil || len(c.held) == 0 || c.held[0].At > upTo || !c.withinRate() {
		return nil
	}
	return &c.held[0]
}

// UntilDue returns how long the loop may wait for the stream.
func (c *Copier) UntilDue(upTo outbox.LSN, longest time.Duration) time.Duration {
	switch {
	case c.cfg.Open == nil:
		return longest
	case c.Current() == nil:
		return min(longest, time.Second)
	case c.reader == nil:
		return min(longest, max(0, c.retryAt.Sub(c.Now())))
	case c.Ready(upTo) != nil:
		return 0
	case len(c.held) > 0:
		return min(longest, nudgeAfter)
	}
	return min(longest, time.Second)
}

// withinRate implements the rate limit: it permits a chunk while the budget is not overdrawn.
func (c *Copier) withinRate() bool {
	rate := float64(c.cfg.RowsPerSecond)
	if rate == 0 {
		return true
	}
	now := c.Now()
	c.budget = min(c.budget+now.Sub(c.filled).Seconds()*rate, rate)
	c.filled = now
	return c.budget >= 0
}

// Published removes a chunk whose records have been composed, and records the progress.
func (c *Copier) Published(chunk *HeldChunk) {
	work := c.Current()
	c.dirty = true
	c.budget -= float64(chunk.Len())
	work.Chunks++
	work.RowsDone += int64(chunk.Len())
	c.rowsOut += chunk.Len()
	if w := work.of(chunk.Table); w != nil {
		c.removeRead(w, chunk)
		if chunk.pass.keys == nil {
			w.advance(chunk.Chunk)
		}
	}
	c.bytes -= chunk.Bytes()
	chunk.pass.held--
	c.held = c.held[1:]
	c.passes = slices.DeleteFunc(c.passes, (*tablePass).over)
	c.finish(work)
}

// advance moves the progress of a table past a chunk.
func (w *TableCopy) advance(chunk *outbox.Chunk) {
	if chunk.Last != nil {
		w.Last = chunk.Last
	}
	w.Read = chunk.End
}

// Remember records how a copy ended, for the last few copies.
func (c *Copier) Remember(f FinishedCopy) {
	f.shorten()
	f.Finished = c.Now().UTC()
	c.state.Finished = append(c.state.Finished, f)
	c.state.Finished = c.state.Finished[max(0, len(c.state.Finished)-maxFinished):]
	c.dirty = true
}
