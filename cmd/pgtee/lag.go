package main

import (
	"math"
	"sync"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// lag records at which time the server had reached which WAL position, to compute for how long the oldest unpublished WAL has been waiting.
type lag struct {
	mu     sync.Mutex
	status outbox.SlotStatus // the latest status
	marks  []mark            // not published yet, oldest first
	warned time.Time
	kept   []kept // size of the WAL retained by the slot, oldest first
}

// newLag returns a lag that knows of no limit yet.
func newLag() *lag { return &lag{status: outbox.SlotStatus{KeepBytes: -1}} }

// kept is the size of the WAL that a slot retained at a given time.
type kept struct {
	bytes int64
	at    time.Time
}

// keptSpan is the period over which the growth of the retained WAL is measured.
const keptSpan = 10 * time.Minute

type mark struct {
	lsn outbox.LSN
	at  time.Time
}

// maxMarks limits the memory needed during an outage: when it is reached, every second mark is dropped.
const maxMarks = 1024

// observe records a status of the slot and the server.
func (l *lag) observe(s outbox.SlotStatus, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.Server < l.status.Server { // a restored backup, or another server: its positions are not those of the marks
		l.marks, l.kept = nil, nil
	}
	l.status = s
	for len(l.kept) > 0 && now.Sub(l.kept[0].at) > keptSpan {
		l.kept = l.kept[1:]
	}
	l.kept = append(l.kept, kept{s.Retained, now})
	if n := len(l.marks); n > 0 && l.marks[n-1].lsn >= s.Server {
		return
	}
	if len(l.marks) == maxMarks {
		kept := l.marks[:0]
		for i := 0; i < maxMarks; i += 2 {
			kept = append(kept, l.marks[i])
		}
		l.marks = kept
	}
	l.marks = append(l.marks, mark{s.Server, now})
}

// behind returns how far published is behind the server: bytes of WAL, and the time since the server first wrote something that is not published,
// within the precision of the observations.
func (l *lag) behind(published outbox.LSN, now time.Time) (bytes int64, age time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.marks) > 0 && l.marks[0].lsn <= published {
		l.marks = l.marks[1:]
	}
	if len(l.marks) > 0 {
		age = now.Sub(l.marks[0].at)
	}
	return max(0, int64(l.status.Server)-int64(published)), age
}

// safe returns the remaining fraction of the WAL that the slot may retain before it is lost, from 1 to 0, and the number of seconds until it is used
// up, if the retained WAL grows as it did in the last ten minutes. Both are 0 once the slot is lost, when it retains nothing. Without a limit both
// results are NaN; seconds are infinite if the WAL does not grow.
func (l *lag) safe(retained retainedLimit) (ratio, seconds float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := retained.lossAt(l.status)
	left := max(0, limit-l.status.Retained)
	switch {
	case l.status.Lost():
		return 0, 0
	case limit < 0 || len(l.kept) == 0:
		return math.NaN(), math.NaN()
	case left == 0:
		return 0, 0
	}
	first, last := l.kept[0], l.kept[len(l.kept)-1]
	grown, passed := float64(last.bytes-first.bytes), last.at.Sub(first.at).Seconds()
	if seconds = math.Inf(1); grown > 0 && passed > 0 {
		seconds = float64(left) / (grown / passed)
	}
	return float64(left) / float64(limit), seconds
}

// mayWarn returns true once a minute.
func (l *lag) mayWarn(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.warned) < time.Minute {
		return false
	}
	l.warned = now
	return true
}

// slot returns the latest status of the server.
func (l *lag) slot() outbox.SlotStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}
