package proxy

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// house is a proxy whose servers the test plays.
type house struct {
	*testing.T
	proxy  *Proxy
	dialed chan net.Conn // the servers' ends
	known  bool          // the outbox is: see setUp
}

// guest is one session.
type guest struct {
	house          *house
	client, server *actor
}

// newHouse starts a proxy as config says, but that it only forwards unless there is a key.
func newHouse(t *testing.T, config Config) *house {
	if config.Servers == nil {
		config.Servers = []Server{{Address: "server"}}
	}
	if config.Key == nil {
		config.Outbox = OutboxOff
	}
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	h := &house{T: t, proxy: p, dialed: make(chan net.Conn, 1)}
	p.dialer = func(context.Context, string) (net.Conn, error) {
		far, server := net.Pipe()
		h.dialed <- server
		return far, nil
	}
	p.background()
	t.Cleanup(func() {
		p.closeNow()
		p.running.Wait()
		p.tasks.Wait()
	})
	return h
}

// knock opens a connection and sends a startup packet, if there are parameters.
func (h *house) knock(parameters string) *guest { return h.knockFrom("", parameters) }

// knockFrom opens a connection from this address.
func (h *house) knockFrom(address, parameters string) *guest {
	client, near := net.Pipe()
	g := &guest{house: h, client: newActor(client)}
	h.Cleanup(g.client.close)
	go h.proxy.open(context.Background(), addressed{near, address})
	if parameters != "" {
		g.client.say <- message3(parameters)
	}
	return g
}

// addressed is a connection from an address.
type addressed struct {
	net.Conn
	address string
}

func (a addressed) RemoteAddr() net.Addr { return a }
func (a addressed) Network() string      { return "tcp" }
func (a addressed) String() string       { return a.address }

// meet waits for the server that the session is led to.
func (g *guest) meet() {
	g.server = newActor(<-g.house.dialed)
	g.house.Cleanup(g.server.close)
}

// enter opens a session up to its first ReadyForQuery. Each has a key of its own.
func (h *house) enter(key, parameters string) *guest {
	g := h.knock(parameters)
	g.meet()
	g.welcome(key)
	g.heard()
	return g
}

// welcome is what the server says at the beginning of a session.
func (g *guest) welcome(key string) {
	g.server.say <- bytes.ReplaceAll(newStage(g.house.T, nil).serverStart(), []byte("abcd"), []byte(key))
	if g.house.known {
		g.answers(sameSchema...)
	}
}

// message3 is a startup packet of protocol 3.0.
func message3(parameters string) []byte {
	p, _ := encode(nil, clientShapes, "Startup "+quote([]byte("\x00\x03\x00\x00"+parameters+"\x00")))
	return p
}

func (g *guest) says(lines ...string) {
	for _, line := range lines {
		p, err := encode(nil, clientShapes, line)
		if err != nil {
			g.house.Fatal(err)
		}
		g.client.say <- p
	}
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

// setUp has a proxy know the outbox of database shop: a session that starts asks only whether it is still the same.
func setUp(p *Proxy, server string) {
	d, found := p.outboxes.last(server, "shop"), knownSchema()
	d.see("9", found, time.Now())
	d.set(found, true, time.Now())
	d.vocabulary.mustAsk(time.Now())
	d.vocabulary.learn(map[string]struct{}{}, time.Now(), time.Now())
}

func knownSchema() *schema {
	found, _ := readSchema([]byte("7,8 t t t t postgres"))
	return found
}

// What a server answers to askWhich, askWords and askOwner.
var (
	sameSchema = []string{"DataRow `base/5/1 9`", "CommandComplete `SELECT 1`", "ReadyForQuery I"}
	noWords    = []string{"RowDescription concat", "CommandComplete `SELECT 0`", "ReadyForQuery I"}
	itsOwner   = []string{"DataRow `7,8 t t t t postgres`", "CommandComplete `SELECT 1`", "ReadyForQuery I"}
)

// answerToProbe is what a server answers that is asked for its outbox, nil if it is not.
func answerToProbe(text []byte) []string {
	switch {
	case bytes.Contains(text, []byte(askWhich)):
		return sameSchema
	case bytes.Contains(text, []byte(askOwner)):
		return itsOwner
	case bytes.Contains(text, []byte(askWords)):
		return noWords
	}
	return nil
}

const annInShop = "user\x00ann\x00database\x00shop\x00"
