package integration

import (
	"context"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"strings"

	"github.com/jackc/pgx/v5"
)

const workSchema = `
CREATE SCHEMA work;
CREATE TABLE work.item (id bigint PRIMARY KEY, stmt text, n int);
CREATE TABLE work.log (stmt text, n int);
CREATE TABLE work.parent (id bigint PRIMARY KEY, stmt text);
CREATE TABLE work.child (id bigint PRIMARY KEY, parent bigint REFERENCES work.parent DEFERRABLE INITIALLY DEFERRED, stmt text);
CREATE TABLE work.shared (id int PRIMARY KEY, stmt text, n int);
INSERT INTO work.shared SELECT id, '', 0 FROM generate_series(1, 5) AS id;
CREATE FUNCTION work.add(id bigint, stmt text) RETURNS void LANGUAGE sql AS 'INSERT INTO work.item VALUES ($1, $2, 0)';
DO $$ BEGIN
	CREATE ROLE ann LOGIN; CREATE ROLE bob LOGIN; CREATE ROLE eve LOGIN;
EXCEPTION WHEN duplicate_object THEN
END $$;
GRANT ALL ON SCHEMA work TO PUBLIC;
GRANT ALL ON ALL TABLES IN SCHEMA work TO PUBLIC;`

var workTables = []string{"work.item", "work.log", "work.parent", "work.child", "work.shared"}

// session is one client of the workload. Every statement that writes carries a nonce, stmt, in its
// text and in its rows.
type session struct {
	ctx    context.Context
	url    string
	name   string // application_name, and the first part of every nonce
	conn   *pgx.Conn
	random *rand.Rand
	base   int // its ids are base+1, base+2, ...
	count  int
}

// next returns a new id and the nonce of a new statement.
func (s *session) next() (id int, stmt string) {
	s.count++
	return s.base + s.count, fmt.Sprintf("%s-%d", s.name, s.count)
}

func (s *session) insert() string {
	id, stmt := s.next()
	return fmt.Sprintf("INSERT INTO work.item (id, stmt, n) VALUES (%d, '%s', 0)", id, stmt)
}

// touch updates a row that all sessions update.
func (s *session) touch() string {
	_, stmt := s.next()
	return fmt.Sprintf("UPDATE work.shared SET stmt = '%s', n = n + 1 WHERE id = %d", stmt, 1+s.random.Intn(5))
}

// simple sends each text as one Query message.
func (s *session) simple(texts ...string) error {
	for _, sql := range texts {
		if _, err := s.conn.Exec(s.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// scripts are what a session does, in an order drawn by chance. Each leaves the session idle.
var scripts = map[string]func(*session) error{
	"autocommit": func(s *session) error {
		id, stmt := s.next()
		return s.simple(s.insert(), s.touch(), fmt.Sprintf("INSERT INTO work.item VALUES (%d, '%s', 0)", id, stmt),
			fmt.Sprintf("DELETE FROM work.item WHERE id = %d", id))
	},
	"extended": (*session).extended,
	"prepared again and again": func(s *session) error {
		_, stmt := s.next()
		sql := fmt.Sprintf("INSERT /* %s */ INTO work.log (stmt, n) VALUES ($1, $2)", stmt)
		for n := range 3 {
			if _, err := s.conn.Exec(s.ctx, sql, stmt, n); err != nil {
				return err
			}
		}
		return nil
	},
	"pipeline": func(s *session) error {
		batch := &pgx.Batch{}
		for n := range 4 {
			id, stmt := s.next()
			batch.Queue(fmt.Sprintf("INSERT /* %s */ INTO work.item VALUES ($1, $2, $3)", stmt), id, stmt, n)
			batch.Queue("SELECT count(*) FROM work.shared WHERE n > $1", n)
		}
		return s.conn.SendBatch(s.ctx, batch).Close()
	},
	"failing pipeline": func(s *session) error {
		batch := &pgx.Batch{}
		id, stmt := s.next()
		for range 2 { // the second violates the key, both are gone
			batch.Queue(fmt.Sprintf("INSERT /* %s */ INTO work.item VALUES ($1, $2, 0)", stmt), id, stmt)
		}
		return refused(s.conn.SendBatch(s.ctx, batch).Close(), "23505")
	},
	"transaction": func(s *session) error {
		return s.simple("BEGIN", s.insert(), "SELECT 1", s.touch(), s.insert(), "COMMIT")
	},
	"rollback": func(s *session) error {
		return s.simple("BEGIN", s.insert(), s.touch(), "ROLLBACK")
	},
	"rollback to": func(s *session) error {
		again := s.insert()
		return s.simple("BEGIN", s.insert(), "SAVEPOINT a", again, s.touch(), "ROLLBACK TO a", again, "SAVEPOINT b", s.insert(), "RELEASE b", "COMMIT")
	},
	"error and rollback to": func(s *session) error {
		first := s.insert()
		if err := s.simple("BEGIN", first, "SAVEPOINT a"); err != nil {
			return err
		}
		if err := refused(s.simple(first), "23505"); err != nil {
			return err
		}
		return s.simple("ROLLBACK TO SAVEPOINT a", s.touch(), "COMMIT")
	},
	"chain": func(s *session) error {
		return s.simple("BEGIN", s.insert(), "COMMIT AND CHAIN", s.insert(), "ROLLBACK AND CHAIN", s.insert(), "COMMIT")
	},
	"two phases": func(s *session) error {
		_, gid := s.next()
		return s.simple("BEGIN", s.insert(), s.insert(), fmt.Sprintf("PREPARE TRANSACTION '%s'", gid), s.insert(), s.touch(),
			fmt.Sprintf("COMMIT PREPARED '%s'", gid))
	},
	"two phases, rolled back": func(s *session) error {
		_, gid := s.next()
		return s.simple("BEGIN", s.insert(), fmt.Sprintf("PREPARE TRANSACTION '%s'", gid), s.insert(), fmt.Sprintf("ROLLBACK PREPARED '%s'", gid))
	},
	"deferred failure": func(s *session) error {
		id, stmt := s.next()
		orphan := fmt.Sprintf("INSERT INTO work.child VALUES (%d, -1, '%s')", id, stmt)
		if err := refused(s.simple(orphan), "23503"); err != nil {
			return err
		}
		if err := s.simple("BEGIN", orphan, s.insert()); err != nil {
			return err
		}
		return refused(s.simple("COMMIT"), "23503")
	},
	"deferred success": func(s *session) error {
		child, first := s.next()
		parent, second := s.next()
		return s.simple("BEGIN", fmt.Sprintf("INSERT INTO work.child VALUES (%d, %d, '%s')", child, parent, first),
			fmt.Sprintf("INSERT INTO work.parent VALUES (%d, '%s')", parent, second), "COMMIT")
	},
	"several statements in one Query": func(s *session) error {
		id, stmt := s.next()
		return s.simple(s.insert()+"; "+s.insert(), s.insert()+"; COMMIT; "+s.insert(),
			"/* ; */ BEGIN ISOLATION LEVEL SERIALIZABLE; "+s.insert()+"; COMMIT; SELECT 'INSERT;'; "+s.touch(),
			s.insert()+"; ROLLBACK; "+fmt.Sprintf("INSERT INTO work.item VALUES (%d, $tag$%s$tag$, 0);", id, stmt))
	},
	"COPY": func(s *session) error {
		_, stmt := s.next()
		var rows strings.Builder
		for range 5 {
			id, _ := s.next()
			fmt.Fprintf(&rows, "%d\t%s\t0\n", id, stmt)
		}
		_, err := s.conn.PgConn().CopyFrom(s.ctx, strings.NewReader(rows.String()), fmt.Sprintf("COPY /* %s */ work.item FROM STDIN", stmt))
		return err
	},
	"failing COPY": func(s *session) error {
		_, stmt := s.next()
		id, _ := s.next()
		_, err := s.conn.PgConn().CopyFrom(s.ctx, strings.NewReader(fmt.Sprintf("%d\t%s\t0\nx\n", id, stmt)), fmt.Sprintf("COPY /* %s */ work.item FROM STDIN", stmt))
		return refused(err, "22P02")
	},
	"EXECUTE": func(s *session) error {
		id, stmt := s.next()
		other, second := s.next()
		return s.simple("PREPARE add AS INSERT INTO work.item VALUES ($1, $2, 0)", fmt.Sprintf("EXECUTE add (%d, '%s')", id, stmt),
			"BEGIN", s.insert(), fmt.Sprintf("EXECUTE add (%d, '%s')", other, second), "COMMIT", "DEALLOCATE add")
	},
	"function in a transaction": func(s *session) error {
		id, stmt := s.next()
		return s.simple("BEGIN", s.insert(), fmt.Sprintf("SELECT work.add(%d, '%s')", id, stmt), s.insert(), "COMMIT")
	},
	"functions alone": func(s *session) error {
		id, stmt := s.next()
		return s.simple(fmt.Sprintf("SELECT work.add(%d, '%s')", id, stmt), "DO $$ BEGIN "+s.insert()+"; END $$")
	},
	"CTE and upsert": func(s *session) error {
		id, stmt := s.next()
		_, again := s.next()
		upsert := "INSERT INTO work.item VALUES (%d, '%s', 0) ON CONFLICT (id) DO UPDATE SET stmt = excluded.stmt"
		return s.simple(fmt.Sprintf("WITH new AS (INSERT INTO work.item VALUES (%d, '%s', 0) RETURNING *) INSERT INTO work.log SELECT stmt, n FROM new", id, stmt),
			fmt.Sprintf(upsert, id, again))
	},
	"another key": func(s *session) error {
		id, stmt := s.next()
		_, moved := s.next()
		return s.simple(fmt.Sprintf("INSERT INTO work.item VALUES (%d, '%s', 0)", id, stmt),
			fmt.Sprintf("UPDATE work.item SET id = -id, stmt = '%s' WHERE id = %d", moved, id))
	},
	"forget everything": func(s *session) error {
		if err := s.simple(s.insert(), "DISCARD ALL", s.insert()); err != nil {
			return err
		}
		if err := s.conn.DeallocateAll(s.ctx); err != nil { // pgx forgets its own, too
			return err
		}
		return s.extended()
	},
	"psql": (*session).psql,
}

// extended writes by prepared statements that pgx caches.
func (s *session) extended() error {
	id, stmt := s.next()
	sql := fmt.Sprintf("INSERT /* %s */ INTO work.item (id, stmt, n) VALUES ($1, $2, $3)", stmt)
	if _, err := s.conn.Exec(s.ctx, sql, id, stmt, 1); err != nil {
		return err
	}
	_, update := s.next()
	rows, err := s.conn.Query(s.ctx, fmt.Sprintf("UPDATE /* %s */ work.item SET stmt = $1, n = n + 1 WHERE id = $2 RETURNING n", update), update, id)
	if err != nil {
		return err
	}
	_, err = pgx.CollectExactlyOneRow(rows, pgx.RowTo[int])
	return err
}

// psql runs a script in a real psql, as a session of its own.
func (s *session) psql() error {
	copied, stmt := s.next()
	script := strings.Join([]string{
		s.insert() + ";",
		"BEGIN;", s.insert() + ";", "SAVEPOINT a;", s.insert() + ";", "ROLLBACK TO a;", s.touch() + ";", "COMMIT;",
		fmt.Sprintf("COPY /* %s */ work.item FROM STDIN;\n%d\t%s\t7\n\\.", stmt, copied, stmt),
		"BEGIN;", s.insert() + ";", "ROLLBACK;",
		`SELECT 1 AS one \gset`, s.insert() + ` \; ` + s.insert() + ";",
	}, "\n")
	cmd := exec.CommandContext(s.ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", s.url)
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), "PGOPTIONS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w: %s", err, out)
	}
	return nil
}

// run connects and does every script rounds times.
func (s *session) run(rounds int) (err error) {
	if s.conn, err = pgx.Connect(s.ctx, s.url); err != nil {
		return err
	}
	defer s.conn.Close(context.WithoutCancel(s.ctx))
	names := make([]string, 0, len(scripts))
	for name := range scripts {
		names = append(names, name)
	}
	for range rounds {
		s.random.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		for _, name := range names {
			if err := scripts[name](s); err != nil {
				return fmt.Errorf("session %s, script %q: %w", s.name, name, err)
			}
		}
	}
	return nil
}
