package proxy

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// Limits bound what clients may hold of the server. Zero is no limit.
type Limits struct {
	Sessions    int // of all clients
	PerUser     int
	PerDatabase int

	Logins int // connections that have not said what they want; logins that take place; CancelRequests. More wait

	Login             time.Duration // until the session begins, password included, but not the wait for its turn [1 minute]
	Idle              time.Duration // outside a transaction: the session ends with 57P05
	IdleInTransaction time.Duration // ... in an open block: 25P03
	Query             time.Duration // a request that takes longer is cancelled, which the server reports as 57014

	Databases Names
	Users     Names
}

// defaultLogin is PostgreSQL's authentication_timeout.
const defaultLogin = time.Minute

// usage counts the sessions that Limits count.
type usage struct {
	sessions           int
	byUser, byDatabase map[string]int
}

// admit refuses a session whose startup packet has come by its names.
func (p *Proxy) admit(st *startup) error {
	l := &p.terms.Load().Limits
	switch {
	case !l.Databases.admits(st.database):
		return refusedError("database", st.database)
	case !l.Users.admits(st.user):
		return refusedError("user", st.user)
	}
	return nil
}

// enter counts a session that the server has let in, or says why it is one too many. Before the password none
// counts: whoever has no password could fill a user's limit.
func (p *Proxy) enter(st *startup) error {
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
	st.entered = true
	return nil
}

func reached(have, limit int) bool { return limit > 0 && have >= limit }

// leaveLocked is the end of a session that has entered.
func (p *Proxy) leaveLocked(st *startup) {
	if !st.entered {
		return
	}
	u := &p.usage
	u.sessions--
	decrement(u.byUser, st.user)
	decrement(u.byDatabase, st.database)
}

// decrement keeps no zeros: names come from clients.
func decrement(counts map[string]int, name string) {
	if counts[name]--; counts[name] == 0 {
		delete(counts, name)
	}
}

// watch ends sessions that are idle for too long, and cancels what runs for too long, until ctx ends.
func (p *Proxy) watch(ctx context.Context) {
	var cancels sync.WaitGroup // one session's server may be slow to take its CancelRequest: the others do not wait
	defer cancels.Wait()
	for {
		l := &p.terms.Load().Limits
		select {
		case <-ctx.Done():
			return
		case <-time.After(cmp.Or(l.interval(), time.Second)):
		}
		if l.interval() == 0 {
			continue // until a reload
		}
		for _, s := range p.list() {
			if s.expire(l, time.Now()) {
				cancels.Go(func() { s.cancelRunning(ctx) })
			}
		}
	}
}

// interval is short enough for the shortest of the limits, zero if there is none.
func (l *Limits) interval() (shortest time.Duration) {
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

// expire ends a session that is idle for too long, and reports whether what it runs has to be cancelled.
func (s *session) expire(l *Limits, now time.Time) (slow bool) {
	ended, slow := s.pending.expire(l, now)
	if ended {
		s.interrupt()
	}
	return slow
}

// cancelRunning cancels what the session runs.
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
