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

// Request codes in the place of a protocol version: "Message Formats", PostgreSQL documentation 55.7.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104

	tlsHandshake = 0x16 // first byte of a TLS connection (RFC 8446, 5.1)

	maxStartupBytes = 10000 // as in Postgres
)

// startup is what the beginning of a session has told.
type startup struct {
	user        string
	database    string
	replication bool
	key         []byte // body of BackendKeyData; nil if none came
	server      Server
	entered     bool // counted by the limits
	status      byte // of the first ReadyForQuery
}

// errCancelled ends a connection that only brought a CancelRequest.
var errCancelled = errors.New("cancel request forwarded")

// start lets client and server agree on everything, up to the first ReadyForQuery.
func (s *session) start(ctx context.Context) error {
	s.client.SetDeadline(time.Now().Add(s.proxy.config.Limits.Login))
	if s.proxy.config.ProxyHeader {
		from, err := readProxyHeader(s.client)
		if err != nil {
			return err
		}
		if from.IsValid() {
			s.setAddress(from)
		}
	}
	packet, err := s.readStartup(ctx)
	if err != nil {
		return err
	}
	s.client.SetDeadline(time.Time{})
	if err := s.started.read(packet); err != nil {
		return err
	}
	s.pending.timed = s.proxy.config.Limits.interval() > 0 && !s.started.replication
	if err := s.proxy.tls.admit(s.client, s.started.user); err != nil {
		return err
	}
	if err := s.proxy.enter(&s.started); err != nil {
		return err
	}
	if err := s.connect(ctx, packet); err != nil {
		return err
	}
	s.pending.settings.Store(&settings{user: s.started.user, lexis: parser.Lexis{StandardConformingStrings: true}})
	if err := s.authenticate(); err != nil {
		return err
	}
	s.proxy.own(&s.started)
	if err := s.prepareNotes(); err != nil {
		return err
	}
	return s.greet()
}

// connect sends the startup packet to the first server that answers. One that refuses the session at once is
// asked again in the other way, with TLS or without, if both are allowed.
func (s *session) connect(ctx context.Context, packet []byte) error {
	for from := 0; ; {
		server, index, err := s.proxy.dial(ctx, from)
		if err != nil {
			return unreachableError(err)
		}
		s.started.server = s.proxy.config.Servers[index]
		if !s.adopt(server) {
			return net.ErrClosed
		}
		if _, err := server.Write(packet); err != nil {
			return fmt.Errorf("start at %s: %w", s.started.server.Address, err)
		}
		next, ok := s.proxy.another(index)
		if !ok {
			return nil
		}
		if refused, err := s.isRefused(); !refused {
			return err
		}
		server.Close()
		s.down.clear()
		from = next
	}
}

// isRefused waits for the server's first message. It stays in the buffer.
func (s *session) isRefused() (bool, error) {
	for {
		m, ok, err := s.down.message()
		if err != nil {
			return false, err
		}
		if ok && s.down.holds(m) {
			return m.kind == 'E' && string(errorField(m.body, 'C')) == "28000", nil
		}
		if err := s.down.read(s.server); err != nil {
			return false, err
		}
	}
}

// readStartup answers encryption requests and returns the startup packet.
func (s *session) readStartup(ctx context.Context) ([]byte, error) {
	if err := s.acceptDirectTLS(); err != nil {
		return nil, err
	}
	for range 3 {
		packet, err := readPacket(s.client)
		if err != nil {
			return nil, err
		}
		switch code := binary.BigEndian.Uint32(packet[4:]); code {
		case sslRequest, gssRequest:
			if err := s.answerEncryption(code == sslRequest); err != nil {
				return nil, err
			}
		case cancelRequest:
			s.proxy.cancel(ctx, packet)
			return nil, errCancelled
		default:
			if code>>16 != 3 {
				return nil, versionError(code>>16, code&0xFFFF)
			}
			return packet, nil
		}
	}
	return nil, startupError("too many encryption requests")
}

// readPacket reads a message without a kind, exactly.
func readPacket(from io.Reader) ([]byte, error) {
	var header [8]byte
	if _, err := io.ReadFull(from, header[:1]); err != nil {
		return nil, err
	}
	if header[0] != 0 {
		return nil, startupError("not a PostgreSQL startup packet")
	}
	if _, err := io.ReadFull(from, header[1:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size < 8 || size > maxStartupBytes {
		return nil, startupError("invalid length of startup packet")
	}
	packet := make([]byte, size)
	copy(packet, header[:])
	_, err := io.ReadFull(from, packet[8:])
	return packet, err
}

// read takes the parameters that matter here. The packet itself is forwarded as it is.
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
			st.user = string(value)
		case "database":
			st.database = string(value)
		case "replication":
			st.replication = !isOff(string(value))
		}
	}
	if st.database == "" {
		st.database = st.user
	}
	return nil
}

// isOff reads a boolean as Postgres does, prefixes included; "database" counts as on.
func isOff(value string) bool {
	value = strings.ToLower(value)
	return value == "0" || value == "of" || value == "off" ||
		value != "" && (strings.HasPrefix("false", value) || strings.HasPrefix("no", value))
}

// authenticate moves messages both ways until the server is ready: any method passes byte for byte. The
// ReadyForQuery is kept for greet.
func (s *session) authenticate() error {
	answers := make(chan error, 1)
	go func() { answers <- s.relayAnswers() }()
	err := s.relayQuestions()
	if err != nil {
		s.server.Close()
	}
	s.client.SetReadDeadline(time.Unix(1, 0)) // relayAnswers waits for the client
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

// relayAnswers moves passwords and tokens to the server. What else a client sends ahead stays in the buffer.
func (s *session) relayAnswers() error {
	for {
		for {
			m, ok, err := s.up.message()
			if err != nil {
				return err
			}
			if ok && m.kind != 'p' && m.kind != 'X' {
				return nil
			}
			if !ok || !s.up.holds(m) {
				break
			}
			if missesBinding(m) && s.unbound.Load() {
				s.server.Close()
				return bindingError()
			}
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

// learn keeps what the server tells about the session.
func (st *startup) learn(s *session, m message) {
	switch m.kind {
	case 'S':
		s.learn(m.body)
	case 'K':
		if m.whole() && len(m.body) >= 8 {
			st.key = append([]byte(nil), m.body...)
		}
	}
}

// pid returns the server process, 0 if it is not known.
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
	return nil
}
