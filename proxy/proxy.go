// Package proxy runs between PostgreSQL clients and their server. Each client has a server connection of its own, to which its messages pass
// unchanged, except that a note goes in front of each write, inside the client's own transaction. The variable paths in inject.go lists what is added,
// where, and which replies the client does not see.
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
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Config is the configuration of a proxy.
type Config struct {
	Servers        []Server   // tried in order
	Target         Target     // role that a server must have to get sessions
	TLS            *ClientTLS // nil: the proxy does not offer TLS to clients
	Outbox         Outbox
	Attribution    Attribution
	Key            []byte   // 32 bytes with which notes are signed; not needed with OutboxOff
	SQLText        bool     // false: notes hold no SQL text
	Literals       bool     // Sessions shows the literals of statements; notes always hold them
	RequireOutbox  bool     // refuse sessions of databases without an outbox
	TrustedOwners  []string // roles without superuser rights that may own schema pgtee; see access
	ProxyHeader    bool     // each connection begins with a PROXY protocol header
	Limits         Limits
	KeepAlive      net.KeepAliveConfig // for TCP connections, on both sides
	ConnectTimeout time.Duration       // for one server; 0 means 10 seconds
	Log            *zap.Logger         // nil: no log
}

const (
	keyBytes              = 32
	defaultConnectTimeout = 10 * time.Second
)

// ErrProxyClosed is returned by Serve after Shutdown.
var ErrProxyClosed = errors.New("the proxy has been shut down")

// Proxy serves the clients of one PostgreSQL server.
type Proxy struct {
	terms      atomic.Pointer[terms] // for sessions that begin now
	log        *zap.Logger
	id         uint32
	object     string // name of the proxy's prepared statement and portal, unique to it
	counters   counters
	outboxes   outboxes
	loops      loops
	strangers  *strangers
	logins     *logins // logins in progress
	cancels    *logins // CancelRequests in progress
	hosts      *hosts
	dialer     func(ctx context.Context, address string) (net.Conn, error)
	background func() // starts the tasks beside the sessions, once
	stopTasks  func() // ends those tasks
	tasks      sync.WaitGroup
	closing    chan struct{} // closed when no more clients are accepted

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	usage     usage
	owners    map[string]*session // BackendKeyData -> session whose CancelRequests contain it
	number    uint32              // of the latest session
	pooled    sync.Once           // logs once that there is a pooler in front of the server
	running   sync.WaitGroup
}

// New checks the configuration and returns a Proxy.
func New(config Config) (*Proxy, error) {
	t, err := newTerms(config)
	if err != nil {
		return nil, err
	}
	var id [4]byte
	rand.Read(id[:])
	p := &Proxy{
		log:       t.Log,
		id:        binary.BigEndian.Uint32(id[:]),
		object:    "pgtee_" + hex.EncodeToString(id[:]),
		strangers: newStrangers(t.Limits.Logins, t.Log),
		logins:    newLogins(t.Limits.Logins, t.Log),
		cancels:   newLogins(t.Limits.Logins, t.Log),
		hosts:     newHosts(t.Servers, t.Target, t.Log),
		closing:   make(chan struct{}),
		listeners: map[net.Listener]struct{}{},
		sessions:  map[*session]struct{}{},
		usage:     usage{byUser: map[string]int{}, byDatabase: map[string]int{}},
		owners:    map[string]*session{},
	}
	p.terms.Store(t)
	p.dialer = p.dialPlain
	ctx, over := context.WithCancel(context.Background())
	p.stopTasks = over
	p.background = sync.OnceFunc(func() {
		p.tasks.Go(func() { p.enforceTimeouts(ctx) })
		p.tasks.Go(func() { p.hosts.watch(ctx) })
		p.tasks.Go(func() {
			<-p.closing
			p.running.Wait()
			p.loops.stop()
		})
	})
	return p, nil
}

// Serve accepts clients from ln, which it closes, until ctx ends (then all sessions end immediately), Shutdown is called, or ln fails.
func (p *Proxy) Serve(ctx context.Context, ln net.Listener) error {
	if !p.addListener(ln) {
		ln.Close()
		return ErrProxyClosed
	}
	defer p.removeListener(ln)
	stop := context.AfterFunc(ctx, func() { p.closeNow() })
	defer stop()
	p.background()
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
		default: // out of file descriptors, or the client is gone: both are temporary
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			p.log.Warn("accept failed", zap.String("finding", "accept-failed"), zap.Error(err), zap.Duration("retry", delay))
			select {
			case <-time.After(delay):
			case <-p.closing:
			}
		}
	}
}

// open starts a session as soon as there is room for another connection that has not sent its startup packet: see strangers.
func (p *Proxy) open(ctx context.Context, client net.Conn) {
	t := p.terms.Load()
	if conn, ok := client.(*net.TCPConn); ok {
		conn.SetKeepAliveConfig(t.KeepAlive)
	}
	s := newSession(p, t, unscheduled(client))
	ctx, s.cancel = context.WithCancel(ctx)
	if !p.strangers.enter(s, time.Now()) || !p.add(s) {
		p.strangers.leave(s)
		s.cancel()
		client.Close()
		return
	}
	go func() {
		defer p.running.Done()
		defer p.forget(s)
		s.run(ctx)
	}()
}

// add registers a session, unless no more are accepted.
func (p *Proxy) add(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.number++
	s.number = p.number
	p.sessions[s] = struct{}{}
	p.running.Add(1)
	p.counters.total.Add(1)
	p.counters.open.Add(1)
	return true
}

func (p *Proxy) forget(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
	p.uncountLocked(&s.started)
	if key := string(s.started.key); p.owners[key] == s {
		delete(p.owners, key)
	}
	p.counters.open.Add(-1)
}

// Shutdown stops accepting clients, ends each session at its next idle point with 57P01, and waits. When ctx ends, the remaining sessions are cut
// off.
func (p *Proxy) Shutdown(ctx context.Context) error {
	for _, s := range p.stop() {
		s.drain()
	}
	ended := make(chan struct{})
	go func() {
		p.running.Wait()
		close(ended)
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = ctx.Err()
		p.closeNow()
		<-ended
	}
	p.stopTasks()
	p.tasks.Wait()
	return err
}

// closeNow cuts off all sessions.
func (p *Proxy) closeNow() {
	p.stopTasks()
	for _, s := range p.stop() {
		s.cut()
	}
}

// stop stops accepting clients and returns the existing sessions.
func (p *Proxy) stop() (sessions []*session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.closed = true
		close(p.closing)
		p.strangers.close()
		p.logins.close()
		p.cancels.close()
	}
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
