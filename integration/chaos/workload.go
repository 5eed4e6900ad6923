package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/integration/verdict"
)

const schema = `
CREATE SCHEMA work;
CREATE TABLE work.item (id bigint PRIMARY KEY, stmt text, n int);
CREATE TABLE work.log (stmt text, n int);
CREATE TABLE work.shared (id int PRIMARY KEY, stmt text, n int);
CREATE TABLE work.scratch (id bigint PRIMARY KEY, stmt text);
CREATE TABLE work.giant (id bigint PRIMARY KEY, stmt text, n int);
CREATE TABLE work.wide (id bigint PRIMARY KEY, stmt text);
CREATE TABLE work.mark (id int PRIMARY KEY);
INSERT INTO work.shared SELECT id, '', 0 FROM generate_series(1, 5) AS id;
DO $$ BEGIN CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN; END $$;
GRANT ALL ON SCHEMA work TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA work TO PUBLIC;`

var watched = []string{"work.item", "work.log", "work.shared", "work.scratch", "work.giant", "work.wide", "work.mark"}

// patience is how long a session waits for one script before it considers its connection dead.
const patience = 15 * time.Second

// session is one client. It reconnects after each fault, without asking for the outcome of the transaction that the fault interrupted: the truth is
// in the WAL. Every statement that writes has a nonce, stmt, in its text and in its rows, and no id or nonce is used twice.
type session struct {
	user, name string
	address    string // address to connect to
	pace       time.Duration
	scripts    []script

	chaos  *chaos
	random *rand.Rand
	conn   *pgx.Conn
	base   int // its ids are base+1, base+2, ...
	count  int
	tries  int    // number of connections so far
	client string // application_name of this connection
}

// script is a piece of work that leaves the session idle, or returns an error.
type script func(*session, context.Context) error

// actors returns the sessions of the load.
func (c *chaos) actors() []actor { return c.actorsFrom(0, scripts) }

// actorsFrom is like actors, but with ids after those of that many sessions, and with other scripts instead of the ordinary ones.
func (c *chaos) actorsFrom(first int, scripts []script) []actor {
	var actors []actor
	add := func(s session) {
		s.chaos, s.base = c, (first+len(actors)+1)*100_000_000
		actors = append(actors, func(ctx context.Context, random *rand.Rand) {
			s.random = random
			s.run(ctx)
		})
	}
	for i, user := range []string{"ann", "bob", "eve", "ann", "bob", "eve"} {
		add(session{user: user, name: fmt.Sprintf("%s%d", user, i), address: c.clients.Address, pace: 20 * time.Millisecond, scripts: scripts})
	}
	add(session{user: "bob", name: verdict.Direct, address: c.server.Address(), pace: 200 * time.Millisecond, scripts: scripts})
	add(session{user: "eve", name: "giant", address: c.clients.Address, pace: 6 * time.Second, scripts: giants})
	add(session{user: "postgres", name: "ddl", address: c.clients.Address, pace: time.Second, scripts: definitions})
	add(session{user: "postgres", name: "resolver", address: c.clients.Address, pace: time.Second, scripts: []script{(*session).resolve}})
	return actors
}

// run works until ctx ends.
func (s *session) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := s.connect(ctx); err != nil {
			s.examine(ctx, err)
			sleep(ctx, 200*time.Millisecond)
			continue
		}
		for err := error(nil); err == nil && ctx.Err() == nil; {
			err = s.do(ctx, s.scripts[s.random.Intn(len(s.scripts))])
			s.examine(ctx, err)
			sleep(ctx, time.Duration(s.random.Int63n(int64(2*s.pace))))
		}
		s.close()
	}
}

func (s *session) connect(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.tries++
	s.client = fmt.Sprintf("%s-%d", s.name, s.tries)
	s.conn, err = pgx.Connect(ctx, s.chaos.postgresAt(s.address, s.user, s.client))
	return err
}

func (s *session) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx)
}

func (s *session) do(ctx context.Context, f script) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return f(s, ctx)
}

// excused are the SQLSTATEs (or classes of them) that can result from faults and from conflicts between sessions.
var excused = []string{
	"08", "57P", "57014", "53", "25P03", // connection; server stops or starts; too many; idle too long
	"40", "55P03", // deadlock, lock timeout
}

// examine complains about an error of the server that no fault explains.
func (s *session) examine(ctx context.Context, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	s.chaos.count("broken sessions")
	var answer *pgconn.PgError
	if !errors.As(err, &answer) || slices.ContainsFunc(excused, func(code string) bool { return strings.HasPrefix(answer.Code, code) }) {
		return
	}
	s.chaos.complain("session %s: %v", s.client, err)
}

// next returns a new id and the nonce of a new statement.
func (s *session) next() (id int, stmt string) {
	s.count++
	return s.base + s.count, fmt.Sprintf("%s.%d", s.client, s.count)
}

// simple sends each text as one Query message.
func (s *session) simple(ctx context.Context, texts ...string) error {
	for _, sql := range texts {
		if _, err := s.conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%.200s: %w", sql, err)
		}
	}
	return nil
}

func (s *session) insert(table string) string {
	id, stmt := s.next()
	return fmt.Sprintf("INSERT INTO work.%s (id, stmt) VALUES (%d, '%s')", table, id, stmt)
}

// touch updates a row that all sessions update.
func (s *session) touch() string {
	_, stmt := s.next()
	return fmt.Sprintf("UPDATE work.shared SET stmt = '%s', n = n + 1 WHERE id = %d", stmt, 1+s.random.Intn(5))
}

// refused returns an error unless err came from the server with this SQLSTATE.
func refused(err error, code string) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && answer.Code == code {
		return nil
	}
	if err == nil {
		return fmt.Errorf("the server accepts what it has to refuse with %s", code)
	}
	return err
}
