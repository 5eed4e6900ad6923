package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/parser"
)

// session is one client and its server connection, which no other client uses.
type session struct {
	proxy     *Proxy
	terms     *terms
	cancel    context.CancelFunc // cancels everything the login waits for except reads and writes on the two connections
	number    uint32
	log       *zap.Logger
	from      netip.AddrPort // of the client; not valid for a Unix socket
	clientTLS *tls.Config    // configuration of the client's handshake; nil: plaintext

	mu     sync.Mutex
	client net.Conn
	server net.Conn // nil until connected
	closed bool

	up, down buffer // client to server, server to client
	pending  *pending
	database *access // the session's access to the outbox; nil if no notes are possible
	started  startup

	unbound atomic.Bool               // the server's offer of channel binding has been removed
	owes    atomic.Pointer[time.Time] // since when the client owes the server an answer; nil: it owes none

	introduced atomic.Pointer[SessionInfo] // for Sessions; nil until the session has logged in
	work       work
	latest     latest

	// Used by the request side only.
	notes      *notes // nil: no note is ever sent in this session
	tx         transaction
	inGroup    bool // tx.group has begun
	unsynced   bool // an extended-query group ended without a Sync: after an error the server discards everything up to the next Sync
	synced     bool // no CopyData has been sent since the last Sync
	statements *statements
	executed   executed
	parsed     struct{ group, generation uint32 } // where the proxy's own statement was last parsed
	list       []parser.Statement                 // scratch
	unread     []byte                             // end of the part received so far of a text longer than the buffer; empty: there is none
	terminated bool                               // the client has sent Terminate
	watching   chan struct{}                      // closed when the client is no longer watched; nil: it is not being watched

	// Used by the reply side only.
	replies   replies
	leaveLoop func() // nil: there is no loop
}

func newSession(p *Proxy, t *terms, client net.Conn) *session {
	s := &session{proxy: p, terms: t, client: client, pending: newPending(), statements: newStatements()}
	s.replies.pending = s.pending
	s.setAddress(addressOf(client.RemoteAddr().String()))
	return s
}

// setAddress records the client's address.
func (s *session) setAddress(from netip.AddrPort) {
	s.from = from
	client := "Unix socket"
	if from.IsValid() {
		client = from.String()
	}
	s.log = s.proxy.log.WithLazy(zap.String("client", client))
}

// run serves the client until either side ends.
func (s *session) run(ctx context.Context) {
	defer s.close()
	defer s.leaveDatabase()
	err := s.logIn(ctx)
	if err == nil {
		err = s.relay()
	} else {
		s.sendOwnError(err)
	}
	s.log.Debug("session ended", zap.Error(err))
}

// leaveDatabase is called when the session ends.
func (s *session) leaveDatabase() {
	s.pending.freeWords()
	if s.database != nil {
		s.proxy.outboxes.leave(s.database.database)
	}
}

// logIn starts a session: it reads the startup packet, waits for its turn, and handles the request.
func (s *session) logIn(ctx context.Context) error {
	defer s.cancel()
	login := s.terms.Limits.Login
	packet, err := s.awaitStartup(ctx, min(login, strangerLasts))
	if err != nil {
		return err
	}
	turns, do := s.proxy.logins, s.start
	if isCancel(packet) {
		turns, do = s.proxy.cancels, s.forwardCancel
	}
	return s.within(ctx, login, errLoginTimeout, func(ctx context.Context) error {
		if !turns.begin(ctx, s) {
			return net.ErrClosed
		}
		defer turns.end(s)
		return do(ctx, packet)
	})
}

// awaitStartup returns the client's startup packet or CancelRequest.
func (s *session) awaitStartup(ctx context.Context, limit time.Duration) (packet []byte, err error) {
	defer s.proxy.strangers.leave(s)
	err = s.within(ctx, limit, errSilent, func(context.Context) (err error) {
		packet, err = s.readBeginning()
		return err
	})
	return packet, err
}

// within ends the session if do takes longer than limit.
func (s *session) within(ctx context.Context, limit time.Duration, late error, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, late)
	defer cancel()
	stop := context.AfterFunc(ctx, s.close)
	err := do(ctx)
	if !stop() {
		return context.Cause(ctx)
	}
	return err
}

// relay moves both directions. The reply side decides when the session is over: after the client's last byte the server connection is closed
// for writing, and the server responds by closing it.
func (s *session) relay() error {
	requests, replies := make(chan error, 1), make(chan error, 1)
	up, down := s.upstream(requests), s.downstream(replies)
	release := s.move(up, down)
	err := <-replies
	s.pending.end()
	s.sendOwnError(err)
	s.close()
	err = errors.Join(err, <-requests)
	release()
	return err
}

// moveByGoroutines moves both directions if no loop can do so.
func (s *session) moveByGoroutines(up, down direction) {
	s.up.attach(s.client)
	s.down.attach(s.server)
	s.pending.watch = func() { s.watchClient(s.pending.hangUp) }
	go up.repeat()
	down.repeat()
}

// sendOwnError sends the client an error with which the proxy itself ends the session. Nothing else writes to the client at that time.
func (s *session) sendOwnError(err error) {
	var told *clientError
	if !errors.As(err, &told) {
		return
	}
	s.client.SetWriteDeadline(time.Now().Add(time.Second))
	s.client.Write(told.append(nil))
	closeWrite(s.client)
}

// drain ends the session at its next idle point. If that is now, it interrupts the reply side, which waits for the server. A client that has not sent
// its startup packet is disconnected immediately.
func (s *session) drain() {
	idle := s.pending.drain()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.server == nil:
		s.closed = true
		s.client.Close()
	case idle:
		s.server.SetReadDeadline(time.Unix(1, 0))
	}
}

// interrupt wakes the reply side while it waits for the server.
func (s *session) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.SetReadDeadline(time.Unix(1, 0))
}

// close closes both connections.
func (s *session) close() {
	for _, conn := range s.end() {
		conn.Close()
	}
}

// cut closes both connections without a TLS close_notify, which could block on a peer that does not read.
func (s *session) cut() {
	for _, conn := range s.end() {
		if encrypted, ok := conn.(*tls.Conn); ok {
			conn = encrypted.NetConn()
		}
		conn.Close()
	}
}

// end cancels the login, marks the session closed, and returns the connections to close.
func (s *session) end() (open []net.Conn) {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.server == nil {
		return []net.Conn{s.client}
	}
	return []net.Conn{s.client, s.server}
}

// encrypt starts TLS on the client's connection.
func (s *session) encrypt(direct bool) error {
	encrypted, config, err := s.terms.tls.handshake(s.client, direct)
	if err != nil {
		return err
	}
	s.setClient(encrypted)
	s.clientTLS = config
	return nil
}

func (s *session) setClient(client net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = client
}

// adopt sets the server connection, replacing the connection to a server that declined the session. It fails if the session was closed in the
// meantime.
func (s *session) adopt(server net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		server.Close()
		return false
	}
	if s.server != nil {
		s.server.Close()
	}
	s.server = server
	return true
}

func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
		return
	}
	conn.Close()
}
