package proxy

import (
	"context"
	"encoding/binary"
	"fmt"
	glob "path"
	"strings"
	"sync"
	"time"
)

// Limits bound what clients may hold of the server. Zero is no limit.
type Limits struct {
	Sessions    int // of all clients
	PerUser     int
	PerDatabase int

	Login             time.Duration // until the startup packet is there [1 minute]
	Idle              time.Duration // outside a transaction: the session ends with 57P05
	IdleInTransaction time.Duration // ... in an open block: 25P03
	Query             time.Duration // a request that takes longer is cancelled, which the server reports as 57014

	Databases Names
	Users     Names
}

// Names admits some names and refuses others, by patterns as in path.Match, but that * and ? stand for a slash as
// well. An empty Allow admits all.
type Names struct{ Allow, Refuse []string }

func (n Names) admits(name string) bool {
	return (len(n.Allow) == 0 || matchesAny(n.Allow, name)) && !matchesAny(n.Refuse, name)
}

func matchesAny(patterns []string, name string) bool {
	slashless := strings.NewReplacer("/", "\x00") // which no name holds
	for _, pattern := range patterns {
		if ok, _ := glob.Match(slashless.Replace(pattern), slashless.Replace(name)); ok {
			return true
		}
	}
	return false
}

// validate refuses what could not work.
func (l *Limits) validate() error {
	for _, list := range [][]string{l.Databases.Allow, l.Databases.Refuse, l.Users.Allow, l.Users.Refuse} {
		for _, pattern := range list {
			if _, err := glob.Match(pattern, ""); err != nil {
				return fmt.Errorf("pattern %q: %w", pattern, err)
			}
		}
	}
	if l.Login == 0 {
		l.Login = time.Minute
	}
	return nil
}

// usage counts the sessions that Limits count.
type usage struct {
	sessions           int
	byUser, byDatabase map[string]int
}

// enter counts a session whose startup packet has come, or says why it is refused.
func (p *Proxy) enter(st *startup) error {
	l := &p.config.Limits
	switch {
	case !l.Databases.admits(st.database):
		return refusedError("database", st.database)
	case !l.Users.admits(st.user):
		return refusedError("user", st.user)
	}
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
	l := &p.config.Limits
	var cancels sync.WaitGroup // one session's server may be slow to take its CancelRequest: the others do not wait
	defer cancels.Wait()
	ticker := time.NewTicker(l.interval())
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, s := range p.list() {
				if s.expire(l, now) {
					cancels.Go(func() { s.cancelRunning(ctx) })
				}
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
