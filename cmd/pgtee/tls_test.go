package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgtee/pgtee/cmd/pgtee/console"
)

// renewal is a CA and a certificate in files that are replaced, and servers that have the same ones.
type renewal struct {
	*testing.T
	ca, cert, key string
	times         int
	server        atomic.Pointer[tls.Config]
}

func newRenewal(t *testing.T) *renewal {
	dir := t.TempDir()
	r := &renewal{T: t, ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	r.renew()
	return r
}

// renew makes a new CA and a new certificate. Servers accept no others from now on.
func (r *renewal) renew() {
	r.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		r.Fatal(err)
	}
	r.times++
	own := &x509.Certificate{SerialNumber: big.NewInt(int64(r.times)), Subject: pkix.Name{CommonName: fmt.Sprint("renewed ", r.times)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, own, own, &key.PublicKey, key)
	if err != nil {
		r.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		r.Fatal(err)
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	r.write(r.ca, certificate)
	r.write(r.cert, certificate)
	r.write(r.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(certificate)
	r.server.Store(&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientCAs: known, ClientAuth: tls.RequireAndVerifyClientCert})
}

// write gives each version of a file a time of its own.
func (r *renewal) write(file string, text []byte) {
	r.Helper()
	if err := os.WriteFile(file, text, 0o600); err != nil {
		r.Fatal(err)
	}
	written := time.Now().Add(time.Duration(r.times) * time.Minute)
	if err := os.Chtimes(file, written, written); err != nil {
		r.Fatal(err)
	}
}

// serverConfig is the configuration of a server that has each certificate at once.
func (r *renewal) serverConfig() *tls.Config {
	return &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return r.server.Load(), nil }}
}

// spoil writes files that cannot be used.
func (r *renewal) spoil() {
	r.times++
	for _, file := range []string{r.ca, r.cert, r.key} {
		r.write(file, []byte("nothing"))
	}
}

// expect calls connect with the first certificate, with a renewed one, and with files that cannot be used.
func (r *renewal) expect(connect func() error) {
	r.Helper()
	for _, step := range []struct {
		name string
		do   func()
	}{{"at first", func() {}}, {"renewed", r.renew}, {"renewed again", r.renew}, {"broken", r.spoil}} {
		step.do()
		if err := connect(); err != nil {
			r.Errorf("%s: %v", step.name, err)
		}
	}
}

func TestRenewedForKafka(t *testing.T) {
	r := newRenewal(t)
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(r.serverConfig()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	options, err := loginFlags{KafkaTLS: true, KafkaCA: r.ca, KafkaCert: r.cert, KafkaKey: r.key}.options()
	if err != nil {
		t.Fatal(err)
	}
	r.expect(func() error {
		client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RequestRetries(0)}, options...)...)
		if err != nil {
			return err
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return client.Ping(ctx)
	})
}

func TestRenewedForRegistry(t *testing.T) {
	r := newRenewal(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `["AVRO"]`) }))
	server.TLS = r.serverConfig()
	server.StartTLS()
	t.Cleanup(server.Close)
	flags := registryFlags{SchemaRegistry: []string{server.URL}, SchemaRegistryCA: r.ca, SchemaRegistryCert: r.cert, SchemaRegistryKey: r.key}
	registry, err := flags.registry(zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	reader, err := flags.reader()
	if err != nil {
		t.Fatal(err)
	}
	r.expect(func() error {
		server.CloseClientConnections()
		if err := registry.Ping(t.Context()); err != nil {
			return err
		}
		answer, err := reader.Client.Get(server.URL)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	})
}

func TestRenewedForConsole(t *testing.T) {
	r := newRenewal(t)
	core, logged := observer.New(zap.WarnLevel)
	cfg, err := consoleFlags{ConsoleCert: r.cert, ConsoleKey: r.key}.config(console.Reader, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	r.expect(func() error {
		certificate, err := cfg.Certificate(nil)
		if err == nil && !certificate.Leaf.Equal(leaf(t, r.server.Load())) {
			err = fmt.Errorf("the certificate is that of %s", certificate.Leaf.Subject)
		}
		return err
	})
	if logged.FilterField(zap.String("finding", "tls-files-refused")).Len() == 0 {
		t.Error("nothing is said of the broken files")
	}
}

func TestRenewedForConsoleClients(t *testing.T) {
	r, served := newRenewal(t), newRenewal(t)
	core, logged := observer.New(zap.WarnLevel)
	cfg, err := consoleFlags{ConsoleCert: served.cert, ConsoleKey: served.key, ConsoleClientCA: r.ca}.config(console.Reader, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	r.expect(func() error {
		_, err := leaf(t, r.server.Load()).Verify(x509.VerifyOptions{Roots: cfg.ClientCAs(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		return err
	})
	cfg.ClientCAs() // is called with each request
	if n := logged.FilterField(zap.String("finding", "tls-files-refused")).Len(); n != 1 {
		t.Errorf("%d lines tell of the broken file", n)
	}
	if _, err := (consoleFlags{ConsoleClientCA: r.ca}).config(console.Reader, zap.NewNop()); err == nil || !strings.Contains(err.Error(), "--console-client-ca: ") {
		t.Errorf("a broken file at the start: %v", err)
	}
}

func leaf(t *testing.T, config *tls.Config) *x509.Certificate {
	t.Helper()
	certificate, err := x509.ParseCertificate(config.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestRenewedForPostgres(t *testing.T) {
	r := newRenewal(t)
	servers, err := urls(t, "postgres://u@127.0.0.1:5432/x?sslmode=verify-full&sslrootcert="+r.ca+"&sslcert="+r.cert+"&sslkey="+r.key).servers()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", r.serverConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprint(conn, "x")
			}()
		}
	}()
	r.expect(func() error {
		conn, err := tls.Dial("tcp", listener.Addr().String(), servers[0].Renewed())
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1)) // a server that refuses the certificate says so after the handshake
		return err
	})
}
