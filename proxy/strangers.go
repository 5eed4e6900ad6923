package proxy

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// strangers bounds the connections that have not sent their first packet yet. A client normally sends it immediately, so a silent connection is soon
// closed: after strangerLasts, or as soon as others need its place and its courtesy period is over. One address may hold only a part of the places. A
// CancelRequest or a login no longer occupies a place.
type strangers struct {
	log *zap.Logger

	mu     sync.Mutex
	moved  sync.Cond
	list   []stranger // in order of arrival
	limit  int        // 0: no limit
	closed bool
	told   time.Time
}

type stranger struct {
	session *session
	from    netip.Addr
	since   time.Time
}

func (o *stranger) name() string {
	if !o.from.IsValid() {
		return "Unix socket"
	}
	return o.from.String()
}

const (
	strangerLasts = 10 * time.Second
	courtesy      = time.Second // sufficient to negotiate encryption even with a distant client
	shareOfOne    = 4           // one address may hold a fourth of the places
)

func newStrangers(limit int, log *zap.Logger) *strangers {
	l := &strangers{limit: limit, log: log}
	l.moved.L = &l.mu
	return l
}

// enter waits for a place, for no longer than courtesy. It returns false if no more clients are served.
func (l *strangers) enter(s *session, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := network(s.from.Addr())
	if l.limit > 0 && l.countLocked(from) >= max(1, l.limit/shareOfOne) {
		l.displaceLocked(now, func(o stranger) bool { return o.from == from })
	}
	for l.limit > 0 && len(l.list) >= l.limit && !l.closed {
		if !l.displaceLocked(now, func(stranger) bool { return true }) {
			alarm := time.AfterFunc(l.list[0].since.Add(courtesy).Sub(now), l.wake)
			l.moved.Wait()
			alarm.Stop()
			now = time.Now()
		}
	}
	if l.closed {
		return false
	}
	l.list = append(l.list, stranger{s, from, now})
	return true
}

func (l *strangers) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moved.Broadcast()
}

// network returns the range of addresses that one client may have: in IPv6 a client is assigned a /64.
func network(a netip.Addr) netip.Addr {
	if prefix, err := a.Prefix(64); err == nil && a.Is6() && !a.Is4In6() {
		return prefix.Addr()
	}
	return a.Unmap()
}

func (l *strangers) countLocked(from netip.Addr) (count int) {
	for _, o := range l.list {
		if o.from == from {
			count++
		}
	}
	return count
}

// displaceLocked closes the oldest connection for which meant is true, if its courtesy period is over.
func (l *strangers) displaceLocked(now time.Time, meant func(stranger) bool) bool {
	for i, o := range l.list {
		if !meant(o) {
			continue
		}
		if now.Sub(o.since) < courtesy {
			return false
		}
		l.list = slices.Delete(l.list, i, i+1)
		if now.Sub(l.told) > toldEvery {
			l.told = now
			l.log.Warn("silent connections are closed to make room for others; see --max-logins", zap.String("finding", "connections-silent"), zap.String("client", o.name()))
		}
		go o.session.cut()
		return true
	}
	return false
}

// leave is called for a connection that has sent its first packet, or is gone.
func (l *strangers) leave(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, o := range l.list {
		if o.session == s {
			l.list = slices.Delete(l.list, i, i+1)
			l.moved.Broadcast()
			return
		}
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
