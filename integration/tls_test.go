package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/proxy"
)

// certificate is one in files, with what signed it.
type certificate struct {
	certFile, keyFile string
	der               []byte
}

// authority signs certificates into a folder.
type authority struct {
	*testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM of the authority
}

func newAuthority(t *testing.T, dir string) *authority {
	a := &authority{T: t, dir: dir, file: filepath.Join(dir, "ca.pem")}
	a.key = must(t, func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	template := template("an authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	der := must(t, func() ([]byte, error) {
		return x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	})
	a.cert = must(t, func() (*x509.Certificate, error) { return x509.ParseCertificate(der) })
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62))
	return &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

// sign makes a certificate for a common name, in files of that name.
func (a *authority) sign(file, name string) certificate {
	key := must(a, func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	der := must(a, func() ([]byte, error) {
		return x509.CreateCertificate(rand.Reader, template(name), a.cert, &key.PublicKey, a.key)
	})
	private := must(a, func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) })
	c := certificate{filepath.Join(a.dir, file+".pem"), filepath.Join(a.dir, file+".key"), der}
	writePEM(a.T, c.certFile, "CERTIFICATE", der)
	writePEM(a.T, c.keyFile, "PRIVATE KEY", private)
	return c
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	if user, err := harness.Unprivileged(); err != nil {
		t.Fatal(err)
	} else if user != nil {
		if err := os.Chown(file, int(user.Uid), int(user.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

const hba = `local all all trust
hostssl all tlsonly 127.0.0.1/32 trust
hostnossl all plainonly 127.0.0.1/32 trust
host all tlsonly,plainonly 127.0.0.1/32 reject
host all secret 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
`

// encryptedServer is a PostgreSQL with TLS and roles that differ in how they may connect.
type encryptedServer struct {
	*authority
	server *embedded.Postgres
	own    certificate
	other  certificate
}

func newEncryptedServer(t *testing.T, major int) *encryptedServer {
	dir, err := world.Sub("tls")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &encryptedServer{authority: newAuthority(t, dir)}
	s.own, s.other = s.sign("server", "127.0.0.1"), s.sign("other", "127.0.0.1")
	hbaFile := filepath.Join(dir, "pg_hba.conf")
	if err := os.WriteFile(hbaFile, []byte(hba), 0o644); err != nil {
		t.Fatal(err)
	}
	s.server, err = world.StartPostgres(major, map[string]string{"ssl": "on", "ssl_cert_file": s.own.certFile,
		"ssl_key_file": s.own.keyFile, "ssl_ca_file": s.file, "hba_file": hbaFile})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), s.server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `CREATE ROLE tlsonly LOGIN; CREATE ROLE plainonly LOGIN; CREATE ROLE secret LOGIN PASSWORD 'pw'`); err != nil {
		t.Fatal(err)
	}
	return s
}

// ways are the attempts of an sslmode.
func (s *encryptedServer) ways(mode string) []proxy.Server {
	address := s.server.Address()
	encrypted := proxy.Server{Address: address, TLS: &tls.Config{InsecureSkipVerify: true}}
	plain := proxy.Server{Address: address}
	switch mode {
	case "disable":
		return []proxy.Server{plain}
	case "allow":
		return []proxy.Server{plain, encrypted}
	case "prefer":
		encrypted.Plain = true
		return []proxy.Server{encrypted, plain}
	case "direct":
		encrypted.Direct = true
	}
	return []proxy.Server{encrypted}
}

// open starts a proxy in front of the server and returns its address.
func (s *encryptedServer) open(t *testing.T, mode string, client *proxy.ClientTLS) string {
	address, _ := serve(t, proxy.Config{Servers: s.ways(mode), TLS: client, Outbox: proxy.OutboxOff})
	return address
}

func (c certificate) shown(mode proxy.TLSMode) *proxy.ClientTLS {
	return &proxy.ClientTLS{CertFile: c.certFile, KeyFile: c.keyFile, Mode: mode}
}

// psql connects with libpq, which is the client that takes channel binding most seriously.
func (s *encryptedServer) psql(t *testing.T, address, user, settings string) (string, error) {
	host, port, _ := net.SplitHostPort(address)
	cmd := exec.CommandContext(t.Context(), "psql", "-XAtc", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
		fmt.Sprintf("host=%s port=%s user=%s dbname=postgres password=pw connect_timeout=20 %s", host, port, user, settings))
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func TestEncryption(t *testing.T) {
	s := newEncryptedServer(t, 18)
	verified := "sslmode=verify-full sslrootcert=" + s.file
	for _, c := range []struct {
		name, mode     string // of the server leg
		shown          *proxy.ClientTLS
		user, settings string
		want           string // pg_stat_ssl.ssl of the server leg, or a part of the error
	}{
		{"plain, plain", "disable", nil, "secret", "sslmode=disable", "f"},
		{"plain, plain, TLS preferred", "disable", nil, "secret", "sslmode=prefer", "f"},
		{"plain refused", "disable", nil, "secret", "sslmode=require", "server does not support SSL"},
		{"TLS, plain", "disable", s.other.shown(""), "secret", verified, "f"},
		{"plain, TLS", "require", nil, "secret", "sslmode=disable", "t"},
		{"plain, direct TLS", "direct", nil, "secret", "sslmode=disable", "t"},
		{"plain, prefer", "prefer", nil, "secret", "sslmode=disable", "t"},
		{"TLS, TLS, one certificate", "require", s.own.shown(""), "secret", verified, "t"},
		{"TLS, TLS, one certificate, bound", "require", s.own.shown(""), "secret", verified + " channel_binding=require", "t"},
		{"TLS, TLS, two certificates", "require", s.other.shown(""), "secret", verified, "channel_binding=disable"},
		{"TLS, TLS, two certificates, unbound", "require", s.other.shown(""), "secret", verified + " channel_binding=disable", "t"},
		{"TLS, TLS, two certificates, bound", "require", s.other.shown(""), "secret", verified + " channel_binding=require", "channel binding is required"},
		{"allow, the server wants TLS", "allow", nil, "tlsonly", "sslmode=disable", "t"},
		{"allow", "allow", nil, "secret", "sslmode=disable", "f"},
		{"prefer, the server wants none", "prefer", nil, "plainonly", "sslmode=disable", "f"},
		{"disable, the server wants TLS", "disable", nil, "tlsonly", "sslmode=disable", "pg_hba.conf rejects"},
		{"required", "disable", s.other.shown(proxy.TLSRequire), "secret", "sslmode=disable", "this proxy requires TLS"},
		{"required and given", "disable", s.other.shown(proxy.TLSRequire), "secret", "sslmode=require", "f"},
		{"GSS encryption preferred", "disable", s.other.shown(""), "secret", verified + " gssencmode=prefer", "f"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.psql(t, s.open(t, c.mode, c.shown), c.user, c.settings)
			if !strings.Contains(got, c.want) || (err == nil) != (len(c.want) == 1) {
				t.Errorf("%s (%v), want %s", got, err, c.want)
			}
		})
	}
	t.Run("client certificates", func(t *testing.T) { s.clientCertificates(t) })
	t.Run("changed certificate", func(t *testing.T) { s.changedCertificate(t) })
	t.Run("direct", func(t *testing.T) { s.directTLS(t) })
	t.Run("bytes before the handshake", func(t *testing.T) { s.earlyBytes(t) })
	t.Run("cancel", func(t *testing.T) { s.cancel(t) })
}

func (s *encryptedServer) clientCertificates(t *testing.T) {
	mine, foreign := s.sign("mine", "secret"), newAuthority(t, t.TempDir()).sign("foreign", "secret")
	for _, c := range []struct {
		mode proxy.TLSMode
		cert certificate
		user string
		want string
	}{
		{proxy.TLSVerifyCA, mine, "secret", "f"},
		{proxy.TLSVerifyCA, mine, "postgres", "f"},
		{proxy.TLSVerifyFull, mine, "secret", "f"},
		{proxy.TLSVerifyFull, mine, "postgres", "not that of user"},
		{proxy.TLSVerifyCA, foreign, "secret", "SSL"},
		{proxy.TLSVerifyCA, certificate{certFile: "/none", keyFile: "/none"}, "secret", "SSL"},
		{proxy.TLSPrefer, mine, "secret", "f"},
		{proxy.TLSPrefer, foreign, "secret", "SSL"},
		{proxy.TLSRequire, certificate{certFile: "/none", keyFile: "/none"}, "secret", "f"},
	} {
		shown := s.other.shown(c.mode)
		shown.CAFile = s.file
		got, err := s.psql(t, s.open(t, "disable", shown), c.user, "sslmode=require sslcert="+c.cert.certFile+" sslkey="+c.cert.keyFile)
		if !strings.Contains(got, c.want) || (err == nil) != (len(c.want) == 1) {
			t.Errorf("%s as %s: %s (%v), want %s", c.mode, c.user, got, err, c.want)
		}
	}
}

func (s *encryptedServer) changedCertificate(t *testing.T) {
	own := s.sign("changing", "before")
	address := s.open(t, "disable", own.shown(""))
	if got := shownName(t, address); got != "before" {
		t.Fatalf("certificate of %q", got)
	}
	s.sign("changing", "after")
	if err := os.Chtimes(own.certFile, time.Now(), time.Now().Add(time.Minute)); err != nil { // whatever the clock's grain
		t.Fatal(err)
	}
	if got := shownName(t, address); got != "after" {
		t.Errorf("certificate of %q", got)
	}
	if err := os.WriteFile(own.certFile, []byte("half a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := shownName(t, address); got != "after" {
		t.Errorf("certificate of %q after a bad change", got)
	}
}

// shownName is the common name of the certificate that a direct handshake shows.
func shownName(t *testing.T, address string) string {
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func (s *encryptedServer) directTLS(t *testing.T) {
	address := s.open(t, "require", s.own.shown(proxy.TLSRequire))
	for _, protocols := range [][]string{{"postgresql"}, nil} {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		startup, _ := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": "postgres"}}).Encode(nil)
		conn.Write(startup)
		if _, err := hear(conn, "Z"); (err == nil) != (protocols != nil) {
			t.Errorf("protocols %v: %v", protocols, err)
		}
	}
}

// earlyBytes sends a startup packet behind the SSLRequest, in the clear: it must not be taken for one that
// came encrypted.
func (s *encryptedServer) earlyBytes(t *testing.T) {
	conn, err := net.Dial("tcp", s.open(t, "disable", s.other.shown("")))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	startup, _ := (&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersionNumber, Parameters: map[string]string{"user": "postgres"}}).Encode(nil)
	request, _ := (&pgproto3.SSLRequest{}).Encode(nil)
	conn.Write(append(request, startup...))
	answer, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if len(answer) == 0 || answer[0] != 'S' || strings.Contains(string(answer), "server_version") {
		t.Errorf("answer %q", answer)
	}
}

// cancel cancels a query over TLS on both legs.
func (s *encryptedServer) cancel(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, "postgres://postgres@"+s.open(t, "require", s.other.shown(proxy.TLSRequire))+"/postgres?sslmode=require")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	result := make(chan error, 1)
	go func() { result <- conn.Exec(ctx, "SELECT pg_sleep(60)").Close() }()
	watcher, err := pgx.Connect(ctx, s.server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Close(ctx)
	err = harness.Eventually(20*time.Second, func(ctx context.Context) error {
		var running bool
		if err := watcher.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)' AND state = 'active')").Scan(&running); err != nil || !running {
			return fmt.Errorf("not running: %v", err)
		}
		return conn.CancelRequest(ctx)
	})
	var refused *pgconn.PgError
	if err := errors.Join(err, <-result); !errors.As(err, &refused) || refused.Code != "57014" {
		t.Error(err)
	}
}
