package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Target says which of several servers sessions are for, in the words of libpq's target_session_attrs.
type Target string

const (
	TargetAny           Target = "any" // as ""
	TargetReadWrite     Target = "read-write"
	TargetReadOnly      Target = "read-only"
	TargetPrimary       Target = "primary"
	TargetStandby       Target = "standby"
	TargetPreferStandby Target = "prefer-standby"
)

// Role is what a server is at present.
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

// accepts reports whether a server with this role is wanted; prefer-standby has a standby wanted most.
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
	roleLasts   = time.Second     // until a server is asked again for its role
	roleMayTake = 5 * time.Second // for an answer
)

var errNotAsked = errors.New("not asked yet")

// hosts knows the roles of the servers, which it asks over and over: a client that has shown its password to one
// server cannot be led to another, so they must be known before.
type hosts struct {
	servers []Server
	target  Target
	log     *zap.Logger

	mu    sync.Mutex
	known map[string]opinion // by address
	news  chan struct{}      // closed at the next change
}

type opinion struct {
	role Role
	err  error // the role is not known
}

func newHosts(servers []Server, target Target, log *zap.Logger) *hosts {
	h := &hosts{servers: servers, target: target, log: log, known: map[string]opinion{}, news: make(chan struct{})}
	for _, server := range servers {
		h.known[server.Address] = opinion{err: errNotAsked}
	}
	return h
}

// watch asks until ctx ends.
func (h *hosts) watch(ctx context.Context) {
	if h.anyWill() {
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

func (h *hosts) anyWill() bool { return h.target == "" || h.target == TargetAny }

// follow asks one server.
func (h *hosts) follow(ctx context.Context, server Server) {
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, roleMayTake)
		role, err := server.Role(limited)
		cancel()
		if ctx.Err() == nil {
			h.learn(server.Address, opinion{role, err})
		}
		select {
		case <-ctx.Done():
		case <-time.After(roleLasts):
		}
	}
}

func (h *hosts) learn(address string, now opinion) {
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
		h.log.Warn("the role of a server is not known; no session goes there", zap.String("finding", "server-role-unknown"), zap.String("server", address), zap.Error(now.err))
		return
	}
	h.log.Info("role of a server", zap.String("server", address), zap.Stringer("role", now.role))
}

// choose returns the servers that a session may have, best first. If there is none it waits: a standby may be about
// to be promoted.
func (h *hosts) choose(ctx context.Context, wait time.Duration) ([]Server, error) {
	if h.anyWill() {
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
	var others []Server // for want of a standby
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

// describe says why no server is suited.
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

// confirm refuses a server that has changed its role since it was asked.
func (h *hosts) confirm(standby bool) error {
	if h.anyWill() || h.target == TargetPreferStandby || h.target.accepts(Role{Standby: standby}) ||
		h.target == TargetReadOnly { // a primary may be read-only: it was asked
		return nil
	}
	return roleError(h.target)
}
