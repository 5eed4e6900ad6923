package snapshot

import (
	"errors"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// refusal says why a table cannot be read, and when to try again.
type refusal struct {
	why     string
	pause   time.Duration
	retryAt time.Time
	told    bool // in the log
}

const (
	refusedPause    = 5 * time.Second
	lockedPause     = 100 * time.Millisecond // doubled each time: most locks are short, and a reader that waited for one would make others wait
	maxListedTables = 4
	maxRefused      = 64 // tables that wait; beyond this number no further tables are begun
)

// setAside postpones a table and continues with the others. A lock is told once it has lasted for as long as refusedPause.
func (c *Copier) setAside(table uint32, err error) {
	name := c.tables[table].Schema + "." + c.tables[table].Name
	before := c.refused[table]
	r := refusal{why: name + ": " + err.Error(), pause: refusedPause}
	if errors.Is(err, outbox.ErrTableLocked) {
		r.pause = min(max(2*before.pause, lockedPause), refusedPause)
	}
	r.retryAt = c.Now().Add(r.pause)
	r.told = r.pause == refusedPause
	if r.told && !(before.told && before.why == r.why) {
		c.Log.Warn("the snapshot cannot read a table; retrying, the stream and the other tables continue", zap.String("finding", "snapshot-table-refused"), zap.String("table", name), zap.Error(err))
	}
	if c.refused == nil {
		c.refused = map[uint32]refusal{}
	}
	if work := c.Current(); work != nil { // the others come first
		if i := slices.IndexFunc(work.Working, func(w TableCopy) bool { return w.OID == table }); i >= 0 {
			w := work.Working[i]
			work.Working = append(slices.Delete(work.Working, i, i+1), w)
		}
	}
	c.refused[table] = r
	c.waiting(c.refusals())
}

// refusals returns the reasons why tables cannot be read.
func (c *Copier) refusals() string {
	var all []string
	for _, r := range c.refused {
		if r.told {
			all = append(all, r.why)
		}
	}
	slices.Sort(all)
	return strings.Join(all[:min(len(all), maxListedTables)], "; ")
}

// waiting records what the current copy waits for.
func (c *Copier) waiting(why string) {
	if work := c.Current(); work != nil && work.Waiting != why {
		work.Waiting = why
		c.dirty = true
	}
}
