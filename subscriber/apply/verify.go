package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// Comparison is the result of Verify for one table.
type Comparison struct {
	Table          string // name in the source
	Source, Target int64  // number of rows
	Equal          bool
	Differences    []string // columns that the target lacks, and keys of the first few rows that differ
	Missing        bool     // the target has no such table
}

// moment is a position in the history of the source, with a connection whose snapshot sees exactly that.
type moment struct {
	lsn  LSN
	conn *pgconn.PgConn
}

// Verify applies up to a position for which it has a snapshot of the source, and compares all tables there. It takes over the stream before it chooses
// the position, and holds it until the tables are compared: no other applier writes to the target meanwhile.
func Verify(ctx context.Context, cfg Config, source string, tell func(Comparison) error) error {
	t, err := cfg.connect(ctx)
	if err != nil {
		return err
	}
	defer t.close()
	newest, err := Newest(ctx, cfg)
	if err == nil {
		err = t.notSource(ctx, newest.Slot, newest.SystemID)
	}
	if err != nil {
		return err
	}
	if err := t.takeTurn(ctx); err != nil {
		return err
	}
	if _, err := t.fence(ctx); err != nil {
		return err
	}
	m, err := openMoment(ctx, source)
	if err != nil {
		return err
	}
	defer m.conn.Close(context.WithoutCancel(ctx))
	if err := cfg.await(ctx, m.lsn); err != nil {
		return err
	}
	cfg.Until, cfg.Once = &Until{LSN: m.lsn}, true
	r := newRunner(&cfg)
	r.hasTurn = true
	if err := r.run(ctx); err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	if err := t.openSnapshot(ctx, r.epoch); err != nil {
		return err
	}
	tables, err := postgres.Query(ctx, m.conn, `SELECT n.nspname, c.relname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND n.nspname NOT IN ('pgtee', 'pg_catalog', 'information_schema') ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	for _, row := range tables {
		if !cfg.includes(row[0] + "." + row[1]) {
			continue
		}
		c, err := compare(ctx, &cfg, m.conn, t, row[0], row[1])
		if err != nil {
			return err
		}
		if err := tell(c); err != nil {
			return err
		}
	}
	return nil
}

// openSnapshot opens a transaction in the target that sees what the applier with this epoch has written. It fails if another one has taken over.
func (t *target) openSnapshot(ctx context.Context, epoch int64) error {
	if err := t.exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL idle_in_transaction_session_timeout = 0"); err != nil {
		return err
	}
	now, err := t.epochNow(ctx)
	if err == nil && now != epoch {
		return errFenced
	}
	return err
}

// openMoment opens a transaction in the source that sees exactly what committed before a position: creating a logical slot exports such a snapshot.
func openMoment(ctx context.Context, source string) (m moment, err error) {
	config, err := pgconn.ParseConfig(source)
	if err != nil {
		return m, Halt{"--source: " + err.Error(), "want postgres://user@host:5432/database"}
	}
	postgres.Configure(config)
	config.RuntimeParams["idle_in_transaction_session_timeout"] = "0"
	config.RuntimeParams["application_name"] = "pgtee verify"
	if m.conn, err = pgconn.ConnectConfig(ctx, config); err != nil {
		return m, fmt.Errorf("source: %w", err)
	}
	exporting := config.Copy()
	exporting.RuntimeParams["replication"] = "database"
	slot, err := pgconn.ConnectConfig(ctx, exporting)
	if err != nil {
		return m, Halt{"the source refuses a replication connection: " + err.Error(), "ALTER ROLE … REPLICATION for the user of --source"}
	}
	defer slot.Close(context.WithoutCancel(ctx))
	export := "(SNAPSHOT 'export')"
	if version, _, _ := strings.Cut(m.conn.ParameterStatus("server_version"), "."); integer(version) < 15 {
		export = "EXPORT_SNAPSHOT"
	}
	results, err := slot.Exec(ctx, fmt.Sprintf("CREATE_REPLICATION_SLOT pgtee_verify_%d TEMPORARY LOGICAL pgoutput %s", slot.PID(), export)).ReadAll()
	if err != nil {
		return m, Halt{"the source exports no snapshot: " + err.Error(), "check that a replication slot is free (max_replication_slots), and that the user of --source has REPLICATION"}
	}
	row := results[0].Rows[0]
	if err := m.lsn.UnmarshalText(row[1]); err != nil {
		return m, err
	}
	_, err = m.conn.Exec(ctx, fmt.Sprintf("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT %s", postgres.QuoteLiteral(string(row[2])))).ReadAll()
	return m, err
}

// verifyPatience is how long the publisher may take to reach that position.
const verifyPatience = 2 * time.Minute

// await waits until Kafka holds everything before a position.
func (c *Config) await(ctx context.Context, lsn LSN) error {
	for deadline := time.Now().Add(verifyPatience); ; {
		newest, err := Newest(ctx, *c)
		if err != nil {
			return err
		}
		if newest.EndLSN >= lsn {
			return nil
		}
		if time.Now().After(deadline) {
			return Halt{fmt.Sprintf("Kafka holds the source only up to %s, not up to %s", newest.EndLSN, lsn), "check that the publisher is running"}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// compare compares one table.
func compare(ctx context.Context, cfg *Config, source *pgconn.PgConn, t *target, schema, name string) (c Comparison, err error) {
	c.Table = schema + "." + name
	own := catalog{conn: source, forms: t.catalog.forms, types: map[uint32]*pgType{}}
	from, err := own.table(ctx, schema, name)
	if err != nil {
		return c, err
	}
	mappedSchema, mappedName := cfg.mapped(schema, name)
	to, err := t.catalog.table(ctx, mappedSchema, mappedName)
	if err != nil {
		return c, err
	}
	if to == nil {
		c.Missing = true
		return c, nil
	}
	shared, lacking := cfg.shared(c.Table, from, to)
	var digests [2][]string
	for i, side := range []struct {
		conn  *pgconn.PgConn
		table string
	}{{source, from.name}, {t.conn, to.name}} {
		rows, err := postgres.Query(ctx, side.conn, fmt.Sprintf("SELECT count(*)::pg_catalog.text, coalesce(pg_catalog.sum(%s::pg_catalog.numeric), 0)::pg_catalog.text FROM %s AS t", hashOf(shared), side.table))
		if err != nil {
			return c, err
		}
		digests[i] = rows[0]
	}
	c.Source, c.Target = integer(digests[0][0]), integer(digests[1][0])
	alike := slices.Equal(digests[0], digests[1])
	if c.Equal = alike && lacking == nil; lacking != nil {
		c.Differences = []string{fmt.Sprintf("column %s is missing in the target: add it there, or leave it out with --ignore-columns", strings.Join(lacking, ", "))}
	}
	if alike || len(from.unique) == 0 || slices.ContainsFunc(from.unique[0].columns, func(i int) bool { return !slices.Contains(shared, from.columns[i].quoted) }) {
		return c, nil
	}
	rows, err := differences(ctx, source, t.conn, from, to, shared)
	c.Differences = append(c.Differences, rows...)
	return c, err
}

// shared returns the columns of a table of the source that are compared, and those that the target lacks although they are not ignored; both are quoted.
func (c *Config) shared(name string, from, to *table) (shared, lacking []string) {
	for _, column := range from.columns {
		if _, both := to.byName[column.name]; both {
			shared = append(shared, column.quoted)
		} else if !matchesAny(c.IgnoreColumns, name+"."+column.name) {
			lacking = append(lacking, column.quoted)
		}
	}
	return shared, lacking
}

// inUTF8 returns SQL for the bytes of a text that are the same whatever the encoding of its database is. Nothing is known of bytes in SQL_ASCII.
func inUTF8(text string) string {
	return "pg_catalog.convert_to(" + text + ", CASE pg_catalog.getdatabaseencoding() WHEN 'SQL_ASCII' THEN 'SQL_ASCII' ELSE 'UTF8' END)"
}

// hashOf returns SQL for a hash over the texts of a row's columns.
func hashOf(columns []string) string {
	var list []string
	for _, c := range columns {
		list = append(list, "t."+c)
	}
	return fmt.Sprintf("pg_catalog.hashtextextended(pg_catalog.encode(%s, 'escape'), 0)", inUTF8("ROW("+strings.Join(list, ", ")+")::pg_catalog.text"))
}

const maxDifferences = 10

// differences reads both tables in key order and returns the keys of the first rows that differ.
func differences(ctx context.Context, source, target *pgconn.PgConn, from, to *table, columns []string) (list []string, err error) {
	var key []string
	for _, i := range from.unique[0].columns {
		key = append(key, "t."+from.columns[i].quoted)
	}
	sql := func(table string) string {
		text := "ROW(" + strings.Join(key, ", ") + ")::pg_catalog.text"
		return fmt.Sprintf("SELECT %s, %s::pg_catalog.text FROM %s AS t ORDER BY %s", text, hashOf(columns), table, inUTF8(text))
	}
	left, right := readHashes(ctx, source, sql(from.name)), readHashes(ctx, target, sql(to.name))
	defer left.close()
	defer right.close()
	left.next()
	right.next()
	for len(list) < maxDifferences && (left.there || right.there) {
		switch {
		case !right.there || left.there && left.key < right.key:
			list = append(list, left.key+" is missing in the target")
			left.next()
		case !left.there || right.key < left.key:
			list = append(list, right.key+" is in the target only")
			right.next()
		default:
			if left.hash != right.hash {
				list = append(list, left.key+" differs")
			}
			left.next()
			right.next()
		}
	}
	return list, errors.Join(left.err, right.err)
}

// hashReader reads rows of key and hash one by one.
type hashReader struct {
	reader    *pgconn.ResultReader
	there     bool
	key, hash string
	err       error
}

func readHashes(ctx context.Context, conn *pgconn.PgConn, sql string) *hashReader {
	return &hashReader{reader: conn.ExecParams(ctx, sql, nil, nil, nil, nil)}
}

func (w *hashReader) next() {
	if w.there = w.reader.NextRow(); w.there {
		values := w.reader.Values()
		w.key, w.hash = string(values[0]), string(values[1])
		return
	}
	_, w.err = w.reader.Close()
}

func (w *hashReader) close() {
	if w.there {
		for w.reader.NextRow() { // the remaining rows do not matter
		}
		_, _ = w.reader.Close()
	}
}
