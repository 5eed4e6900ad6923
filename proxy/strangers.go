package proxy

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// strangers bounds the connections that have not said what they want. A client says it at once, so one that does not is closed soon:
// after strangerLasts, or as soon as others need its place and it has had its second to speak. An address has a part of the
// places only. A CancelRequest or a login takes none any more.
type strangers struct {
	log *zap.Logger

	mu     sync.Mutex
	moved  sync.Cond
	list   []stranger // in the order of their coming
	limit  int        // 0: none
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
	courtesy      = time.Second // encryption is agreed on in that time even with somebody far away
	shareOfOne    = 4           // one address has a fourth of the places
)

func newStrangers(limit int, log *zap.Logger) *strangers {
	l := &strangers{limit: limit, log: log}
	l.moved.L = &l.mu
	return l
}

// enter waits for a place, no longer than the courtesy takes. It is false if no more clients are served.
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

// network is what one client may have the addresses of: in IPv6 it is given a /64.
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

// displaceLocked closes the first that is meant, if the courtesy is over.
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

// leave is for one that has said what it wants, or is gone.
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

// close lets nobody in any more.
func (l *strangers) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.moved.Broadcast()
}
