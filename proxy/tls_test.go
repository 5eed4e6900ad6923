package proxy

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// Files that could not be used are read again though no time of them changes: their owner may have.
func TestCertificateIsTriedAgain(t *testing.T) {
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	key, err := x509.MarshalPKCS8PrivateKey(authority.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	files := ClientTLS{CertFile: filepath.Join(t.TempDir(), "cert"), KeyFile: filepath.Join(t.TempDir(), "key")}
	written := time.Now()
	write := func(file, kind string, content []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, written, written); err != nil {
			t.Fatal(err)
		}
	}
	write(files.CertFile, "CERTIFICATE", authority.Certificate().Raw)
	write(files.KeyFile, "PRIVATE KEY", key)
	synctest.Test(t, func(t *testing.T) {
		c, err := newCertificates(files, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		first := c.current()
		written = written.Add(time.Minute)
		write(files.KeyFile, "PRIVATE KEY", nil)
		if c.current() != first {
			t.Error("a broken key is used")
		}
		write(files.KeyFile, "PRIVATE KEY", key)
		if c.current() != first {
			t.Error("every handshake reads what could not be used")
		}
		time.Sleep(2 * brokenLasts)
		if c.current() == first {
			t.Error("the mended key is not read")
		}
	})
}

// A client that has said that it ends, and all that it wants to know, hears the answers to the end: PostgreSQL must have
// nothing to read when it ends, or they are lost.
func TestNothingBehindTerminate(t *testing.T) {
	for _, test := range []struct {
		last     string
		farewell bool // of TLS
	}{{"Terminate", false}, {"Sync", true}} {
		t.Run(test.last, func(t *testing.T) {
			authority := httptest.NewTLSServer(nil)
			defer authority.Close()
			server := listen(t)
			heard := make(chan []byte, 1)
			go func() { heard <- answerAtTheEnd(server, authority.TLS, newStage(t, nil).serverStart()) }()
			encrypted := []Server{{Address: server.Addr().String(), TLS: &tls.Config{InsecureSkipVerify: true}}}
			p, front, served := serve(t, Config{Outbox: OutboxOff, Servers: encrypted}, server)
			client := connect(t, front)
			send(t, client, "Query `SELECT 1`")
			send(t, client, test.last)
			closeWrite(client)
			ask(t, client, "", 'Z')
			if got := bytes.HasPrefix(<-heard, []byte("\x17\x03\x03\x00\x13")); got != test.farewell {
				t.Errorf("the server gets a close_notify: %v, want %v", got, test.farewell)
			}
			p.closeNow()
			<-served
			p.running.Wait()
		})
	}
}

// answerAtTheEnd serves one client, whose Query it answers when nothing more comes. It returns the last bytes that came, as
// many as a close_notify of TLS 1.3 has.
func answerAtTheEnd(ln net.Listener, config *tls.Config, greeting []byte) []byte {
	conn, err := ln.Accept()
	if err != nil {
		return nil
	}
	defer conn.Close()
	io.ReadFull(conn, make([]byte, len("....SSL?")))
	conn.Write([]byte("S"))
	raw := &recorder{Conn: conn}
	encrypted := tls.Server(raw, &tls.Config{Certificates: config.Certificates, NextProtos: []string{alpn}})
	readPacket(encrypted)
	encrypted.Write(greeting)
	io.Copy(io.Discard, encrypted)
	encrypted.Write(answer("CommandComplete `SELECT 1`", "ReadyForQuery I"))
	return raw.heard[max(0, len(raw.heard)-24):]
}

// recorder is a connection that keeps what was read.
type recorder struct {
	net.Conn
	heard []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.heard = append(r.heard, p[:n]...)
	return n, err
}

// A connection to the server uses the files as they are now.
func TestRenewedServerTLS(t *testing.T) {
	authority := httptest.NewTLSServer(nil)
	defer authority.Close()
	trusting := authority.Client().Transport.(*http.Transport).TLSClientConfig
	server := listen(t)
	way := Server{Address: server.Addr().String(), TLS: &tls.Config{ServerName: "127.0.0.1"}, Direct: true, Renewed: func() *tls.Config {
		config := trusting.Clone()
		config.ServerName = "127.0.0.1"
		return config
	}}
	go func() {
		conn, err := server.Accept()
		if err == nil {
			tls.Server(conn, &tls.Config{Certificates: authority.TLS.Certificates, NextProtos: []string{alpn}}).Handshake()
		}
	}()
	p, err := New(Config{Outbox: OutboxOff, Servers: []Server{way}})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := p.connect(t.Context(), way)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
