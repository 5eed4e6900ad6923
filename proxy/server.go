package proxy

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// Server is one way to connect to PostgreSQL. If a server may be connected to with or without TLS (sslmode prefer and allow), it appears as two
// consecutive entries with the same address.
type Server struct {
	Address string      // "host:port", or the path of a Unix socket: "/dir/.s.PGSQL.5432"
	TLS     *tls.Config // nil: not encrypted
	Direct  bool        // start with the TLS handshake: sslnegotiation=direct, PostgreSQL 17
	Plain   bool        // continue without TLS if the server does not offer it: sslmode=prefer

	// Renewed returns TLS with its files as they are now; nil: it has none, or they do not change.
	Renewed func() *tls.Config

	// Role queries the server's role, with a login of the proxy's own. It is required for each address if there is a Target.
	Role func(context.Context) (Role, error)
}

// alpn is the protocol name that PostgreSQL requires in a TLS handshake ("SSL Session Encryption", PostgreSQL documentation 55.2.11).
const alpn = "postgresql"

// errNoTLS means that the server answered N to an SSLRequest.
var errNoTLS = errors.New("the server does not offer TLS")

// connect opens one connection and negotiates TLS.
func (p *Proxy) connect(ctx context.Context, server Server) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, p.terms.Load().ConnectTimeout)
	defer cancel()
	conn, err := p.dialer(ctx, server.Address)
	if err != nil || server.TLS == nil {
		return conn, err
	}
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if !server.Direct {
		err = requestTLS(conn)
	}
	if server.Plain && errors.Is(err, errNoTLS) {
		conn.SetDeadline(time.Time{})
		return conn, nil
	}
	config := server.TLS
	if server.Renewed != nil {
		config = server.Renewed()
	}
	config = config.Clone()
	config.NextProtos = []string{alpn}
	encrypted := tls.Client(conn, config)
	if err == nil {
		err = encrypted.HandshakeContext(ctx)
	}
	if err == nil && server.Direct && encrypted.ConnectionState().NegotiatedProtocol != alpn {
		err = errors.New("the server accepts direct TLS, but not with the protocol name postgresql: it is not PostgreSQL 17 or newer")
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", server.Address, err)
	}
	conn.SetDeadline(time.Time{})
	return encrypted, nil
}

// requestTLS asks the server for TLS. It reads only the one-byte answer, because anything after it belongs to the handshake.
func requestTLS(conn net.Conn) error {
	request := binary.BigEndian.AppendUint32([]byte{0, 0, 0, 8}, sslRequest)
	if _, err := conn.Write(request); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return errNoTLS
	}
	return fmt.Errorf("the server answers an SSLRequest with %q", answer[0])
}

func (p *Proxy) dialPlain(ctx context.Context, address string) (net.Conn, error) {
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	dialer := net.Dialer{KeepAliveConfig: p.terms.Load().KeepAlive}
	if !dialer.KeepAliveConfig.Enable {
		dialer.KeepAlive = -1 // disable Go's default keep-alive
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return unscheduled(conn), nil
}
