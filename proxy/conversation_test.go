package proxy

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

var update = flag.Bool("update", false, "rewrite the golden conversations")

var testKey = []byte("0123456789abcdef0123456789abcdef")

// A conversation in testdata drives a real session. Lines that begin with
//
//	F  are sent by the client, B by the server; neighbours in one write
//	f  is what the server received from that, b what the client did
//	O  sets an option of the proxy: outbox message, attribution transaction, require-outbox, sql-text off
//	S  begins the session: the common start of sessions follows, unless lines of the script bring it
//	-- the client closes; ~~ the server does; ++ the proxy is shut down; # is a comment
//
// -update writes the lines f and b.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want), func(p []byte) [][]byte { return [][]byte{p} })
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("%s\ngot:\n%s", file, difference(string(want), got))
			}
			if split := replay(t, string(want), eachByte); split != got {
				t.Errorf("%s, byte by byte\n%s", file, difference(got, split))
			}
		})
	}
}

func eachByte(p []byte) (writes [][]byte) {
	for i := range p {
		writes = append(writes, p[i:i+1])
	}
	return writes
}

// difference shows got from the first line that differs.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			w = append(w, "the end")
			return fmt.Sprintf("line %d\nwant: %s\ngot:  %s", i+1, w[min(i, len(w)-1)], strings.Join(g[i:min(i+4, len(g))], "\n      "))
		}
	}
	return "the end is missing"
}

// replay runs the script and returns it with its answers.
func replay(t *testing.T, script string, writes func([]byte) [][]byte) (out string) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, writes)
		defer s.close()
		for line := range strings.Lines(script) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "f ") || strings.HasPrefix(line, "b ") {
				continue
			}
			s.line(line)
		}
		s.flush()
		out = s.out.String()
		if lost := s.proxy.Stats().LostReplies; (lost != 0) != strings.Contains(script, "# replies are lost") {
			t.Errorf("%d sessions lost track of the replies", lost)
		}
	})
	return out
}

// stage is a proxy between a client and a server that follow the script.
type stage struct {
	t              *testing.T
	writes         func([]byte) [][]byte
	config         Config
	proxy          *Proxy
	client, server *actor
	out            strings.Builder
	pending        []byte // lines F or B that are sent together
	from           byte   // of pending
	model          *model // answers in the server's place, if not nil
}

// actor is one end of a connection. What it says waits in a queue, as in a socket; what it receives gathers.
type actor struct {
	conn net.Conn
	say  chan []byte
	mu   sync.Mutex
	all  bytes.Buffer
	eof  bool
}

func newActor(conn net.Conn) *actor {
	a := &actor{conn: conn, say: make(chan []byte, 1<<16)}
	go func() {
		for p := range a.say {
			conn.Write(p)
		}
	}()
	go func() {
		_, err := io.Copy(writerFunc(a.take), conn)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.eof = err == nil || err == io.ErrClosedPipe
	}()
	return a
}

func (a *actor) close() {
	a.conn.Close()
	close(a.say)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (a *actor) take(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all.Write(p)
}

// heard returns what came since the last call.
func (a *actor) heard() (p []byte, closed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p = bytes.Clone(a.all.Bytes())
	a.all.Reset()
	return p, a.eof
}

func newStage(t *testing.T, writes func([]byte) [][]byte) *stage {
	return &stage{t: t, writes: writes,
		config: Config{Servers: []Server{{Address: "server"}}, Key: testKey, SQLText: true}}
}

// open starts the proxy and its session.
func (s *stage) open() {
	p, err := New(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	p.object = "pgtee_00000001"
	s.proxy = p
	client, near := net.Pipe()
	s.client = newActor(client)
	p.dialer = func(context.Context, string) (net.Conn, error) {
		far, server := net.Pipe()
		if s.model != nil {
			go serveModel(server, s.model, s.serverStart())
			return far, nil
		}
		s.server = newActor(server)
		return far, nil
	}
	p.open(context.Background(), near)
}

func (s *stage) close() {
	if s.proxy == nil {
		return
	}
	s.proxy.closeNow()
	s.client.close()
	if s.server != nil {
		s.server.close()
	}
	s.proxy.running.Wait()
}

const commonStart = `F Startup "\x00\x03\x00\x00user\x00ann\x00database\x00shop\x00\x00"
B Authentication 0
B ParameterStatus client_encoding UTF8
B ParameterStatus standard_conforming_strings on
B BackendKeyData 4711 abcd
B ReadyForQuery I
`

const readyStart = `B RowDescription concat
B DataRow "base/5/1 9"
B CommandComplete "SELECT 1"
B ReadyForQuery I
B RowDescription format
B DataRow "7,8 t t t t postgres"
B CommandComplete "SELECT 1"
B ReadyForQuery I
B RowDescription ready
B DataRow t
B CommandComplete "SELECT 1"
B ReadyForQuery I
B RowDescription concat
B CommandComplete "SELECT 0"
B ReadyForQuery I
`

func (s *stage) line(line string) {
	from := line[:min(1, len(line))]
	if (from == "F" || from == "B") && s.from == from[0] {
		s.out.WriteString(line + "\n")
		s.add(line)
		return
	}
	s.flush()
	s.out.WriteString(line + "\n")
	switch {
	case from == "F" || from == "B":
		if s.proxy == nil {
			s.open()
		}
		s.from = from[0]
		s.add(line)
	case from == "O":
		s.option(line[2:])
	case from == "S":
		s.start()
	case line == "--":
		s.client.conn.Close()
	case line == "~~":
		s.server.conn.Close()
	case line == "++":
		for _, session := range s.proxy.stop() {
			session.drain()
		}
	}
	if line == "--" || line == "~~" || line == "++" {
		s.listen()
	}
}

// serverStart is what the server says first.
func (s *stage) serverStart() (p []byte) {
	for line := range strings.Lines(commonStart) {
		if line[0] == 'B' {
			p, _ = encode(p, serverShapes, strings.TrimRight(line[2:], "\n"))
		}
	}
	return p
}

// start plays the beginning that most conversations have in common, without writing it down.
func (s *stage) start() {
	s.open()
	if s.model != nil {
		setUp(s.proxy, "server")
		p, _ := encode(nil, clientShapes, strings.TrimRight(strings.SplitAfter(commonStart, "\n")[0][2:], "\n"))
		s.client.say <- p
		synctest.Wait()
		s.client.heard()
		return
	}
	for _, part := range append([]string{commonStart}, strings.SplitAfter(readyStart, "B ReadyForQuery I\n")...) {
		if s.config.Outbox == OutboxOff && part != commonStart {
			break
		}
		for line := range strings.Lines(part) {
			if line[0] != s.from {
				s.send()
				s.from = line[0]
			}
			s.add(strings.TrimRight(line, "\n"))
		}
		s.send()
	}
	s.client.heard()
	s.server.heard()
}

func (s *stage) add(line string) {
	shapes := clientShapes
	if line[0] == 'B' {
		shapes = serverShapes
	}
	var err error
	if s.pending, err = encode(s.pending, shapes, line[2:]); err != nil {
		s.t.Fatalf("%s: %v", line, err)
	}
}

// send writes what is pending and waits until nothing moves any more.
func (s *stage) send() {
	if len(s.pending) == 0 {
		return
	}
	to := s.client
	if s.from == 'B' {
		to = s.server
	}
	for _, p := range s.writes(s.pending) {
		to.say <- p
	}
	s.pending, s.from = nil, 0
	synctest.Wait()
}

func (s *stage) flush() {
	if len(s.pending) > 0 {
		s.send()
		s.listen()
	}
}

// listen writes down what both sides received.
func (s *stage) listen() {
	synctest.Wait()
	if s.server != nil {
		p, closed := s.server.heard()
		shown := ""
		if bytes.HasPrefix(p, []byte{0, 0}) {
			shown = fmt.Sprintf("f Startup %q\n", p)
		} else {
			for _, m := range messagesOf(p) {
				shown += decode("f", clientShapes, m, notesIn(testKey, textOf(m)))
			}
		}
		s.tell(shown, "f closed\n", closed)
	}
	p, closed := s.client.heard()
	s.tell(decode("b", serverShapes, p, bytes.Clone), "b closed\n", closed)
}

func (s *stage) tell(shown, end string, closed bool) {
	s.out.WriteString(shown)
	if closed && !strings.Contains(s.out.String(), end) {
		s.out.WriteString(end)
	}
}

// messagesOf cuts p into its messages.
func messagesOf(p []byte) (list [][]byte) {
	b := buffer{data: p, end: len(p)}
	for {
		m, ok, err := b.message()
		if err != nil || !ok || !m.whole() {
			break
		}
		list = append(list, p[b.next:b.next+m.size])
		b.pass(m)
	}
	if b.next < len(p) {
		list = append(list, p[b.next:])
	}
	return list
}

// textOf returns the text of a Query.
func textOf(p []byte) []byte {
	if len(p) <= headerBytes || p[0] != 'Q' {
		return nil
	}
	return bytes.TrimSuffix(p[headerBytes:], []byte{0})
}

// option is a line O.
func (s *stage) option(words string) {
	name, value, _ := strings.Cut(words, " ")
	var err error
	switch name {
	case "outbox":
		err = s.config.Outbox.UnmarshalText([]byte(value))
	case "attribution":
		err = s.config.Attribution.UnmarshalText([]byte(value))
	case "require-outbox":
		s.config.RequireOutbox = true
	case "sql-text":
		s.config.SQLText = value != "off"
	default:
		err = fmt.Errorf("unknown option %q", words)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
