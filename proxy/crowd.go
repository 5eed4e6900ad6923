package proxy

import (
	"net/netip"
	"slices"
	"time"
)

// crowd holds connections that wait for something, in order of arrival. One network may hold only a part of the places.
type crowd []visitor

type visitor struct {
	session *session
	from    netip.Addr
	since   time.Time
	turn    chan struct{} // closed when its turn has come; nil for strangers
}

const (
	courtesy   = time.Second // no connection is displaced before this time, in which even a distant client can negotiate encryption
	shareOfOne = 4           // one network may hold a fourth of the places
)

// visit returns a visitor that arrives now.
func visit(s *session, now time.Time) visitor {
	return visitor{session: s, from: network(s.from.Addr()), since: now}
}

// network returns the range of addresses that one client may have: in IPv6 a client is assigned a /64.
func network(a netip.Addr) netip.Addr {
	if prefix, err := a.Prefix(64); err == nil && a.Is6() && !a.Is4In6() {
		return prefix.Addr()
	}
	return a.Unmap()
}

func (v *visitor) name() string {
	if !v.from.IsValid() {
		return "Unix socket"
	}
	return v.from.String()
}

// exceedsShare reports whether one more from this network would be too many of the places.
func (c crowd) exceedsShare(from netip.Addr, places int) bool {
	count := 0
	for _, v := range c {
		if v.from == from {
			count++
		}
	}
	return count >= max(1, places/shareOfOne)
}

// displace removes the oldest connection for which meant is true, if its courtesy period is over, and closes it.
func (c *crowd) displace(now time.Time, meant func(visitor) bool) (displaced visitor, ok bool) {
	i := slices.IndexFunc(*c, meant)
	if i < 0 || now.Sub((*c)[i].since) < courtesy {
		return displaced, false
	}
	displaced = (*c)[i]
	*c = slices.Delete(*c, i, i+1)
	go displaced.session.cut()
	return displaced, true
}

// remove reports whether the session was there.
func (c *crowd) remove(s *session) bool {
	before := len(*c)
	*c = slices.DeleteFunc(*c, func(v visitor) bool { return v.session == s })
	return len(*c) < before
}

func anybody(visitor) bool { return true }

func (v visitor) neighbour(other visitor) bool { return v.from == other.from }
