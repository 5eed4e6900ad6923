package proxy

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

func TestNewRefuses(t *testing.T) {
	for name, config := range map[string]Config{
		"no server": {Key: testKey},
		"no key":    {Servers: []Server{{Address: "x"}}},
		"short key": {Servers: []Server{{Address: "x"}}, Key: testKey[:16]},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestOptionNames(t *testing.T) {
	for _, want := range []Outbox{OutboxTable, OutboxMessage, OutboxOff} {
		var got Outbox
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%s is read as %s: %v", want, got, err)
		}
	}
	for _, want := range []Attribution{AttributionStatement, AttributionTransaction} {
		var got Attribution
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Errorf("%s is read as %s: %v", want, got, err)
		}
	}
	if err := new(Outbox).UnmarshalText([]byte("tables")); err == nil {
		t.Error("an unknown outbox is accepted")
	}
}

// Sockets of the kernel: one server is down, the other answers; an idle session ends with 57P01, a session that
// never becomes idle is cut off when the time is over.
func TestServeAndShutdown(t *testing.T) {
	server := listen(t)
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			stage := newStage(t, nil)
			go serveModel(conn, newModel(), stage.serverStart())
		}
	}()
	dead := listen(t)
	dead.Close()
	p, front, served := serve(t, Config{Servers: []Server{{Address: dead.Addr().String()}, {Address: server.Addr().String()}}, Outbox: OutboxOff}, server)

	idle, busy := connect(t, front), connect(t, front)
	ask(t, busy, "Query BEGIN", 'Z')
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Shutdown(ctx) }()
	if body := ask(t, idle, "", 'E'); string(errorField(body, 'C')) != "57P01" {
		t.Errorf("the idle session hears %q", body)
	}
	if err := <-served; !errors.Is(err, ErrProxyClosed) {
		t.Errorf("Serve: %v", err)
	}
	ask(t, busy, "Query `SELECT 1`", 'Z')
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: %v", err)
	}
	if stats := p.Stats(); stats.SessionsOpen != 0 || stats.SessionsTotal != 2 || stats.Queries != 2 {
		t.Errorf("%+v", stats)
	}
}

func listen(t *testing.T) net.Listener {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// serve starts a proxy in front of a server whose outbox is ready, or of those that config names. What it serves ends with served.
func serve(t *testing.T, config Config, server net.Listener) (p *Proxy, front net.Listener, served <-chan error) {
	t.Helper()
	address := server.Addr().String()
	if config.Servers == nil {
		config.Servers = []Server{{Address: address}}
	}
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	setUp(p, address)
	front = listen(t)
	ended := make(chan error, 1)
	go func() { ended <- p.Serve(t.Context(), front) }()
	return p, front, ended
}

// connect opens a session up to its first ReadyForQuery.
func connect(t *testing.T, to net.Listener) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	ask(t, conn, `Startup "\x00\x03\x00\x00user\x00ann\x00database\x00shop\x00\x00"`, 'Z')
	return conn
}

// ask sends a message, if there is one, and reads up to one of a kind.
func ask(t *testing.T, conn net.Conn, line string, await byte) []byte {
	t.Helper()
	if line != "" {
		send(t, conn, line)
	}
	b := &buffer{}
	for {
		m, ok, err := b.message()
		if err != nil {
			t.Fatal(err)
		}
		if ok && m.whole() {
			b.pass(m)
			b.done = b.next
			if m.kind == await {
				return m.body
			}
			continue
		}
		if err := b.read(conn); err != nil {
			t.Fatal(err)
		}
	}
}

func send(t *testing.T, conn net.Conn, line string) {
	t.Helper()
	p, err := encode(nil, clientShapes, line)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(p); err != nil {
		t.Fatal(err)
	}
}
