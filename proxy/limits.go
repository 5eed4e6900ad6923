package proxy

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// Limits bound the server resources that clients may use. Zero means no limit.
type Limits struct {
	Sessions    int // of all clients
	PerUser     int
	PerDatabase int

	Logins int // limit of each: connections without a startup packet, logins in progress, CancelRequests; as many further ones wait

	Login             time.Duration // until the session begins, including the wait for its turn and the password [1 minute]
	Idle              time.Duration // outside a transaction: the session ends with 57P05
	IdleInTransaction time.Duration // ... in an open block: 25P03
	Query             time.Duration // a request that takes longer is cancelled, which the server reports as 57014

	Databases Names
	Users     Names
}

// defaultLogin is the default of PostgreSQL's authentication_timeout.
const defaultLogin = time.Minute

// usage counts the sessions to which Limits apply.
type usage struct {
	sessions           int
	byUser, byDatabase map[string]int
}

// checkNames refuses a session by the names in its startup packet.
func (p *Proxy) checkNames(st *startup) error {
	l := &p.terms.Load().Limits
	switch {
	case !l.Databases.admits(st.database):
		return refusedError("database", st.database)
	case !l.Users.admits(st.user):
		return refusedError("user", st.user)
	}
	return nil
}

// count counts a session that the server has authenticated, or says which limit it exceeds. Sessions do not count before authentication: otherwise
// clients without a password could exhaust a user's limit.
func (p *Proxy) count(st *startup) error {
	l := &p.terms.Load().Limits
	p.mu.Lock()
	defer p.mu.Unlock()
	u := &p.usage
	switch {
	case reached(u.sessions, l.Sessions):
		return tooManyError("this proxy", "--max-sessions")
	case reached(u.byUser[st.user], l.PerUser):
		return tooManyError(fmt.Sprintf("user %q", st.user), "--max-sessions-per-user")
	case reached(u.byDatabase[st.database], l.PerDatabase):
		return tooManyError(fmt.Sprintf("database %q", st.database), "--max-sessions-per-database")
	}
	u.sessions++
	u.byUser[st.user]++
	u.byDatabase[st.database]++
	st.counted = true
	return nil
}

func reached(have, limit int) bool { return limit > 0 && have >= limit }

// uncountLocked reverts count.
func (p *Proxy) uncountLocked(st *startup) {
	if !st.counted {
		return
	}
	u := &p.usage
	u.sessions--
	decrement(u.byUser, st.user)
	decrement(u.byDatabase, st.database)
}

// decrement removes entries that reach zero, because names come from clients.
func decrement(counts map[string]int, name string) {
	if counts[name]--; counts[name] == 0 {
		delete(counts, name)
	}
}

// enforceTimeouts ends sessions that are idle for too long, and cancels requests that run for too long, until ctx ends.
func (p *Proxy) enforceTimeouts(ctx context.Context) {
	var cancels sync.WaitGroup // a server may be slow to accept a CancelRequest; other sessions must not wait for it
	defer cancels.Wait()
	for {
		l := &p.terms.Load().Limits
		select {
		case <-ctx.Done():
			return
		case <-time.After(cmp.Or(l.checkInterval(), time.Second)):
		}
		if l.checkInterval() == 0 {
			continue // until a reload
		}
		for _, s := range p.list() {
			if s.expire(l, time.Now()) {
				cancels.Go(func() { s.cancelRunning(ctx) })
			}
		}
	}
}

// checkInterval returns an interval short enough for the shortest of the limits, or zero if there are no limits.
func (l *Limits) checkInterval() (shortest time.Duration) {
	for _, d := range []time.Duration{l.Idle, l.IdleInTransaction, l.Query} {
		if d > 0 && (shortest == 0 || d < shortest) {
			shortest = d
		}
	}
	if shortest == 0 {
		return 0
	}
	return min(max(shortest/4, 10*time.Millisecond), time.Second)
}

// expire ends a session that has been idle for too long, and reports whether its current request must be cancelled.
func (s *session) expire(l *Limits, now time.Time) (slow bool) {
	ended, slow := s.pending.expire(l, now)
	if ended {
		s.interrupt()
	}
	return slow
}

// cancelRunning cancels the current request of the session.
func (s *session) cancelRunning(ctx context.Context) {
	defer s.pending.cancelled()
	key := s.started.key
	if key == nil {
		return
	}
	packet := binary.BigEndian.AppendUint32(nil, uint32(8+len(key)))
	packet = binary.BigEndian.AppendUint32(packet, cancelRequest)
	s.proxy.cancel(ctx, append(packet, key...))
}
