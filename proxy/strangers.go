package proxy

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// strangers limits the number of connections that have not sent their first packet yet. A client normally sends it immediately, so a silent connection is
// soon closed: after strangerLasts, or as soon as others need its place and its courtesy period is over. One network may hold only a part of the places.
// A connection gives up its place when its startup packet or CancelRequest has arrived.
type strangers struct {
	log *zap.Logger

	mu     sync.Mutex
	moved  sync.Cond
	crowd  crowd
	limit  int // 0: no limit
	closed bool
	told   time.Time
}

const strangerLasts = 10 * time.Second

func newStrangers(limit int, log *zap.Logger) *strangers {
	l := &strangers{limit: limit, log: log}
	l.moved.L = &l.mu
	return l
}

// enter waits for a place, for no longer than courtesy. It returns false if no more clients are served.
func (l *strangers) enter(s *session, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := visit(s, now)
	if l.limit > 0 && l.crowd.exceedsShare(v.from, l.limit) {
		l.displaceLocked(now, v.neighbour)
	}
	for l.limit > 0 && len(l.crowd) >= l.limit && !l.closed {
		if !l.displaceLocked(now, anybody) {
			alarm := time.AfterFunc(l.crowd[0].since.Add(courtesy).Sub(now), l.wake)
			l.moved.Wait()
			alarm.Stop()
			now = time.Now()
		}
	}
	if l.closed {
		return false
	}
	v.since = now
	l.crowd = append(l.crowd, v)
	return true
}

func (l *strangers) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moved.Broadcast()
}

// displaceLocked closes the oldest connection for which meant is true, if its courtesy period is over.
func (l *strangers) displaceLocked(now time.Time, meant func(visitor) bool) bool {
	displaced, ok := l.crowd.displace(now, meant)
	if ok && now.Sub(l.told) > toldEvery {
		l.told = now
		l.log.Warn("silent connections are closed to make room for others; see --max-logins", zap.String("finding", "connections-silent"), zap.String("client", displaced.name()))
	}
	return ok
}

// leave is called for a connection that has sent its first packet, or is gone.
func (l *strangers) leave(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.crowd.remove(s) {
		l.moved.Broadcast()
	}
}

// allow changes the limit.
func (l *strangers) allow(limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.limit = limit
	l.moved.Broadcast()
}

// close admits no more clients.
func (l *strangers) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.moved.Broadcast()
}
