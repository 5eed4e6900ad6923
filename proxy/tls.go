package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"
)

// ClientTLS says how clients may encrypt their connections. The files are read again when they have changed.
type ClientTLS struct {
	CertFile, KeyFile string // PEM
	CAFile            string // PEM; CA that must have signed a client's certificate, if the client presents one; "": none is requested
	Mode              TLSMode
}

// TLSMode says what is required of a client, with the values of libpq's sslmode.
type TLSMode string

const (
	TLSPrefer     TLSMode = "prefer"      // a client may use TLS
	TLSRequire    TLSMode = "require"     // it must use TLS
	TLSVerifyCA   TLSMode = "verify-ca"   // it must present a certificate signed by the CA
	TLSVerifyFull TLSMode = "verify-full" // ... whose common name is the user
)

func (m TLSMode) verifies() bool { return m == TLSVerifyCA || m == TLSVerifyFull }

// certificates hold the files named in ClientTLS, as last read.
type certificates struct {
	ClientTLS
	log *zap.Logger

	mu     sync.Mutex
	read   [3]time.Time // modification times
	tried  time.Time    // when they were last read
	broken bool         // whether they could not be used then
	config *tls.Config
}

// brokenLasts is the time after which unusable files are read again although they were not modified, because their permissions may have changed.
const brokenLasts = time.Second

func newCertificates(c ClientTLS, log *zap.Logger) (*certificates, error) {
	switch c.Mode {
	case "":
		c.Mode = TLSPrefer
	case TLSPrefer, TLSRequire, TLSVerifyCA, TLSVerifyFull:
	default:
		return nil, fmt.Errorf("TLS mode %q: want prefer, require, verify-ca or verify-full", c.Mode)
	}
	if c.Mode.verifies() && c.CAFile == "" {
		return nil, fmt.Errorf("TLS mode %s: name the CA of client certificates with --tls-client-ca", c.Mode)
	}
	found := &certificates{ClientTLS: c, log: log}
	found.read = found.modified()
	var err error
	found.config, err = found.load()
	return found, err
}

// current returns the configuration for a new handshake. The handshake that detects a change reads the files; others use the old configuration
// meanwhile. If the files cannot be read, the old configuration stays in effect.
func (c *certificates) current() *tls.Config {
	modified := c.modified()
	config, changed := c.claim(modified)
	if !changed {
		return config
	}
	loaded, err := c.load()
	if err != nil {
		c.log.Warn("the new TLS files are invalid; the old certificate stays in effect", zap.String("finding", "tls-files-refused"), zap.Error(err))
	} else {
		c.log.Info("TLS certificate read again")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read != modified { // overtaken by the next change
		return c.config
	}
	if c.broken = err != nil; !c.broken {
		c.config = loaded
	}
	return c.config
}

// claim returns the configuration, and whether the caller must read the files.
func (c *certificates) claim(modified [3]time.Time) (config *tls.Config, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if modified == c.read && !(c.broken && time.Since(c.tried) > brokenLasts) {
		return c.config, false
	}
	c.read, c.tried = modified, time.Now()
	return c.config, true
}

func (c *certificates) modified() (times [3]time.Time) {
	for i, name := range []string{c.CertFile, c.KeyFile, c.CAFile} {
		if info, err := os.Stat(name); err == nil {
			times[i] = info.ModTime()
		}
	}
	return times
}

func (c *certificates) load() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s with key %s: %w", c.CertFile, c.KeyFile, err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{alpn}, MinVersion: tls.VersionTLS12}
	if c.CAFile == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("CA of client certificates: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven // as PostgreSQL does with ssl_ca_file
	if c.Mode.verifies() {
		config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CA of client certificates: %s holds no certificate in PEM form", c.CAFile)
	}
	return config, nil
}

// handshake encrypts the client's connection. A direct handshake must name the protocol, so that the client of another protocol cannot be tricked
// into talking to the proxy (ALPACA; PostgreSQL's ProcessSSLStartup does the same).
func (c *certificates) handshake(client net.Conn, direct bool) (*tls.Conn, *tls.Config, error) {
	config := c.current()
	encrypted := tls.Server(client, config)
	if err := encrypted.Handshake(); err != nil {
		return nil, nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if direct && encrypted.ConnectionState().NegotiatedProtocol != alpn {
		return nil, nil, errors.New("direct TLS without the protocol name postgresql")
	}
	return encrypted, config, nil
}

// admit refuses a session whose encryption does not satisfy the mode.
func (c *certificates) admit(client net.Conn, user string) error {
	encrypted, ok := client.(*tls.Conn)
	_, local := client.RemoteAddr().(*net.UnixAddr)
	switch {
	case c == nil || c.Mode == TLSPrefer || local:
		return nil
	case !ok:
		return plainError()
	case c.Mode == TLSVerifyFull && encrypted.ConnectionState().PeerCertificates[0].Subject.CommonName != user:
		return certificateError(user)
	}
	return nil
}

// answerEncryption answers a request for TLS, which is granted once, or for GSS encryption, which is never granted. Nothing has been read beyond the
// request: bytes that were sent before the answer reach the handshake, which rejects them because they are not TLS (CVE-2021-23214).
func (s *session) answerEncryption(tls bool) error {
	if !tls || s.terms.tls == nil || s.clientTLS != nil {
		_, err := s.client.Write([]byte{'N'})
		return err
	}
	if _, err := s.client.Write([]byte{'S'}); err != nil {
		return err
	}
	return s.encrypt(false)
}

// acceptDirectTLS starts TLS if the client begins with a handshake.
func (s *session) acceptDirectTLS() error {
	if s.terms.tls == nil {
		return nil
	}
	var first [1]byte
	if _, err := io.ReadFull(s.client, first[:]); err != nil {
		return err
	}
	s.setClient(&unreadConn{s.client, first[:]})
	if first[0] != tlsHandshake {
		return nil
	}
	return s.encrypt(true)
}

// unreadConn is a connection whose first byte has been examined.
type unreadConn struct {
	net.Conn
	unread []byte
}

func (c *unreadConn) Read(p []byte) (int, error) {
	if len(c.unread) > 0 {
		n := copy(p, c.unread)
		c.unread = c.unread[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

func (c *unreadConn) CloseWrite() error {
	closeWrite(c.Conn)
	return nil
}

// sameCertificate reports whether the proxy presents to the client the same certificate that the server presents to the proxy: then channel binding,
// which signs a hash of it (RFC 5929, tls-server-end-point), works end to end.
func sameCertificate(client *tls.Config, server net.Conn) bool {
	encrypted, ok := server.(*tls.Conn)
	if client == nil || !ok {
		return false
	}
	peers := encrypted.ConnectionState().PeerCertificates
	return len(peers) > 0 && bytes.Equal(peers[0].Raw, client.Certificates[0].Certificate[0])
}
