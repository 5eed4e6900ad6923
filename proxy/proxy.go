// Package proxy stands between PostgreSQL clients and their server. Each client has a server connection of its
// own; what it sends passes unchanged, but for a note that goes in front of each write, inside the client's own
// transaction. What is added, where, and what the client is not shown: see paths in inject.go.
package proxy

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Config is all that a proxy needs to know.
type Config struct {
	Servers        []Server   // tried in order
	TLS            *ClientTLS // nil: clients are not offered TLS
	Outbox         Outbox
	Attribution    Attribution
	Key            []byte // 32 bytes that notes are signed with; not needed with OutboxOff
	SQLText        bool   // false: notes hold no SQL text
	RequireOutbox  bool   // refuse sessions of databases without an outbox
	ProxyHeader    bool   // each connection begins with a PROXY protocol header
	Limits         Limits
	ConnectTimeout time.Duration // for one server; 0 means 10 seconds
	Log            *zap.Logger   // nil: none
}

const (
	keyBytes              = 32
	defaultConnectTimeout = 10 * time.Second
)

// ErrProxyClosed is returned by Serve after Shutdown.
var ErrProxyClosed = errors.New("the proxy has been shut down")

// Proxy serves the clients of one PostgreSQL server.
type Proxy struct {
	config   Config
	id       uint32
	object   string // name of our prepared statement and portal: nobody else's
	counters counters
	outboxes outboxes
	dialer   func(ctx context.Context, address string) (net.Conn, error)
	tls      *certificates // nil: none

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	usage     usage
	owners    map[string]Server // BackendKeyData -> where a CancelRequest goes
	number    uint32            // of sessions
	running   sync.WaitGroup
}

// New checks the configuration.
func New(config Config) (*Proxy, error) {
	if len(config.Servers) == 0 {
		return nil, errors.New("no PostgreSQL server given: use --postgres")
	}
	if config.Outbox != OutboxOff && len(config.Key) != keyBytes {
		return nil, fmt.Errorf("the key has %d bytes, want %d: a key file holds 64 hex digits", len(config.Key), keyBytes)
	}
	if err := config.Limits.validate(); err != nil {
		return nil, err
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = defaultConnectTimeout
	}
	if config.Log == nil {
		config.Log = zap.NewNop()
	}
	var id [4]byte
	rand.Read(id[:])
	p := &Proxy{
		config:    config,
		id:        binary.BigEndian.Uint32(id[:]),
		object:    "pgtee_" + hex.EncodeToString(id[:]),
		listeners: map[net.Listener]struct{}{},
		sessions:  map[*session]struct{}{},
		usage:     usage{byUser: map[string]int{}, byDatabase: map[string]int{}},
		owners:    map[string]Server{},
	}
	p.dialer = dialPlain
	if config.TLS != nil {
		var err error
		if p.tls, err = newCertificates(*config.TLS, config.Log); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Serve accepts clients from ln, which it closes, until ctx ends (then all sessions end at once), Shutdown is
// called, or ln fails.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	if !p.addListener(ln) {
		ln.Close()
		return ErrProxyClosed
	}
	defer p.removeListener(ln)
	stop := context.AfterFunc(ctx, func() { p.closeNow() })
	defer stop()
	if p.config.Limits.interval() > 0 {
		watching, stop := context.WithCancel(ctx)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			p.watch(watching)
		}()
		defer func() { stop(); <-watched }()
	}
	for delay := time.Duration(0); ; {
		client, err := ln.Accept()
		switch {
		case err == nil:
			delay = 0
			p.open(ctx, client)
		case p.isClosed():
			return ErrProxyClosed
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		default: // out of file descriptors, or a client that is gone: neither lasts
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			p.config.Log.Warn("accept failed", zap.Error(err), zap.Duration("retry", delay))
			time.Sleep(delay)
		}
	}
}

// open starts a session.
func (p *Proxy) open(ctx context.Context, client net.Conn) {
	s := newSession(p, client)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		client.Close()
		return
	}
	p.number++
	s.number = p.number
	p.sessions[s] = struct{}{}
	p.running.Add(1)
	p.counters.total.Add(1)
	p.counters.open.Add(1)
	go func() {
		defer p.running.Done()
		defer p.forget(s)
		s.run(ctx)
	}()
}

func (p *Proxy) forget(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
	p.leaveLocked(&s.started)
	if s.started.key != nil {
		delete(p.owners, string(s.started.key))
	}
	p.counters.open.Add(-1)
}

// Shutdown stops accepting, ends each session at its next idle point with 57P01, and waits. When ctx ends, the
// sessions that are left are cut off.
func (p *Proxy) Shutdown(ctx context.Context) error {
	for _, s := range p.stop() {
		s.drain()
	}
	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	p.closeNow()
	<-ended
	return ctx.Err()
}

// closeNow cuts all sessions off.
func (p *Proxy) closeNow() {
	for _, s := range p.stop() {
		s.close()
	}
}

// stop ends accepting and returns the sessions that are there.
func (p *Proxy) stop() (sessions []*session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for ln := range p.listeners {
		ln.Close()
	}
	return p.listLocked()
}

func (p *Proxy) list() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listLocked()
}

func (p *Proxy) listLocked() []*session { return slices.Collect(maps.Keys(p.sessions)) }

func (p *Proxy) addListener(ln net.Listener) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.listeners[ln] = struct{}{}
	return true
}

func (p *Proxy) removeListener(ln net.Listener) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.listeners, ln)
	ln.Close()
}

func (p *Proxy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}
