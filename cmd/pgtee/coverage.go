package main

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// coverage monitors for which tables UPDATE and DELETE are captured, and logs changes.
type coverage struct {
	outbox.Coverage
	database string
	log      *zap.Logger

	known  map[outbox.Capture]bool // uncaptured tables that have been logged; nil before the first check
	stuck  time.Time               // when it was last logged that a table could not be added or removed
	tables atomic.Int64            // number of uncaptured tables
}

const (
	coverageInterval = time.Second
	coverageShare    = 50 // checking takes at most one fiftieth of the time, even with thousands of tables
	stuckInterval    = time.Minute
	maxLoggedTables  = 20
)

// watch checks periodically until ctx ends.
func (c *coverage) watch(ctx context.Context) error {
	defer c.Close(context.WithoutCancel(ctx))
	pause := time.NewTimer(coverageInterval)
	defer pause.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pause.C:
		}
		began := time.Now()
		err := turn(ctx, c.look)
		if err != nil && ctx.Err() == nil && !failed {
			c.log.Warn("cannot check the publications; trying again", zap.String("finding", "coverage-unknown"), zap.String("database", c.database), zap.Error(err))
		}
		failed = err != nil
		wait := max(coverageInterval, coverageShare*time.Since(began))
		if failed {
			wait = max(wait, 10*coverageInterval)
		}
		pause.Reset(wait)
	}
}

func (c *coverage) look(ctx context.Context) error {
	done, uncaptured, holders, err := c.Look(ctx)
	c.logDone(done, holders)
	if err != nil {
		return err
	}
	c.tables.Store(int64(len(uncaptured)))
	c.logUncaptured(uncaptured)
	return nil
}

// logDone logs what was corrected after the transaction of the DDL and, once a minute, what locks prevent from being corrected.
func (c *coverage) logDone(done []outbox.Capture, holders []string) {
	mayLog := time.Since(c.stuck) >= stuckInterval
	for _, d := range done {
		fields := []zap.Field{zap.String("database", c.database), zap.String("table", d.Table), zap.String("reason", d.Reason)}
		switch d.State {
		case outbox.CaptureListed:
			c.log.Warn("UPDATE and DELETE of a table are captured from now on; some of what was changed before is not in the stream", append(fields, zap.String("finding", "table-late"))...)
		case outbox.CaptureWidened:
			c.log.Warn("a table has lost its key: it has REPLICA IDENTITY FULL now", append(fields, zap.String("finding", "table-lost-key"))...)
		case outbox.CaptureBusy, outbox.CaptureFailing:
			if !mayLog {
				continue
			}
			c.stuck = time.Now()
			text := "UPDATE and DELETE of a table are not captured until it can be listed in a publication: end the transactions that lock it"
			if d.State == outbox.CaptureFailing {
				text = "UPDATE and DELETE of a table that has lost its identity fail until it can be taken out of a publication: end the transactions that lock it"
			}
			c.log.Warn(text, append(fields, zap.String("finding", "table-locked"), zap.Strings("locked by", holders))...)
		}
	}
}

// logUncaptured logs the tables that have become uncaptured since the last check; the first time, all uncaptured tables.
func (c *coverage) logUncaptured(uncaptured []outbox.Capture) {
	first := c.known == nil
	known := make(map[outbox.Capture]bool, len(uncaptured))
	var told []string
	fresh := 0
	for _, u := range uncaptured {
		known[u] = true
		if c.known[u] {
			continue
		}
		if fresh++; len(told) < maxLoggedTables {
			told = append(told, u.Table+": "+u.Reason)
		}
	}
	c.known = known
	if fresh == 0 {
		return
	}
	text := "UPDATE and DELETE of more tables are not captured"
	if first {
		text = "UPDATE and DELETE of tables are not captured"
	}
	c.log.Warn(text, zap.String("finding", "table-uncaptured"), zap.String("database", c.database), zap.Int("count", fresh), zap.Strings("tables", told))
}
