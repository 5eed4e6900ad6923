package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Target says what role a server must have to get sessions, with the values of libpq's target_session_attrs.
type Target string

const (
	TargetAny           Target = "any" // the same as ""
	TargetReadWrite     Target = "read-write"
	TargetReadOnly      Target = "read-only"
	TargetPrimary       Target = "primary"
	TargetStandby       Target = "standby"
	TargetPreferStandby Target = "prefer-standby"
)

// Role is the current role of a server.
type Role struct {
	Standby  bool // in hot standby
	ReadOnly bool // default_transaction_read_only
}

func (r Role) String() string {
	switch {
	case r.Standby:
		return "standby"
	case r.ReadOnly:
		return "primary, read-only"
	}
	return "primary"
}

// accepts reports whether a server with this role is wanted; for prefer-standby, whether it is a standby.
func (t Target) accepts(r Role) bool {
	switch t {
	case TargetReadWrite:
		return !r.Standby && !r.ReadOnly
	case TargetReadOnly:
		return r.Standby || r.ReadOnly
	case TargetPrimary:
		return !r.Standby
	case TargetStandby, TargetPreferStandby:
		return r.Standby
	}
	return true
}

func (t Target) validate() error {
	switch t {
	case "", TargetAny, TargetReadWrite, TargetReadOnly, TargetPrimary, TargetStandby, TargetPreferStandby:
		return nil
	}
	return fmt.Errorf("target_session_attrs=%s: want any, read-write, read-only, primary, standby or prefer-standby", t)
}

const (
	roleLasts   = time.Second     // until a server's role is queried again
	roleMayTake = 5 * time.Second // for a reply
)

var errNotAsked = errors.New("its role has not been queried yet")

// hosts knows the roles of the servers, which it queries periodically. The roles must be known before a session begins, because a client that has
// authenticated with one server cannot be redirected to another.
type hosts struct {
	servers []Server
	target  Target
	log     *zap.Logger

	mu    sync.Mutex
	known map[string]knownRole // by address
	news  chan struct{}        // closed at the next change
}

type knownRole struct {
	role Role
	err  error // why the role is not known
}

func newHosts(servers []Server, target Target, log *zap.Logger) *hosts {
	h := &hosts{servers: servers, target: target, log: log, known: map[string]knownRole{}, news: make(chan struct{})}
	for _, server := range servers {
		h.known[server.Address] = knownRole{err: errNotAsked}
	}
	return h
}

// watch queries the servers until ctx ends.
func (h *hosts) watch(ctx context.Context) {
	if h.acceptsAnyRole() {
		return
	}
	var asking sync.WaitGroup
	asked := map[string]bool{}
	for _, server := range h.servers {
		if !asked[server.Address] {
			asked[server.Address] = true
			asking.Go(func() { h.follow(ctx, server) })
		}
	}
	asking.Wait()
}

func (h *hosts) acceptsAnyRole() bool { return h.target == "" || h.target == TargetAny }

// follow queries one server until ctx ends.
func (h *hosts) follow(ctx context.Context, server Server) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, roleMayTake)
		role, err := server.Role(limited)
		cancel()
		if ctx.Err() == nil {
			h.learn(server.Address, knownRole{role, err})
		}
		select {
		case <-ctx.Done():
		case <-time.After(roleLasts):
		}
	}
}

func (h *hosts) learn(address string, now knownRole) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.known[address]
	if before.role == now.role && (before.err == nil) == (now.err == nil) && (now.err == nil || before.err.Error() == now.err.Error()) {
		return
	}
	h.known[address] = now
	close(h.news)
	h.news = make(chan struct{})
	if now.err != nil {
		h.log.Warn("the role of a server is unknown: it gets no sessions", zap.String("finding", "server-role-unknown"), zap.String("server", address), zap.Error(now.err))
		return
	}
	h.log.Info("role of a server", zap.String("server", address), zap.Stringer("role", now.role))
}

// choose returns the servers that a session may use, in order of preference. If there is none it waits up to wait, because a standby may be about to
// be promoted.
func (h *hosts) choose(ctx context.Context, wait time.Duration) ([]Server, error) {
	if h.acceptsAnyRole() {
		return h.servers, nil
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	for {
		list, news := h.suited()
		if len(list) > 0 {
			return list, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-over.C:
			return nil, h.describe()
		}
	}
}

func (h *hosts) suited() (list []Server, news <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var others []Server // used if no standby is available
	for _, server := range h.servers {
		switch known := h.known[server.Address]; {
		case known.err == errNotAsked && h.target == TargetPreferStandby:
			return nil, h.news
		case known.err != nil:
		case h.target.accepts(known.role):
			list = append(list, server)
		case h.target == TargetPreferStandby:
			others = append(others, server)
		}
	}
	return append(list, others...), h.news
}

// describe says why no server is suitable.
func (h *hosts) describe() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	errs := []error{fmt.Errorf("no server has target_session_attrs=%s", h.target)}
	for address, known := range h.known {
		if known.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", address, known.err))
		} else {
			errs = append(errs, fmt.Errorf("%s: %s", address, known.role))
		}
	}
	return errors.Join(errs...)
}

// confirm returns an error if the server's role has changed since it was queried.
func (h *hosts) confirm(standby bool) error {
	if h.acceptsAnyRole() || h.target == TargetPreferStandby || h.target.accepts(Role{Standby: standby}) ||
		h.target == TargetReadOnly { // a primary may be read-only, as the last query found
		return nil
	}
	return roleError(h.target)
}
