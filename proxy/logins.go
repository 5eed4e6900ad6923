package proxy

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// logins bounds the number of clients that log in, or send CancelRequests, at the same time. Further ones wait: a reconnect storm becomes a queue.
// While others wait, a client that keeps the server waiting for an answer for too long loses its turn.
type logins struct {
	log *zap.Logger

	mu      sync.Mutex
	freed   sync.Cond
	inside  map[*session]struct{}
	limit   int // 0: none
	waiting int
	closed  bool
	told    time.Time
	looking *time.Timer // runs relieve; nil: no client waits
}

const (
	answerLasts = 5 * time.Second // a program that knows its password answers immediately
	lookEvery   = time.Second
)

// toldEvery is the minimum interval between log messages about waiting clients.
const toldEvery = 10 * time.Second

func newLogins(limit int, log *zap.Logger) *logins {
	l := &logins{limit: limit, log: log, inside: map[*session]struct{}{}}
	l.freed.L = &l.mu
	return l
}

// begin waits for the session's turn. It returns false if no more clients are served.
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

// relieve ends as many logins as other clients wait, provided that their own clients do not answer.
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

// end is called at the end of a login, successful or not.
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

// close admits no more clients.
func (l *logins) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.freed.Broadcast()
}
