package console

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// authority is a CA, or what it has signed.
type authority struct {
	*testing.T
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	chain       [][]byte
}

// sign makes a certificate, of a CA of its own if by is nil.
func sign(t *testing.T, by *authority, template *x509.Certificate) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore = time.Now().Add(-2 * time.Hour)
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.certificate, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{T: t, certificate: made, key: key, chain: [][]byte{der}}
	if by != nil && by.certificate.Subject.CommonName != root {
		a.chain = append(a.chain, by.chain...)
	}
	return a
}

// root is the common name of a CA, which nobody has to send.
const root = "the root"

func newAuthority(t *testing.T, by *authority, name string) *authority {
	return sign(t, by, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
}

// of is a client certificate with a common name.
func (a *authority) of(name string) *authority {
	return sign(a.T, a, &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

func (a *authority) shown() tls.Certificate {
	return tls.Certificate{Certificate: a.chain, PrivateKey: a.key}
}

// secured is a console with TLS that asks for client certificates.
type secured struct {
	*testing.T
	*Console
	server  *authority
	clients atomic.Pointer[x509.CertPool]
	logged  *observer.ObservedLogs
}

func newSecured(t *testing.T, ca *authority) *secured {
	path := filepath.Join(t.TempDir(), "logins")
	if err := os.WriteFile(path, []byte("Rae Reader reader certificate\nada admin certificate\nben admin "+adminSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	logins, err := ReadLogins(path)
	if err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zap.WarnLevel)
	s := &secured{T: t, logged: logged, server: sign(t, nil, &x509.Certificate{Subject: pkix.Name{CommonName: "console"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})}
	s.clients.Store(ca.pool())
	shown := s.server.shown()
	s.Console, err = Open("127.0.0.1:0", Config{Logins: logins, Sessions: noSessions{}, Log: zap.New(core), ClientCAs: s.clients.Load,
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &shown, nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Console.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return s
}

// client is a browser with a certificate, or with none.
func (s *secured) client(certificates ...tls.Certificate) *http.Client {
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.server.pool(),
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whatever the server asks for
			if len(certificates) == 0 {
				return &tls.Certificate{}, nil
			}
			return &certificates[0], nil
		}}}
	s.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func (s *secured) ask(client *http.Client, method, path string, change ...func(*http.Request)) (answer *http.Response, body string, err error) {
	s.Helper()
	s.guard.mu.Lock()
	s.guard.failures = 0 // nobody waits
	s.guard.mu.Unlock()
	r, err := http.NewRequestWithContext(s.Context(), method, strings.TrimSuffix(s.URL(), "/")+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	if answer, err = client.Do(r); err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer, string(text), err
}

// TestClientCertificate: who has a certificate of the CA has the role of its common name, and no other certificate will do.
func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t, nil, root)
	s := newSecured(t, ca)
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	rae, ada := s.client(ca.of("Rae Reader").shown()), s.client(ca.of("ada").shown())
	expired := sign(t, ca, &x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, NotAfter: time.Now().Add(-time.Hour)})
	ofServer := sign(t, ca, &x509.Certificate{Subject: pkix.Name{CommonName: "ada"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	for name, test := range map[string]struct {
		client       *http.Client
		method, path string
		change       func(*http.Request)
		want         int
		log          string // "": no login has failed
	}{
		"a reader":                         {rae, "GET", "/configuration", nil, http.StatusOK, ""},
		"an admin":                         {ada, "GET", "/configuration", nil, http.StatusOK, ""},
		"a reader ends a session":          {rae, "POST", "/sessions/terminate?id=7", nil, http.StatusForbidden, ""},
		"an admin ends a session":          {ada, "POST", "/sessions/terminate?id=7", nil, http.StatusNotFound, ""}, // there is none
		"another site ends a session":      {ada, "POST", "/sessions/terminate?id=7", set("Sec-Fetch-Site", "cross-site"), http.StatusForbidden, ""},
		"by an intermediate CA":            {s.client(newAuthority(t, ca, "between").of("ada").shown()), "GET", "/configuration", nil, http.StatusOK, ""},
		"none":                             {s.client(), "GET", "/configuration", nil, http.StatusUnauthorized, ""},
		"none, but a secret":               {s.client(), "GET", "/configuration", set("Authorization", "Bearer "+adminSecret), http.StatusOK, ""},
		"a wrong secret comes first":       {ada, "GET", "/configuration", set("Authorization", "Bearer "+readerSecret), http.StatusUnauthorized, "name"},
		"an unknown name":                  {s.client(ca.of("Rae").shown()), "GET", "/configuration", nil, http.StatusUnauthorized, "has no line for"},
		"no name":                          {s.client(ca.of("").shown()), "GET", "/configuration", nil, http.StatusUnauthorized, "has no line for"},
		"the name of somebody with secret": {s.client(ca.of("ben").shown()), "GET", "/configuration", nil, http.StatusUnauthorized, "has no line for"},
		"of another CA":                    {s.client(newAuthority(t, nil, root).of("ada").shown()), "GET", "/configuration", nil, http.StatusUnauthorized, "unknown authority"},
		"expired":                          {s.client(expired.shown()), "GET", "/configuration", nil, http.StatusUnauthorized, "expired"},
		"of a server":                      {s.client(ofServer.shown()), "GET", "/configuration", nil, http.StatusUnauthorized, "incompatible key usage"},
		"an expired one in a browser":      {s.client(expired.shown()), "GET", "/configuration", set("Accept", "text/html"), http.StatusSeeOther, "expired"},
	} {
		s.logged.TakeAll()
		var change []func(*http.Request)
		if test.change != nil {
			change = append(change, test.change)
		}
		answer, body, err := s.ask(test.client, test.method, test.path, change...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if answer.StatusCode != test.want || answer.ProtoMajor != 2 {
			t.Errorf("%s: %s, want %d: %s", name, answer.Status, test.want, body)
		}
		if failed := fmt.Sprint(fields(s.logged)); strings.Contains(failed, "console-login-failed") != (test.log != "") || !strings.Contains(failed, test.log) {
			t.Errorf("%s: the log says %s, want %q", name, failed, test.log)
		}
	}
	_, page, _ := s.ask(rae, "GET", "/configuration")
	if !strings.Contains(page, "Rae Reader <small>reader, by certificate") || strings.Contains(page, "Log out") {
		t.Errorf("the page does not say who looks at it: %s", page)
	}
	if _, page, _ := s.ask(s.client(expired.shown()), "GET", "/login"); !strings.Contains(page, "Your certificate is not accepted: x509: certificate has expired") {
		t.Errorf("the login page does not say what is wrong: %s", page)
	}
	stolen := ca.of("ada")
	stolen.key = ca.of("mallory").key
	if answer, _, err := s.ask(s.client(stolen.shown()), "GET", "/configuration"); err == nil {
		t.Errorf("a certificate without its key: %s", answer.Status)
	}
}

func fields(logged *observer.ObservedLogs) (list []map[string]any) {
	for _, entry := range logged.All() {
		list = append(list, entry.ContextMap())
	}
	return list
}

// TestClientCAReplaced: a new CA is in force at once, also for connections that are open.
func TestClientCAReplaced(t *testing.T) {
	before, after := newAuthority(t, nil, root), newAuthority(t, nil, root)
	s := newSecured(t, before)
	ada, ada2 := s.client(before.of("ada").shown()), s.client(after.of("ada").shown())
	for step, want := range []int{http.StatusOK, http.StatusUnauthorized} {
		if answer, _, err := s.ask(ada, "GET", "/configuration"); err != nil || answer.StatusCode != want {
			t.Errorf("step %d, the old certificate: %v, %v", step, answer, err)
		}
		if answer, _, err := s.ask(ada2, "GET", "/configuration"); err != nil || answer.StatusCode != []int{http.StatusUnauthorized, http.StatusOK}[step] {
			t.Errorf("step %d, the new certificate: %v, %v", step, answer, err)
		}
		s.clients.Store(after.pool())
	}
}

// TestClientCAHint: browsers are told which certificates will do.
func TestClientCAHint(t *testing.T) {
	ca := newAuthority(t, nil, root)
	s := newSecured(t, ca)
	var named [][]byte
	conn, err := tls.Dial("tcp", s.listener.Addr().String(), &tls.Config{RootCAs: s.server.pool(), GetClientCertificate: func(asked *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		named = asked.AcceptableCAs
		return &tls.Certificate{}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if len(named) != 1 || string(named[0]) != string(ca.certificate.RawSubject) {
		t.Errorf("the server names %d CAs: %q", len(named), named)
	}
}
