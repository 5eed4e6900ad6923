//go:build !386

package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A server that works, and is asked to look at its connection meanwhile, learns that the client has hung up, whatever the
// proxy waits for: it ends what nobody wants to know.
func TestServerLearnsOfHangUp(t *testing.T) {
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(authority.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	shown := &ClientTLS{CertFile: filepath.Join(dir, "cert"), KeyFile: filepath.Join(dir, "key")}
	for file, block := range map[string]*pem.Block{
		shown.CertFile: {Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}, shown.KeyFile: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, requests := range map[string][]string{
		"that works":             {"Query `SELECT pg_sleep(60)`"},
		"whose end is awaited":   {"Query `VACUUM t`"},
		"... in a group":         {"Parse `` `VACUUM t`", "Bind `` ``", "Execute `` 0", "Sync"},
		"whose answer is needed": {"Query `SET ROLE none; SELECT pg_sleep(60)`", "Query `SELECT 1`"},
	} {
		for legs, encrypted := range map[string]struct{ client, server bool }{
			"plain": {}, "TLS to the client": {client: true}, "TLS to the server": {server: true}, "TLS": {true, true},
		} {
			t.Run(name+", "+legs, func(t *testing.T) {
				t.Parallel()
				ln := listen(t)
				config := Config{Key: testKey, TLS: shown}
				way := Server{Address: ln.Addr().String()}
				var identity *tls.Config
				if encrypted.server {
					way.TLS, identity = &tls.Config{InsecureSkipVerify: true}, &tls.Config{Certificates: authority.TLS.Certificates}
				}
				config.Servers = []Server{way}
				ended := make(chan error, 1)
				busy := make(chan bool, 8)
				go func() { ended <- workOnly(ln, identity, newStage(t, nil).serverStart(), busy) }()
				p, front, served := serve(t, config, ln)
				client, below := dialAs(t, front, encrypted.client)
				ask(t, client, `Startup "\x00\x03\x00\x00user\x00ann\x00database\x00shop\x00\x00"`, 'Z')
				for _, request := range requests {
					send(t, client, request)
				}
				<-busy
				time.Sleep(50 * time.Millisecond) // the proxy has come to its wait
				below.Close()
				select {
				case err := <-ended:
					if err != io.EOF {
						t.Error(err)
					}
				case <-time.After(5 * time.Second):
					t.Error("the server does not hear of it")
				}
				p.closeNow()
				<-served
				p.running.Wait()
			})
		}
	}
}

// A client that hangs up while it waits for its turn to log in is gone at once.
func TestHangUpBeforeTheTurn(t *testing.T) {
	ln := listen(t) // a server that says nothing
	p, front, served := serve(t, Config{Key: testKey, Limits: Limits{Logins: 1}}, ln)
	await := func(inside, waiting, sessions int) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			p.logins.mu.Lock()
			is := [3]int{len(p.logins.inside), len(p.logins.waiting), 0}
			p.logins.mu.Unlock()
			is[2] = len(p.list())
			switch want := [3]int{inside, waiting, sessions}; {
			case is == want:
				return
			case time.Now().After(end):
				t.Fatalf("inside, waiting, sessions: %d, want %d", is, want)
			}
		}
	}
	first, _ := dialAs(t, front, false)
	send(t, first, `Startup "\x00\x03\x00\x00user\x00ann\x00"`)
	await(1, 0, 1)
	second, _ := dialAs(t, front, false)
	send(t, second, `Startup "\x00\x03\x00\x00user\x00ann\x00"`)
	await(1, 1, 2)
	second.Close()
	await(1, 0, 1)
	p.closeNow()
	<-served
	p.running.Wait()
}

// dialAs returns a connection of a client, and what carries it.
func dialAs(t *testing.T, to net.Listener, encrypted bool) (conn, below net.Conn) {
	below, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { below.Close() })
	below.SetDeadline(time.Now().Add(30 * time.Second))
	if encrypted {
		return tls.Client(below, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}}), below
	}
	return below, below
}

// workOnly lets one client in and never answers its Queries, but that of the proxy. It returns how the connection has
// ended, that below TLS.
func workOnly(ln net.Listener, identity *tls.Config, greeting []byte, busy chan<- bool) error {
	below, err := ln.Accept()
	if err != nil {
		return err
	}
	defer below.Close()
	conn := below
	if identity != nil {
		io.ReadFull(below, make([]byte, len("....SSL?")))
		below.Write([]byte("S"))
		conn = tls.Server(below, &tls.Config{Certificates: identity.Certificates, NextProtos: []string{alpn}})
	}
	if _, err := readPacket(conn); err != nil {
		return err
	}
	conn.Write(greeting)
	b := &buffer{}
	for b.read(conn) == nil {
		for {
			m, ok, err := b.message()
			if err != nil || !ok || !m.whole() {
				break
			}
			if lines := answerToProbe(m.body); m.kind == 'Q' && lines != nil {
				conn.Write(answer(lines...))
			} else {
				busy <- true
			}
			b.pass(m)
			b.done = b.next
		}
	}
	below.SetReadDeadline(time.Now().Add(time.Second))
	_, err = below.Read(make([]byte, 1))
	return err
}
