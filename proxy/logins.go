package proxy

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// logins limits the number of clients that log in, or send CancelRequests, at the same time. As many others may wait for their turn, a quarter of them
// from one network, so that a reconnect storm becomes a queue. While clients wait, a login whose client does not answer the server for too long is
// ended. If all places to wait are taken, the client that has waited longest is disconnected.
type logins struct {
	log *zap.Logger

	mu      sync.Mutex
	inside  map[*session]struct{}
	waiting crowd
	limit   int // 0: none
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
	return &logins{limit: limit, log: log, inside: map[*session]struct{}{}}
}

// begin waits for the session's turn until ctx ends, or its client hangs up. If it returns true, end must be called.
func (l *logins) begin(ctx context.Context, s *session) bool {
	turn, admitted := l.enter(s, time.Now())
	if turn == nil {
		return admitted
	}
	s.watchClient(s.cancel)
	select {
	case <-turn:
	case <-ctx.Done():
	}
	s.stopWatching()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting.remove(s)
	_, admitted = l.inside[s]
	return admitted
}

// enter admits the session, refuses it, or returns a channel that is closed when one of the two is decided.
func (l *logins) enter(s *session, now time.Time) (turn <-chan struct{}, admitted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, false
	case !l.fullLocked():
		l.inside[s] = struct{}{}
		return nil, true
	}
	if now.Sub(l.told) > toldEvery {
		l.told = now
		l.log.Warn("clients wait: too many others have not logged in yet; see --max-logins and --login-timeout", zap.String("finding", "logins-waiting"), zap.Int("logins", len(l.inside)))
	}
	v := visit(s, now)
	if l.waiting.exceedsShare(v.from, l.limit) {
		l.waiting.displace(now, v.neighbour)
	}
	if len(l.waiting) >= l.limit {
		if _, ok := l.waiting.displace(now, anybody); !ok {
			return nil, false
		}
	}
	if l.looking == nil {
		l.looking = time.AfterFunc(lookEvery, l.relieve)
	}
	v.turn = make(chan struct{})
	l.waiting = append(l.waiting, v)
	return v.turn, false
}

func (l *logins) fullLocked() bool { return l.limit > 0 && len(l.inside) >= l.limit }

// admitLocked gives those who have waited longest their turn, as far as there is room.
func (l *logins) admitLocked() {
	for len(l.waiting) > 0 && !l.fullLocked() {
		v := l.waiting[0]
		l.waiting[0] = visitor{} // the array must not keep the session
		l.waiting = l.waiting[1:]
		l.inside[v.session] = struct{}{}
		close(v.turn)
	}
}

// relieve ends logins whose clients have not answered the server for answerLasts, at most as many as there are waiting clients.
func (l *logins) relieve() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looking = nil
	left := len(l.waiting)
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
	l.admitLocked()
}

// allow changes the limit.
func (l *logins) allow(limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
	l.admitLocked()
}

// close admits no more clients.
func (l *logins) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, v := range l.waiting {
		close(v.turn)
	}
	l.waiting = nil
}
