package proxy

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// logins bounds the clients that log in at a time, or have others cancelled. More than that wait: a storm of clients that come
// back becomes a queue. While others wait, whoever owes the server an answer for long loses its turn.
type logins struct {
	log *zap.Logger

	mu      sync.Mutex
	freed   sync.Cond
	inside  map[*session]struct{}
	limit   int // 0: none
	waiting int
	closed  bool
	told    time.Time
	looking *time.Timer // relieve comes; nil: nobody waits
}

const (
	answerLasts = 5 * time.Second // a program that knows its password answers at once
	lookEvery   = time.Second
)

// toldEvery is how often a wait is logged at most.
const toldEvery = 10 * time.Second

func newLogins(limit int, log *zap.Logger) *logins {
	l := &logins{limit: limit, log: log, inside: map[*session]struct{}{}}
	l.freed.L = &l.mu
	return l
}

// begin waits for its turn. It is false if no more clients are served.
func (l *logins) begin(s *session) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); l.fullLocked() && now.Sub(l.told) > toldEvery {
		l.told = now
		l.log.Warn("clients wait: too many others have not logged in yet; see --max-logins and --login-timeout", zap.String("finding", "logins-waiting"), zap.Int("logins", len(l.inside)))
	}
	for l.fullLocked() && !l.closed {
		if l.looking == nil {
			l.looking = time.AfterFunc(lookEvery, l.relieve)
		}
		l.waiting++
		l.freed.Wait()
		l.waiting--
	}
	if l.closed {
		return false
	}
	l.inside[s] = struct{}{}
	return true
}

func (l *logins) fullLocked() bool { return l.limit > 0 && len(l.inside) >= l.limit }

// relieve ends as many logins as others wait, if their clients do not answer.
func (l *logins) relieve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looking = nil
	left := l.waiting
	for s := range l.inside {
		if since := s.owes.Load(); left > 0 && since != nil && time.Since(*since) >= answerLasts {
			left--
			go s.cut()
		}
	}
	if left > 0 && !l.closed {
		l.looking = time.AfterFunc(lookEvery, l.relieve)
	}
}

// end is that of a login, successful or not.
func (l *logins) end(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.inside, s)
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
