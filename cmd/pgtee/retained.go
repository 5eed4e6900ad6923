package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// retainedLimit is the value of --max-retained-wal: how much WAL the slot may retain before the log warns, or before the slot is dropped. At most one
// of them is set.
type retainedLimit struct{ warn, drop int64 }

// UnmarshalText parses "50GB:warn" or "50GB:drop_slot".
func (l *retainedLimit) UnmarshalText(text []byte) error {
	size, action, _ := strings.Cut(string(text), ":")
	if action != "warn" && action != "drop_slot" {
		return errors.New("want SIZE:warn or SIZE:drop_slot, such as 50GB:warn")
	}
	bytes, err := parseSize(size)
	if err != nil {
		return err
	}
	if *l = (retainedLimit{warn: bytes}); action == "drop_slot" {
		*l = retainedLimit{drop: bytes}
	}
	return nil
}

// String returns the limit as it is given.
func (l retainedLimit) String() string {
	switch {
	case l.drop > 0:
		return formatSize(l.drop) + ":drop_slot"
	case l.warn > 0:
		return formatSize(l.warn) + ":warn"
	}
	return ""
}

// lossAt returns how much WAL the slot retains when it is lost, because pgtee drops it or the server invalidates it; negative: there is
// no limit. The limit of the server may be 0.
func (l retainedLimit) lossAt(slot outbox.SlotStatus) int64 {
	return lowerLimit(given(l.drop), slot.KeepBytes)
}

// warnAt returns how much WAL the slot retains when the log begins to warn; negative: it does not.
func (l retainedLimit) warnAt(slot outbox.SlotStatus) int64 {
	half := l.lossAt(slot)
	if half > 0 {
		half /= 2
	}
	return lowerLimit(given(l.warn), half)
}

// given returns a limit of the flag, -1 if it is not set.
func given(limit int64) int64 {
	if limit == 0 {
		return -1
	}
	return limit
}

// lowerLimit returns the lower of two limits. Negative means no limit.
func lowerLimit(a, b int64) int64 {
	if a < 0 || b >= 0 && b < a {
		return max(-1, b)
	}
	return a
}

// parseSize parses a size in PostgreSQL's notation: 512MB, 50GB; units are multiples of 1024.
func parseSize(text string) (int64, error) {
	for i, unit := range sizeUnits {
		number, found := strings.CutSuffix(text, unit)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		shift := 10 * (i + 1)
		if err != nil || n <= 0 || n > math.MaxInt64>>shift {
			break
		}
		return n << shift, nil
	}
	return 0, fmt.Errorf("%q is not a size: want a number and kB, MB, GB or TB", text)
}

var sizeUnits = []string{"kB", "MB", "GB", "TB"}

// formatSize is the inverse of parseSize.
func formatSize(bytes int64) string {
	i := min(bits.TrailingZeros64(uint64(bytes))/10, len(sizeUnits)) - 1
	return fmt.Sprint(bytes>>(10*(i+1)), sizeUnits[i])
}

// check refuses a server whose WAL would grow without limit while Kafka is unavailable, and recommends the server's own limit, because that of pgtee is
// effective only while this process runs.
func (l retainedLimit) check(ctx context.Context, s source, log *zap.Logger) error {
	slot, err := outbox.ReadSlotStatus(ctx, s.connString, s.slot)
	if err != nil {
		return err
	}
	if slot.KeepBytes < 0 && l.drop > 0 {
		log.Warn("--max-retained-wal holds only while this process runs; a limit of the server holds always: run ALTER SYSTEM SET max_slot_wal_keep_size = '"+
			strconv.FormatInt(l.drop>>20+1, 10)+"MB' and SELECT pg_reload_conf()", zap.String("finding", "wal-unbounded"), zap.String("database", s.database))
	}
	if slot.KeepBytes < 0 && l == (retainedLimit{}) {
		return errors.New("max_slot_wal_keep_size is -1, so the WAL may grow until the disk is full: " +
			"run ALTER SYSTEM SET max_slot_wal_keep_size = '50GB' and SELECT pg_reload_conf(), or give --max-retained-wal SIZE:warn|drop_slot")
	}
	return nil
}

// watchRetained warns from warnAt on, and drops the slot at --max-retained-wal SIZE:drop_slot.
func (p databasePublisher) watchRetained(ctx context.Context) error {
	slot, err := outbox.ReadSlotStatus(ctx, p.connString, p.slot)
	if err != nil {
		return err
	}
	p.lag.observe(slot, time.Now())
	if drop := p.retained.drop; drop > 0 && slot.Retained >= drop {
		p.log.Error("the slot retains more WAL than --max-retained-wal allows and is dropped: changes that were not published are lost to the stream", zap.String("finding", "slot-dropped"),
			zap.String("slot", p.slot), zap.Int64("bytes", slot.Retained), zap.Int64("limit", drop))
		return outbox.DropSlot(ctx, p.connString, p.slot)
	}
	if warn := p.retained.warnAt(slot); warn < 0 || slot.Retained < warn || !p.lag.mayWarn(time.Now()) {
		return nil
	}
	p.log.Warn("the slot retains much WAL: is Kafka down, or the publisher too slow?", zap.String("finding", "wal-retained"),
		zap.String("slot", p.slot), zap.Int64("bytes", slot.Retained), zap.Int64("lost_at", p.retained.lossAt(slot)))
	return nil
}
