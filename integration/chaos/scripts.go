package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// scripts are the work of an ordinary session, in random order.
var scripts = []script{
	func(s *session, ctx context.Context) error { // autocommit
		return s.simple(ctx, s.insert("item"), s.touch(), s.insert("wide"))
	},
	func(s *session, ctx context.Context) error { // a transaction
		return s.simple(ctx, "BEGIN", s.insert("item"), s.touch(), s.insert("scratch"), "COMMIT")
	},
	func(s *session, ctx context.Context) error { // rolled back
		return s.simple(ctx, "BEGIN", s.insert("item"), s.touch(), "ROLLBACK")
	},
	func(s *session, ctx context.Context) error { // savepoints
		again := s.insert("item")
		return s.simple(ctx, "BEGIN", s.insert("item"), "SAVEPOINT a", again, s.touch(), "ROLLBACK TO a", again, "SAVEPOINT b", s.insert("wide"), "RELEASE b", "COMMIT")
	},
	func(s *session, ctx context.Context) error { // an error inside a savepoint
		first := s.insert("item")
		if err := s.simple(ctx, "BEGIN", first, "SAVEPOINT a"); err != nil {
			return err
		}
		if err := refused(s.simple(ctx, first), "23505"); err != nil {
			return err
		}
		return s.simple(ctx, "ROLLBACK TO SAVEPOINT a", s.touch(), "COMMIT")
	},
	func(s *session, ctx context.Context) error { // another key, then none
		id, stmt := s.next()
		_, moved := s.next()
		_, gone := s.next()
		return s.simple(ctx, fmt.Sprintf("INSERT INTO work.item (id, stmt) VALUES (%d, '%s')", id, stmt),
			fmt.Sprintf("UPDATE work.item SET id = -id, stmt = '%s' WHERE id = %d", moved, id),
			fmt.Sprintf("DELETE /* %s */ FROM work.item WHERE id = %d", gone, -id))
	},
	func(s *session, ctx context.Context) error { // truncate
		_, stmt := s.next()
		return s.simple(ctx, "BEGIN", s.insert("scratch"), "TRUNCATE /* "+stmt+" */ work.scratch", s.insert("scratch"), "COMMIT")
	},
	func(s *session, ctx context.Context) error { // many subtransactions
		texts := []string{"BEGIN"}
		for range 20 {
			texts = append(texts, "SAVEPOINT s", s.insert("item"), "RELEASE s")
		}
		return s.simple(ctx, append(texts, "COMMIT")...)
	},
	func(s *session, ctx context.Context) error { // several statements in one Query
		return s.simple(ctx, "BEGIN; "+s.insert("item")+"; "+s.touch()+"; COMMIT; "+s.insert("item"), s.insert("item")+"; "+s.insert("wide"))
	},
	(*session).extended, (*session).pipeline, (*session).copy, (*session).prepare, (*session).prepare,
}

func (s *session) extended(ctx context.Context) error {
	id, stmt := s.next()
	sql := fmt.Sprintf("INSERT /* %s */ INTO work.item (id, stmt, n) VALUES ($1, $2, $3)", stmt)
	if _, err := s.conn.Exec(ctx, sql, id, stmt, 1); err != nil {
		return err
	}
	_, update := s.next()
	_, err := s.conn.Exec(ctx, fmt.Sprintf("UPDATE /* %s */ work.item SET stmt = $1, n = n + 1 WHERE id = $2", update), update, id)
	return err
}

func (s *session) pipeline(ctx context.Context) error {
	batch := &pgx.Batch{}
	for n := range 4 {
		_, stmt := s.next()
		batch.Queue(fmt.Sprintf("INSERT /* %s */ INTO work.log VALUES ($1, $2)", stmt), stmt, n)
		batch.Queue("SELECT count(*) FROM work.shared WHERE n > $1", n)
	}
	return s.conn.SendBatch(ctx, batch).Close()
}

func (s *session) copy(ctx context.Context) error {
	_, stmt := s.next()
	var rows strings.Builder
	for range 20 {
		id, _ := s.next()
		fmt.Fprintf(&rows, "%d\t%s\t0\n", id, stmt)
	}
	_, err := s.conn.PgConn().CopyFrom(ctx, strings.NewReader(rows.String()), fmt.Sprintf("COPY /* %s */ work.item FROM STDIN", stmt))
	return err
}

// prepare leaves a transaction in the first phase of two-phase commit; the resolver, or the session itself, ends it later.
func (s *session) prepare(ctx context.Context) error {
	_, gid := s.next()
	if err := s.simple(ctx, "BEGIN", s.insert("item"), s.insert("wide"), s.insert("item"), fmt.Sprintf("PREPARE TRANSACTION '%s'", gid)); err != nil {
		return err
	}
	switch s.random.Intn(3) {
	case 0:
		return s.finish(ctx, "COMMIT", gid)
	case 1:
		return s.finish(ctx, "ROLLBACK", gid)
	}
	return s.simple(ctx, s.insert("item"))
}

// finish runs the second phase; the resolver may already have done so.
func (s *session) finish(ctx context.Context, verb, gid string) error {
	err := s.simple(ctx, fmt.Sprintf("%s PREPARED '%s'", verb, gid))
	if err == nil || refused(err, "42704") == nil || refused(err, "55000") == nil { // undefined_object, "is busy"
		return nil
	}
	return err
}

// resolve ends some of the prepared transactions.
func (s *session) resolve(ctx context.Context) error {
	rows, err := s.conn.Query(ctx, "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared")
	if err != nil {
		return err
	}
	gids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for i, gid := range gids {
		if s.random.Intn(2) == 0 && len(gids)-i < 20 { // the server has slots for 40
			continue
		}
		verb := []string{"COMMIT", "COMMIT", "ROLLBACK"}[s.random.Intn(3)]
		if err := s.finish(ctx, verb, gid); err != nil {
			return err
		}
	}
	return nil
}

// giants are transactions of about ten thousand rows or more.
var giants = []script{
	func(s *session, ctx context.Context) error {
		_, first := s.next()
		_, second := s.next()
		from, rows := s.base+s.count*1000, 5_000+s.random.Intn(15_000)
		s.count += rows/1000 + 1
		end := "COMMIT"
		if s.random.Intn(5) == 0 {
			end = "ROLLBACK"
		}
		defer s.chaos.giantCommitted()
		return s.simple(ctx, "BEGIN",
			fmt.Sprintf("INSERT INTO work.giant SELECT id, '%s', 0 FROM generate_series(%d, %d) AS id", first, from, from+rows),
			fmt.Sprintf("UPDATE work.giant SET stmt = '%s', n = n + 1 WHERE id %% 3 = 0 AND id > %d", second, from), end)
	},
	func(s *session, ctx context.Context) error {
		_, stmt := s.next()
		return s.simple(ctx, fmt.Sprintf("DELETE /* %s */ FROM work.giant WHERE id IN (SELECT id FROM work.giant ORDER BY id LIMIT 10000)", stmt))
	},
}

// definitions change the tables during the run. There is only one session for them: two would wait for each other's locks on the publication.
var definitions = []script{(*session).alter, (*session).alter, (*session).create, (*session).drop}

// alter adds, renames and drops columns of work.wide, which other sessions write to.
func (s *session) alter(ctx context.Context) error {
	columns, err := s.names(ctx, "SELECT attname FROM pg_attribute WHERE attrelid = 'work.wide'::regclass AND attnum > 2 AND NOT attisdropped")
	if err != nil {
		return err
	}
	id, _ := s.next()
	change := fmt.Sprintf("ADD COLUMN c%d int DEFAULT %d", id, s.count)
	if n := len(columns); n > 0 && (n > 8 || s.random.Intn(2) == 0) {
		change = "DROP COLUMN " + columns[s.random.Intn(n)]
		if s.random.Intn(2) == 0 {
			change = fmt.Sprintf("RENAME COLUMN %s TO r%d", columns[s.random.Intn(n)], id)
		}
	}
	if s.random.Intn(2) == 0 {
		return s.simple(ctx, "ALTER TABLE work.wide "+change)
	}
	end := []string{"COMMIT", "COMMIT", "ROLLBACK"}[s.random.Intn(3)]
	return s.simple(ctx, "BEGIN", s.insert("wide"), "ALTER TABLE work.wide "+change, s.insert("wide"), end)
}

// create creates a table and fills it in the same transaction.
func (s *session) create(ctx context.Context) error {
	id, _ := s.next()
	table := fmt.Sprintf("made_%d", id)
	return s.simple(ctx, "BEGIN", fmt.Sprintf("CREATE TABLE work.%s (id bigint PRIMARY KEY, stmt text)", table),
		fmt.Sprintf("CALL truth.watch('work.%s')", table), s.insert(table), s.insert(table), "COMMIT", s.insert(table))
}

func (s *session) drop(ctx context.Context) error {
	tables, err := s.names(ctx, `SELECT relname FROM pg_class WHERE relname LIKE 'made\_%' AND relkind = 'r'`)
	if err != nil || len(tables) < 3 {
		return err
	}
	table := tables[s.random.Intn(len(tables))]
	return s.simple(ctx, s.insert(table), "DROP TABLE work."+table)
}

func (s *session) names(ctx context.Context, sql string) ([]string, error) {
	rows, err := s.conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
