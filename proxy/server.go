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

// Server is one way to reach PostgreSQL. Where a server may be reached with TLS or without (sslmode prefer and
// allow), two of them with the same address stand one after the other.
type Server struct {
	Address string      // "host:port", or the path of a Unix socket: "/dir/.s.PGSQL.5432"
	TLS     *tls.Config // nil: not encrypted
	Direct  bool        // the TLS handshake begins at once: sslnegotiation=direct, PostgreSQL 17
	Plain   bool        // goes on without TLS if the server offers none: sslmode=prefer

	// Role asks the server what it is, by a login of the proxy's own. Needed for each address if there is a Target.
	Role func(context.Context) (Role, error)
}

// alpn is the protocol name that PostgreSQL wants in a TLS handshake ("SSL Session Encryption", PostgreSQL
// documentation 55.2.11).
const alpn = "postgresql"

// errNoTLS is the answer N to an SSLRequest.
var errNoTLS = errors.New("the server does not offer TLS")

// connect opens one connection and agrees on TLS.
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
	config := server.TLS.Clone()
	config.NextProtos = []string{alpn}
	encrypted := tls.Client(conn, config)
	if err == nil {
		err = encrypted.HandshakeContext(ctx)
	}
	if err == nil && server.Direct && encrypted.ConnectionState().NegotiatedProtocol != alpn {
		err = errors.New("direct TLS without the protocol name postgresql: this is no PostgreSQL 17 or newer")
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", server.Address, err)
	}
	conn.SetDeadline(time.Time{})
	return encrypted, nil
}

// requestTLS asks the server for TLS. Nothing is read beyond its one byte: what follows belongs to the handshake.
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
		dialer.KeepAlive = -1 // not Go's own
	}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return unscheduled(conn), nil
}
