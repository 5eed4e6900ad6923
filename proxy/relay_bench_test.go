package proxy

import (
	"net"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// tape is a connection that always has the same to read, and takes everything.
type tape struct {
	net.Conn
	read []byte
}

func (c *tape) Read(p []byte) (int, error)  { return copy(p, c.read), nil }
func (c *tape) Write(p []byte) (int, error) { return len(p), nil }
func (c *tape) RemoteAddr() net.Addr        { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5432} }

// BenchmarkRoundTrip is what our own code takes of a round trip: the kernel's part is another ten microseconds.
func BenchmarkRoundTrip(b *testing.B) {
	bind := "Bind `` s `\x00\x00\x00\x01\x00\x00\x00\x05aid=7\x00\x00`"
	ours := []string{"BindComplete", "DataRow 0/1", "CommandComplete `SELECT 1`", "CloseComplete"}
	for _, bench := range []struct {
		name      string
		outbox    Outbox
		statement string
		requests  []string
		replies   []string
	}{
		{"simple read, off", OutboxOff, "", []string{"Query `SELECT v FROM t WHERE id = 7`"}, []string{"RowDescription v", "DataRow 7", "CommandComplete `SELECT 1`", "ReadyForQuery I"}},
		{"simple read, message", OutboxMessage, "", []string{"Query `SELECT v FROM t WHERE id = 7`"}, []string{"RowDescription v", "DataRow 7", "CommandComplete `SELECT 1`", "ReadyForQuery I"}},
		{"simple write, message", OutboxMessage, "", []string{"Query `UPDATE t SET v = 8 WHERE id = 7`"},
			[]string{"RowDescription note", "DataRow ``", "CommandComplete `SELECT 1`", "CommandComplete `UPDATE 1`", "ReadyForQuery I"}},
		{"prepared read, off", OutboxOff, "SELECT v FROM t WHERE id = $1", []string{bind, "Execute `` 0", "Sync"}, []string{"BindComplete", "DataRow 7", "CommandComplete `SELECT 1`", "ReadyForQuery I"}},
		{"prepared read, message", OutboxMessage, "SELECT v FROM t WHERE id = $1", []string{bind, "Execute `` 0", "Sync"}, []string{"BindComplete", "DataRow 7", "CommandComplete `SELECT 1`", "ReadyForQuery I"}},
		{"prepared write, message", OutboxMessage, "UPDATE t SET v = 8 WHERE id = $1", []string{bind, "Execute `` 0", "Sync"},
			append(append([]string{"BindComplete"}, ours...), "CommandComplete `UPDATE 1`", "ReadyForQuery I")},
	} {
		b.Run(bench.name, func(b *testing.B) {
			client, server := &tape{read: said(clientShapes, bench.requests...)}, &tape{read: answer(bench.replies...)}
			s := benchSession(b, bench.outbox, client, server)
			ended := make(chan error, 2)
			up, down := s.upstream(ended), s.downstream(ended)
			turn := func() {
				for _, d := range []*direction{&up, &down} {
					if err := d.read(); err != nil {
						b.Fatal(err)
					}
					if err := d.process(); err != nil {
						b.Fatal(err)
					}
				}
			}
			if bench.statement != "" {
				st, err := s.study([]byte(bench.statement), true)
				if err != nil {
					b.Fatal(err)
				}
				s.statements.prepare([]byte("s"), st, 1)
				s.statements.byName["s"].made.Store(true)
				s.pending.ours.prepared = true
			}
			turn()
			b.ReportAllocs()
			for b.Loop() {
				turn()
			}
			if s.replies.gaveUp || s.pending.size > 0 {
				b.Fatal("the replies do not match the requests")
			}
		})
	}
}

// benchSession is one after the login.
func benchSession(b *testing.B, kind Outbox, client, server net.Conn) *session {
	p, err := New(Config{Servers: []Server{{Address: "server"}}, Key: testKey, SQLText: true, Outbox: kind})
	if err != nil {
		b.Fatal(err)
	}
	s := newSession(p, p.terms.Load(), client)
	s.server, s.cancel = server, func() {}
	s.pending.settings.Store(&settings{user: "ann", lexis: parser.Lexis{StandardConformingStrings: true}})
	if kind != OutboxOff {
		s.database = &access{database: &database{}}
		s.database.outbox.Store(knownSchema())
		s.database.emits.Store(true)
		s.database.vocabulary.learn(map[string]struct{}{}, time.Now(), time.Now())
		s.notes = &notes{signer: note.MasterKey(testKey).Signer(1), sqlText: true, pid: 4711, now: time.Now, latest: &s.latest}
	}
	return s
}
