package main

import (
	"sync"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// lag remembers where the server wrote at which time, to tell for how long something has waited to be published.
type lag struct {
	mu     sync.Mutex
	status outbox.SlotStatus // the last answer
	marks  []mark            // not published yet, oldest first
	warned time.Time
}

type mark struct {
	lsn outbox.LSN
	at  time.Time
}

// maxMarks bounds the memory of an outage: of more, every second one is forgotten.
const maxMarks = 1024

// observe takes an answer of the server.
func (l *lag) observe(s outbox.SlotStatus, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.status = s
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

// behind returns how far published is behind the server: bytes of log, and the time since the server first
// wrote something that is not published, to the precision of the observations.
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

// mayWarn is true once a minute.
func (l *lag) mayWarn(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.warned) < time.Minute {
		return false
	}
	l.warned = now
	return true
}

// slot returns the last answer of the server.
func (l *lag) slot() outbox.SlotStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status
}
