package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"testing"
	"time"
)

// A server with TLS that offers no channel binding, such as a pooler, takes a client's "y" for the truth.
func TestNoBindingOffered(t *testing.T) {
	web := httptest.NewTLSServer(nil)
	defer web.Close()
	client, near := net.Pipe()
	defer client.Close()
	far, server := net.Pipe()
	p, err := New(Config{Outbox: OutboxOff, Servers: []Server{{Address: "server", TLS: &tls.Config{InsecureSkipVerify: true}}}})
	if err != nil {
		t.Fatal(err)
	}
	p.dialer = func(context.Context, string) (net.Conn, error) { return far, nil }
	p.open(context.Background(), near)
	defer p.running.Wait()
	defer server.Close() // nobody reads what TLS says at its end
	for _, conn := range []net.Conn{client, server} {
		conn.SetDeadline(time.Now().Add(30 * time.Second))
	}
	client.Write(message3(annInShop))
	io.ReadFull(server, make([]byte, 8))
	server.Write([]byte{'S'})
	encrypted := tls.Server(server, &tls.Config{Certificates: web.TLS.Certificates, NextProtos: []string{alpn}})
	io.ReadFull(encrypted, make([]byte, len(message3(annInShop))))
	offer := []byte("R\x00\x00\x00\x17\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")
	encrypted.Write(offer)
	if _, err := io.ReadFull(client, make([]byte, len(offer))); err != nil {
		t.Fatal(err)
	}
	go io.Copy(io.Discard, client)
	answer := []byte("p\x00\x00\x00\x1dSCRAM-SHA-256\x00\x00\x00\x00\x07y,,n=,r=")
	answer[4] = byte(len(answer) - 1)
	client.Write(answer)
	got := make([]byte, len(answer))
	if _, err := io.ReadFull(encrypted, got); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("the server hears %q (%v)", got, err)
	}
}
