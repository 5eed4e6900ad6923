package proxy

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// logins bounds the clients that log in at a time, or have others cancelled. More than that wait: a storm of clients that come
// back becomes a queue.
type logins struct {
	log *zap.Logger

	mu     sync.Mutex
	freed  sync.Cond
	count  int
	limit  int // 0: none
	closed bool
	told   time.Time
}

// toldEvery is how often a wait is logged at most.
const toldEvery = 10 * time.Second

func newLogins(limit int, log *zap.Logger) *logins {
	l := &logins{limit: limit, log: log}
	l.freed.L = &l.mu
	return l
}

// begin waits for its turn. It is false if no more clients are served.
func (l *logins) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.fullLocked() && now.Sub(l.told) > toldEvery {
		l.told = now
		l.log.Warn("clients wait: too many others have not logged in yet; see --max-logins and --login-timeout", zap.Int("logins", l.count))
	}
	for l.fullLocked() && !l.closed {
		l.freed.Wait()
	}
	if l.closed {
		return false
	}
	l.count++
	return true
}

func (l *logins) fullLocked() bool { return l.limit > 0 && l.count >= l.limit }

// end is that of a login, successful or not.
func (l *logins) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	l.freed.Signal()
}

// allow changes the limit.
func (l *logins) allow(limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
	l.freed.Broadcast()
}

// close lets nobody in any more.
func (l *logins) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.freed.Broadcast()
}
