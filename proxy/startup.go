package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pgtee/pgtee/parser"
)

// Request codes in place of a protocol version: "Message Formats", PostgreSQL documentation 55.7.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104

	tlsHandshake = 0x16 // first byte of a TLS connection (RFC 8446, 5.1)

	maxStartupBytes = 10000 // the same limit as in PostgreSQL
)

// startup is what the start of a session has revealed.
type startup struct {
	user        string
	database    string
	application string
	replication bool
	key         []byte // body of BackendKeyData; nil if none was received
	server      Server
	at          net.Addr // of the server
	counted     bool     // counted against the limits
	status      byte     // of the first ReadyForQuery
}

// errLoginTimeout ends a session that has not begun in time. The client gets no error, as with PostgreSQL.
var errLoginTimeout = errors.New("the login took longer than --login-timeout")

// errSilent ends a connection that has not sent its first packet in time.
var errSilent = errors.New("the client has not sent a startup packet in time")

// errNoStartup ends a connection that does not begin with a startup packet. The client gets no error, as with PostgreSQL, since it may speak any
// protocol.
var errNoStartup = errors.New("the connection does not begin with a startup packet")

// errCancelled ends a connection that only carried a CancelRequest.
var errCancelled = errors.New("cancel request forwarded")

// readBeginning returns the startup packet or CancelRequest.
func (s *session) readBeginning() ([]byte, error) {
	if s.terms.ProxyHeader {
		from, err := readProxyHeader(s.client)
		if err != nil {
			return nil, err
		}
		if from.IsValid() {
			s.setAddress(from)
		}
	}
	return s.readStartup()
}

// start lets client and server negotiate the session, up to the first ReadyForQuery.
func (s *session) start(ctx context.Context, packet []byte) error {
	if err := s.started.read(packet); err != nil {
		return err
	}
	if err := s.terms.tls.admit(s.client, s.started.user); err != nil {
		return err
	}
	if err := s.proxy.checkNames(&s.started); err != nil {
		return err
	}
	if err := s.connect(ctx, packet); err != nil {
		return err
	}
	s.pending.settings.Store(&settings{user: s.started.user, lexis: parser.Lexis{StandardConformingStrings: true}})
	if err := s.authenticate(); err != nil {
		return err
	}
	if err := s.proxy.hosts.confirm(s.pending.settings.Load().standby); err != nil && !s.started.replication {
		return err
	}
	if err := s.proxy.count(&s.started); err != nil {
		return err
	}
	if err := s.prepareNotes(); err != nil {
		return err
	}
	s.pending.exempts(s.started.replication)
	s.introduce()
	return s.greet()
}

// connect sends the startup packet to the first server that accepts the session. If a role is required and no server with that role accepts, connect
// tries again until ConnectTimeout, because the roles that the proxy knows may be a second old.
func (s *session) connect(ctx context.Context, packet []byte) error {
	hosts, deadline := s.proxy.hosts, time.Now().Add(s.terms.ConnectTimeout)
	for {
		servers, err := hosts.choose(ctx, time.Until(deadline))
		if err != nil {
			return unreachableError(err)
		}
		failures, err := s.try(ctx, packet, servers)
		if len(failures) == 0 {
			return err
		}
		if hosts.acceptsAnyRole() {
			return unreachableError(errors.Join(failures...))
		}
		for i, server := range servers {
			hosts.learn(server.Address, knownRole{err: failures[i]})
		}
	}
}

// try returns the reason why each of the servers refuses the session, or none if one accepts it.
func (s *session) try(ctx context.Context, packet []byte, servers []Server) (failures []error, err error) {
	for i, server := range servers {
		conn, err := s.proxy.connect(ctx, server)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if !s.adopt(conn) {
			return nil, net.ErrClosed
		}
		s.started.server, s.started.at = server, conn.RemoteAddr()
		declined := s.offer(packet, servers[i+1:])
		if declined == nil {
			return nil, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", server.Address, declined))
		s.down.clear()
	}
	return failures, nil
}

// way returns the session's server with the IP address that was used, because its name may resolve to another machine by now.
func (st *startup) way() Server {
	server := st.server
	if at, ok := st.at.(*net.TCPAddr); ok {
		server.Address = at.String()
	}
	return server
}

// offer sends the startup packet, and returns an error if another server must be tried: this one does not answer, is not ready for clients, or accepts
// only connections with TLS, or without. Its answer stays in the buffer. If this is the last server and no role is required, any answer goes to the
// client.
func (s *session) offer(packet []byte, others []Server) (declined error) {
	_, err := s.server.Write(packet)
	if len(others) == 0 && s.proxy.hosts.acceptsAnyRole() || err != nil {
		return err
	}
	s.server.SetReadDeadline(time.Now().Add(s.terms.ConnectTimeout))
	defer s.server.SetReadDeadline(time.Time{})
	m, err := s.firstMessage()
	if err != nil || m.kind != 'E' {
		return err
	}
	code := string(errorField(m.body, 'C'))
	if code == "57P03" || code == "28000" && len(others) > 0 && others[0].Address == s.started.server.Address {
		return errors.New(string(errorField(m.body, 'M')))
	}
	return nil
}

// firstMessage waits for the server's first message, which stays in the buffer.
func (s *session) firstMessage() (message, error) {
	for {
		m, ok, err := s.down.message()
		if err != nil || ok && s.down.holds(m) {
			return m, err
		}
		if err := s.down.read(s.server); err != nil {
			return m, err
		}
	}
}

// isCancel reports whether the first packet of a connection is a CancelRequest.
func isCancel(packet []byte) bool { return binary.BigEndian.Uint32(packet[4:]) == cancelRequest }

// forwardCancel handles a connection with a CancelRequest.
func (s *session) forwardCancel(ctx context.Context, packet []byte) error {
	s.proxy.cancel(ctx, packet)
	return errCancelled
}

// readStartup answers encryption requests and returns the packet after them.
func (s *session) readStartup() ([]byte, error) {
	if err := s.acceptDirectTLS(); err != nil {
		return nil, err
	}
	for range 3 {
		packet, err := readPacket(s.client)
		if err != nil {
			discardInput(s.client)
			return nil, err
		}
		switch code := binary.BigEndian.Uint32(packet[4:]); code {
		case sslRequest, gssRequest:
			if err := s.answerEncryption(code == sslRequest); err != nil {
				return nil, err
			}
		case cancelRequest:
			return packet, nil
		default:
			if code>>16 != 3 {
				return nil, versionError(code>>16, code&0xFFFF)
			}
			return packet, nil
		}
	}
	return nil, startupError("too many encryption requests")
}

// discardInput reads what else the client has sent, so that its connection is closed normally: with unread bytes it would be reset.
func discardInput(client net.Conn) {
	client.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	client.Read(make([]byte, maxStartupBytes))
}

// readPacket reads exactly one message without a kind byte, as the first messages of a connection are.
func readPacket(from io.Reader) ([]byte, error) {
	var header [8]byte
	if _, err := io.ReadFull(from, header[:1]); err != nil {
		return nil, err
	}
	if header[0] != 0 {
		return nil, errNoStartup
	}
	if _, err := io.ReadFull(from, header[1:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size < 8 || size > maxStartupBytes {
		return nil, errNoStartup
	}
	packet := make([]byte, size)
	copy(packet, header[:])
	_, err := io.ReadFull(from, packet[8:])
	return packet, err
}

// read extracts the parameters that the proxy needs. The packet itself is forwarded unchanged.
func (st *startup) read(packet []byte) error {
	for rest := packet[8:]; len(rest) > 0 && rest[0] != 0; {
		name, after, ok := cutString(rest)
		if !ok {
			return startupError("invalid startup packet layout")
		}
		value, after, ok := cutString(after)
		if !ok {
			return startupError("invalid startup packet layout")
		}
		rest = after
		switch string(name) {
		case "user":
			st.user = string(cutName(value))
		case "database":
			st.database = string(cutName(value))
		case "application_name":
			st.application = string(cutName(value))
		case "replication":
			st.replication = !isOff(string(value))
		}
	}
	if st.database == "" {
		st.database = st.user
	}
	return nil
}

// isOff parses a boolean as PostgreSQL does, including abbreviations; "database" counts as on.
func isOff(value string) bool {
	value = strings.ToLower(value)
	return value == "0" || value == "of" || value == "off" ||
		value != "" && (strings.HasPrefix("false", value) || strings.HasPrefix("no", value))
}

// authenticate moves messages in both directions until the server is ready. The messages of every authentication method pass unchanged,
// except for the offer of channel binding (sasl.go). The ReadyForQuery is kept for greet.
func (s *session) authenticate() error {
	answers := make(chan error, 1)
	go func() { answers <- s.relayPasswords() }()
	err := s.relayQuestions()
	if err != nil {
		s.server.Close()
	}
	s.client.SetReadDeadline(time.Unix(1, 0)) // relayPasswords waits for the client
	answered := <-answers
	s.client.SetReadDeadline(time.Time{})
	var told *clientError
	switch {
	case errors.As(answered, &told):
		return answered
	case err != nil:
		return err
	case !errors.Is(answered, os.ErrDeadlineExceeded):
		return answered
	}
	return nil
}

// relayPasswords moves passwords and tokens to the server. Other messages that a client sends early stay in the buffer.
func (s *session) relayPasswords() error {
	for {
		for {
			m, ok, err := s.up.message()
			if err != nil {
				s.server.Close()
				return err
			}
			if ok && m.kind != 'p' && m.kind != 'X' {
				return s.up.flush(s.server)
			}
			if !ok || !s.up.holds(m) {
				break
			}
			if missesBinding(m) && s.unbound.Load() {
				s.server.Close()
				return bindingError()
			}
			s.owes.Store(nil)
			s.up.pass(m)
		}
		if err := s.up.flush(s.server); err != nil {
			return err
		}
		if err := s.up.read(s.client); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
			s.server.Close()
			return err
		}
	}
}

// relayQuestions moves the server's messages to the client until the first ReadyForQuery.
func (s *session) relayQuestions() error {
	for {
		for {
			m, ok, err := s.down.message()
			if err != nil {
				return err
			}
			if !ok || !s.down.holds(m) {
				break
			}
			if m.kind == 'Z' && m.whole() && len(m.body) == 1 {
				s.started.status = m.body[0]
				s.down.drop(m)
				return s.down.flush(s.client)
			}
			s.started.learn(s, m)
			if offersBinding(m) && s.withoutBinding() {
				s.unbound.Store(true)
				s.down.replaced(m)
				s.down.out = appendOffer(s.down.out, m.body)
			} else {
				s.down.pass(m)
			}
		}
		if err := s.down.flush(s.client); err != nil {
			return err
		}
		if err := s.down.read(s.server); err != nil {
			return err
		}
	}
}

// learn records what the server reports about the session.
func (st *startup) learn(s *session, m message) {
	switch m.kind {
	case 'S':
		s.recordParameter(m.body)
	case 'R':
		if wantsAnswer(m.body) {
			now := time.Now()
			s.owes.Store(&now)
		}
	case 'K':
		if m.whole() && len(m.body) >= 8 {
			st.key = append([]byte(nil), m.body...)
			s.proxy.registerKey(s)
		}
	}
}

// wantsAnswer reports whether an Authentication message expects a reply: AuthenticationOk and SASLFinal do not.
func wantsAnswer(body []byte) bool {
	if len(body) < 4 {
		return false
	}
	kind := binary.BigEndian.Uint32(body)
	return kind != 0 && kind != 12
}

// pid returns the process id of the server process, or 0 if unknown.
func (st *startup) pid() int32 {
	if st.key == nil {
		return 0
	}
	return int32(binary.BigEndian.Uint32(st.key))
}

// greet sends the client its first ReadyForQuery.
func (s *session) greet() error {
	s.down.cut()
	s.down.out = append(s.down.out, 'Z', 0, 0, 0, 5, s.started.status)
	if err := s.down.flush(s.client); err != nil {
		return err
	}
	if s.pending.begin(s.started.status) {
		return errDrained
	}
	s.pending.keepTime(s.proxy.terms.Load().Limits.checkInterval() > 0)
	return nil
}
