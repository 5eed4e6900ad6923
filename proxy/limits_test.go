package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestNames(t *testing.T) {
	for _, c := range []struct {
		names Names
		name  string
		want  bool
	}{
		{Names{}, "any", true},
		{Names{Allow: []string{"sh?p", "b*"}}, "shop", true},
		{Names{Allow: []string{"sh?p", "b*"}}, "ship/2", false},
		{Names{Allow: []string{"*"}, Refuse: []string{"mall*"}}, "mallory", false},
		{Names{Refuse: []string{"mall*"}}, "mall/ory", false},
		{Names{Refuse: []string{"mall/*"}}, "mall/ory", false},
		{Names{Refuse: []string{"mall/*"}}, "mallory", true},
	} {
		if got := c.names.admits(c.name); got != c.want {
			t.Errorf("%+v admits %q: %t", c.names, c.name, got)
		}
	}
}

// house is a proxy whose servers the test plays.
type house struct {
	*testing.T
	proxy  *Proxy
	dialed chan net.Conn // the servers' ends
}

// guest is one session.
type guest struct {
	house          *house
	client, server *actor
}

func newHouse(t *testing.T, limits Limits) *house {
	p, err := New(Config{Servers: []Server{{Address: "server"}}, Outbox: OutboxOff, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t, p, make(chan net.Conn, 1)}
	p.dialer = func(context.Context, string) (net.Conn, error) {
		far, server := net.Pipe()
		h.dialed <- server
		return far, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		p.watch(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-watched
		p.closeNow()
		p.running.Wait()
	})
	return h
}

// enter opens a session up to its first ReadyForQuery. Each has a key of its own.
func (h *house) enter(key, parameters string) *guest {
	client, near := net.Pipe()
	g := &guest{house: h, client: newActor(client)}
	h.proxy.open(context.Background(), near)
	g.client.say <- message3(parameters)
	g.server = newActor(<-h.dialed)
	g.server.say <- bytes.ReplaceAll(newStage(h.T, nil).serverStart(), []byte("abcd"), []byte(key))
	g.heard()
	h.Cleanup(func() { g.client.close(); g.server.close() })
	return g
}

// message3 is a startup packet of protocol 3.0.
func message3(parameters string) []byte {
	p, _ := encode(nil, clientShapes, "Startup "+quote([]byte("\x00\x03\x00\x00"+parameters+"\x00")))
	return p
}

func (g *guest) says(line string) {
	p, err := encode(nil, clientShapes, line)
	if err != nil {
		g.house.Fatal(err)
	}
	g.client.say <- p
}

func (g *guest) answers(lines ...string) {
	for _, line := range lines {
		p, err := encode(nil, serverShapes, line)
		if err != nil {
			g.house.Fatal(err)
		}
		g.server.say <- p
	}
}

// heard returns what each end has received since the last call.
func (g *guest) heard() (client, server string) {
	synctest.Wait()
	c, _ := g.client.heard()
	s, _ := g.server.heard()
	return string(c), string(s)
}

const annInShop = "user\x00ann\x00database\x00shop\x00"

// A request that follows the slow one does not reach the server while the CancelRequest is on its way: it would
// be cancelled in the slow one's place. Other sessions do not wait for it.
func TestQueryTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Limits{Query: time.Second, Idle: 3 * time.Second})
		slow, idle := h.enter("slow", annInShop), h.enter("idle", annInShop)
		slow.says("Query `SELECT slow`")
		time.Sleep(1500 * time.Millisecond)
		cancel := newActor(<-h.dialed)
		defer cancel.close()
		synctest.Wait()
		if request, _ := cancel.heard(); !strings.HasSuffix(string(request), "slow") {
			t.Fatalf("CancelRequest %q", request)
		}
		slow.answers(`CommandComplete "SELECT 1"`, "ReadyForQuery I")
		slow.heard()
		slow.says("Query `SELECT next`")
		if _, got := slow.heard(); strings.Contains(got, "next") {
			t.Error("the next query passes while the CancelRequest is on its way")
		}
		time.Sleep(2500 * time.Millisecond)
		if got, _ := idle.heard(); !strings.Contains(got, "57P05") {
			t.Errorf("the idle session hears %q", got)
		}
		cancel.conn.Close()
		if _, got := slow.heard(); !strings.Contains(got, "next") {
			t.Error("the next query does not pass after the CancelRequest")
		}
	})
}

// A replication stream is one request that never ends; between two of them the subscriber may take its time.
func TestReplicationHasTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Limits{Query: time.Second, Idle: time.Second})
		stream := h.enter("abcd", annInShop+"replication\x00database\x00")
		time.Sleep(time.Minute)
		stream.says("Query `START_REPLICATION SLOT s LOGICAL 0/0`")
		time.Sleep(time.Minute)
		if _, got := stream.heard(); len(h.dialed) != 0 || !strings.Contains(got, "START") {
			t.Errorf("the stream is cancelled, or its session ended before: the server hears %q", got)
		}
	})
}

// A session that logs in is looked at by the limits of time meanwhile: for the race detector.
func TestLimitsDuringLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Limits{Query: time.Second})
		client, near := net.Pipe()
		defer client.Close()
		h.proxy.open(context.Background(), near)
		go io.Copy(io.Discard, client)
		client.Write(message3(annInShop))
		server := <-h.dialed
		defer server.Close()
		go io.Copy(io.Discard, server)
		time.Sleep(250 * time.Millisecond) // as the ticker
		server.Write(newStage(t, nil).serverStart())
		time.Sleep(time.Minute)
	})
}

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

// A request that comes in the moment in which the session ends makes the server end first: the client is told all
// the same.
func TestRequestAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Limits{Idle: time.Hour})
		g := h.enter("abcd", annInShop)
		for _, s := range h.proxy.list() {
			s.pending.drain() // and not yet: interrupt
		}
		g.says("Query `SELECT 1`")
		if got, _ := g.heard(); !strings.Contains(got, "57P01") {
			t.Errorf("the client hears %q", got)
		}
	})
}
