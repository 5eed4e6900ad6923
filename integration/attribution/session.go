package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// patience is how long a unit may take.
const patience = time.Minute

// session plays a script at the protocol level, through the proxy.
type session struct {
	number int
	url    string
	put    uint32 // OID of the function for FunctionCall
	judge  *judge

	conn net.Conn // nil: not connected
	wire *pgproto3.Frontend
}

// sessionName is the application_name of a session.
func sessionName(number int) string { return fmt.Sprintf("s%d", number) }

// play plays approximately this number of statements of a generator. If a unit does not end as in its script, its rows are not judged.
func (s *session) play(ctx context.Context, g *generator, statements int) error {
	defer s.close()
	for g.statements < statements {
		u := g.next()
		s.judge.expect(u.expected)
		if err := s.playUnit(ctx, &u); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.judge.giveUp(u.expected, fmt.Sprintf("%s, %s: %v", sessionName(s.number), u.way, err))
			s.close()
		}
	}
	return nil
}

func (s *session) playUnit(ctx context.Context, u *unit) error {
	if err := s.connect(ctx); err != nil {
		return err
	}
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for i, t := range u.turns(s.put) {
		if err := s.take(&t); err != nil {
			return fmt.Errorf("write %d of %q: %w", i+1, u.asScript().messages[0].(*pgproto3.Query).String, err)
		}
	}
	return nil
}

// connect opens a session unless there is one.
func (s *session) connect(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	conn, err := pgconn.Connect(ctx, s.url)
	if err != nil {
		return err
	}
	raw, err := conn.Hijack()
	if err != nil {
		return err
	}
	s.conn, s.wire = raw.Conn, raw.Frontend
	return nil
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// take plays a turn. It fails if the errors among the replies differ from those expected.
func (s *session) take(t *turn) error {
	for _, m := range t.messages {
		s.wire.Send(m)
	}
	if err := s.wire.Flush(); err != nil {
		return err
	}
	var codes []string
	var last string // text of the latest error
	for ready, done := 0, 0; ready < t.ready || done < t.done; {
		message, err := s.wire.Receive()
		if err != nil {
			return err
		}
		switch m := message.(type) {
		case *pgproto3.ReadyForQuery:
			ready++
		case *pgproto3.CommandComplete, *pgproto3.PortalSuspended:
			if t.done > 0 {
				done++
			}
		case *pgproto3.ErrorResponse:
			codes, last = append(codes, m.Code), m.Message
			if t.done > 0 {
				return fmt.Errorf("%s: %s", m.Code, m.Message)
			}
		}
	}
	if !slices.Equal(codes, t.codes) {
		return fmt.Errorf("the server's errors are %q, not %q: %s", codes, t.codes, last)
	}
	return nil
}

// urlOf returns the connection string of a session.
func urlOf(address, database string, number int) string {
	query := url.Values{"sslmode": {"disable"}, "application_name": {sessionName(number)}}
	u := url.URL{Scheme: "postgres", User: url.User("app"), Host: address, Path: "/" + database, RawQuery: query.Encode()}
	return u.String()
}
