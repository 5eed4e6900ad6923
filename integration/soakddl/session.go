package main

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// leg is one of the two databases and the sessions that work in it.
type leg struct {
	database string
	address  string // address to connect to
	note     func(format string, args ...any)

	executed atomic.Int64
	sessions []*session
}

// session plays scripts on one connection.
type session struct {
	leg      *leg
	number   int
	extended bool
	conn     *pgconn.PgConn
}

// outcome is the outcome of a statement.
type outcome struct {
	ran  bool
	code string // SQLSTATE; "": it succeeded
	text string // of the error
	took time.Duration
}

const (
	broken  = "broken" // instead of a SQLSTATE: the server did not respond
	aborted = "25P02"  // follows another error

	patience = 2 * time.Minute // for one statement
)

// play runs one piece of each script, all at the same time.
func (l *leg) play(ctx context.Context, pieces [][]episode) [][]outcome {
	outcomes := make([][]outcome, len(pieces))
	var running sync.WaitGroup
	for i, s := range l.sessions {
		running.Go(func() {
			for _, e := range pieces[i] {
				outcomes[i] = append(outcomes[i], s.play(ctx, e)...)
			}
		})
	}
	running.Wait()
	return outcomes
}

// play runs an episode up to its end or its first unexpected error.
func (s *session) play(ctx context.Context, e episode) []outcome {
	outcomes := make([]outcome, len(e.steps))
	for i, step := range e.steps {
		select {
		case <-ctx.Done():
			return outcomes
		case <-time.After(step.think):
		}
		outcomes[i] = s.execute(ctx, step.sql)
		if o := outcomes[i]; step.unforeseen(o) {
			s.leg.note("%s %s: %s: %s: %.300s", s.leg.database, sessionName(s.number), o.code, o.text, step.sql)
			s.giveUp(ctx, e.repair)
			return outcomes
		}
	}
	return outcomes
}

// unforeseen reports whether the script did not expect this outcome.
func (s *step) unforeseen(o outcome) bool {
	return o.ran && o.code != s.want && (o.code == "" || o.code != s.late)
}

func (s *session) execute(ctx context.Context, sql string) outcome {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	sql = strings.ReplaceAll(sql, legName, s.leg.database)
	began := time.Now()
	err := s.send(ctx, sql)
	o := outcome{ran: true, took: time.Since(began)}
	s.leg.executed.Add(1)
	if err != nil {
		o.code, o.text = broken, err.Error()
		var answer *pgconn.PgError
		if errors.As(err, &answer) {
			o.code, o.text = answer.Code, answer.Message
		}
	}
	return o
}

func (s *session) send(ctx context.Context, sql string) (err error) {
	if s.conn == nil || s.conn.IsClosed() {
		if s.conn, err = pgconn.Connect(ctx, s.leg.url(roleOf(s.number), sessionName(s.number))); err != nil {
			return err
		}
	}
	if s.extended {
		return s.conn.ExecParams(ctx, sql, nil, nil, nil, nil).Read().Err
	}
	_, err = s.conn.Exec(ctx, sql).ReadAll()
	return err
}

// giveUp leaves the transaction and repairs what the next episodes rely on, however long it takes.
func (s *session) giveUp(ctx context.Context, repair []string) {
	for _, sql := range append([]string{"ROLLBACK", "RESET lock_timeout", "RESET statement_timeout"}, repair...) {
		for try := 1; ; try++ {
			o := s.execute(ctx, sql)
			if o.code == "" || o.code == "42704" || o.code == "42P01" || o.code == "3F000" || ctx.Err() != nil { // nothing to repair
				break
			}
			s.leg.note("%s %s: repair: %s: %s: %.300s", s.leg.database, sessionName(s.number), o.code, o.text, sql)
			if try == 5 {
				break
			}
			time.Sleep(500 * time.Millisecond)
		}
	}
}

func (l *leg) url(role, name string) string {
	query := url.Values{"sslmode": {"disable"}, "application_name": {name}}
	u := url.URL{Scheme: "postgres", User: url.User(role), Host: l.address, Path: "/" + l.database, RawQuery: query.Encode()}
	return u.String()
}

func (l *leg) close() {
	for _, s := range l.sessions {
		if s.conn != nil {
			_ = s.conn.Close(context.Background())
		}
	}
}
