package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// applied is a scenario with a second database that the stream is applied to.
type applied struct {
	*runner
	target string // name of the database
	ring   bool   // it is a source, too
}

// newTarget makes both databases, empty. Nothing of pgtee runs yet.
func newTarget(t *testing.T) *applied {
	t.Helper()
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	a := &applied{runner: r, target: r.database + "_target"}
	admin := r.dial(r.server.URL("postgres"))
	defer admin.Close(r.ctx)
	_, err := admin.Exec(r.ctx, "CREATE DATABASE "+a.target)
	r.must(err)
	t.Cleanup(func() {
		other := *r
		other.database = a.target
		other.dropDatabase()
	})
	return a
}

// newApplied makes both databases with the same schema and starts proxy and publisher on the first.
func newApplied(t *testing.T, schema string, publish ...string) *applied {
	t.Helper()
	a := newTarget(t)
	r := a.runner
	schema += "\nCREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);"
	r.Exec(schema)
	a.ExecTarget(schema)
	r.Setup()
	r.StartProxy()
	r.publisher = r.process("publish", append(r.publishArgs(), publish...)...)
	return a
}

func (a *applied) targetURL() string { return a.server.URL(a.target) }

// ExecTarget runs SQL in the target.
func (a *applied) ExecTarget(texts ...string) {
	a.t.Helper()
	conn := a.dial(a.targetURL())
	defer conn.Close(a.ctx)
	for _, sql := range texts {
		if _, err := conn.Exec(a.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			a.t.Fatalf("target: %s: %v", sql, err)
		}
	}
}

// Write runs SQL through the proxy.
func (a *applied) Write(texts ...string) {
	a.t.Helper()
	conn := a.dial(a.ProxyURL("postgres", "writer"))
	defer conn.Close(a.ctx)
	for _, sql := range texts {
		if _, err := conn.Exec(a.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			a.t.Fatalf("%.300s: %v", sql, err)
		}
	}
}

// origin: the server has room for ten.
func (a *applied) origin() string {
	if a.ring {
		return "require"
	}
	return "off"
}

func (a *applied) applyArgs(args ...string) []string {
	return append([]string{"apply", "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", a.targetURL(), "--origin", a.origin()}, args...)
}

// Apply drains the publisher and runs pgtee apply up to what Kafka holds.
func (a *applied) Apply(args ...string) (output string, code int) {
	a.t.Helper()
	a.Drain()
	return a.Pgtee(a.applyArgs(append([]string{"--once"}, args...)...)...)
}

// ExpectApplied fails unless apply ends well.
func (a *applied) ExpectApplied(args ...string) {
	a.t.Helper()
	if out, code := a.Apply(args...); code != 0 {
		a.t.Fatalf("apply exits with %d:\n%s", code, out)
	}
}

// ExpectEqual fails unless tables have the same rows in both databases.
func (a *applied) ExpectEqual(tables ...string) {
	a.t.Helper()
	for _, table := range tables {
		source, target := a.rows(a.URL(), table), a.rows(a.targetURL(), table)
		if source != target {
			a.t.Errorf("%s differs:\nsource\n%.2000s\ntarget\n%.2000s", table, source, target)
		}
	}
}

// rows are those of a table as text, in the order of that.
func (a *applied) rows(url, table string) string {
	a.t.Helper()
	conn := a.dial(url)
	defer conn.Close(a.ctx)
	rows, err := conn.Query(a.ctx, fmt.Sprintf("SELECT t::text FROM %s AS t ORDER BY 1", table))
	a.must(err)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	a.must(err)
	return strings.Join(list, "\n")
}

const applySchema = `
CREATE TABLE plain (id int PRIMARY KEY, name text, n numeric(12,2), at timestamptz, doc jsonb, tags text[]);
CREATE TABLE two (a text, b int, c text, big text, PRIMARY KEY (a, b));
ALTER TABLE two ALTER COLUMN big SET STORAGE EXTERNAL;
CREATE TABLE bare (a int, b text);
ALTER TABLE bare REPLICA IDENTITY FULL;
CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED);
CREATE TABLE only_key (id int PRIMARY KEY);`

func TestApply(t *testing.T) {
	a := newApplied(t, applySchema)
	tables := []string{"plain", "two", "bare", "made", "only_key"}
	a.Write(
		`INSERT INTO plain SELECT i, 'name '||i||E'\t\\x\n', i/3.0, '2024-02-29 10:00:00.123456+02'::timestamptz + i * interval '1 hour', jsonb_build_object('i', i, 'q', '"\'), ARRAY['a','b "c"', NULL] FROM generate_series(1, 1000) AS i`,
		`UPDATE plain SET name = NULL, n = n + 1 WHERE id % 3 = 0`, `DELETE FROM plain WHERE id % 7 = 0`,
		`INSERT INTO plain (id, name) VALUES (7, 'again')`,
		`UPDATE plain SET id = -id WHERE id % 11 = 0`,
		`INSERT INTO two SELECT 'k'||i, i, 'c', repeat(md5(i::text), 200) FROM generate_series(1, 50) AS i`,
		`UPDATE two SET c = 'touched' WHERE b % 2 = 0`, `UPDATE two SET a = a||'moved' WHERE b % 5 = 0`, `DELETE FROM two WHERE b = 10`,
		`INSERT INTO bare SELECT i % 5, 'x' FROM generate_series(1, 20) AS i`, `UPDATE bare SET b = NULL WHERE a = 2`, `DELETE FROM bare WHERE ctid = (SELECT ctid FROM bare WHERE a = 3 LIMIT 1)`,
		`INSERT INTO made (v) SELECT i FROM generate_series(1, 10) AS i`, `UPDATE made SET v = v + 1 WHERE id > 5`,
		`BEGIN; INSERT INTO only_key VALUES (1), (2); DELETE FROM only_key WHERE id = 1; UPDATE only_key SET id = 3 WHERE id = 2; COMMIT`,
	)
	a.ExpectApplied()
	a.ExpectEqual(tables...)
	if got := a.valueAt(a.targetURL(), "SELECT last_value::text FROM made_id_seq"); got != "10" {
		t.Errorf("the sequence of the target is at %s, want 10", got)
	}
	a.ExecTarget("SELECT setval('made_id_seq', 1)", "ALTER TABLE pgtee.applied DROP COLUMN slot, DROP COLUMN cuts") // as a run that was killed, of an earlier build, leaves them
	a.ExpectApplied()
	if got := a.valueAt(a.targetURL(), "SELECT last_value::text FROM made_id_seq"); got != "10" {
		t.Errorf("the sequence of the target is at %s after a run that wrote no row, want 10", got)
	}
	a.Write(`UPDATE two SET c = 'again'`, `UPDATE two SET b = b + 1000 WHERE b % 5 = 1`, `TRUNCATE only_key`, `INSERT INTO only_key VALUES (9)`,
		`BEGIN; INSERT INTO plain (id) VALUES (5000); TRUNCATE plain; INSERT INTO plain (id, name) VALUES (5001, 'last'); COMMIT`,
		`DELETE FROM bare WHERE a = 1`, `UPDATE bare SET a = a + 1`)
	a.ExpectApplied()
	a.ExpectEqual(tables...)
	if got := a.rows(a.targetURL(), "pgtee.conflicts"); got != "" {
		t.Errorf("conflicts: %s", got)
	}
}
