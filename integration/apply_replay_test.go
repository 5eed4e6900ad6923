package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// moment is one at which the tables of the source were looked at.
type moment struct {
	to   string // for --to
	rows map[string]string
}

// A history drawn by chance is replayed to ten moments in it, named in each of the ways: the tables are as they were.
func TestReplay(t *testing.T) {
	a := newApplied(t, applySchema)
	tables := []string{"plain", "two", "bare", "only_key"}
	random := rand.New(rand.NewSource(7))
	conn := a.dial(a.ProxyURL("postgres", "writer"))
	defer conn.Close(a.ctx)
	var moments []moment
	for step := range 120 {
		id := random.Intn(40)
		sql := []string{
			fmt.Sprintf("INSERT INTO plain (id, name, n) VALUES (%d, 'step %d', %d) ON CONFLICT (id) DO UPDATE SET name = excluded.name", id, step, step),
			fmt.Sprintf("DELETE FROM plain WHERE id < %d", id/4),
			fmt.Sprintf("UPDATE plain SET id = id + 1000 WHERE id = %d", id),
			fmt.Sprintf("INSERT INTO two VALUES ('k', %d, 'c', repeat('x', 5000)) ON CONFLICT DO NOTHING", id),
			fmt.Sprintf("UPDATE two SET c = 'step %d' WHERE b > %d", step, id),
			fmt.Sprintf("INSERT INTO bare VALUES (%d, 'b'), (%[1]d, 'b')", id%5),
			fmt.Sprintf("DELETE FROM bare WHERE ctid = (SELECT ctid FROM bare WHERE a = %d LIMIT 1)", id%5),
			"TRUNCATE only_key; INSERT INTO only_key SELECT generate_series(1, " + fmt.Sprint(id) + ")",
		}[random.Intn(8)]
		var xid string
		if _, err := conn.Exec(a.ctx, "BEGIN; "+sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatal(err)
		}
		a.must(conn.QueryRow(a.ctx, "SELECT coalesce(pg_current_xact_id_if_assigned()::xid::text, '')", pgx.QueryExecModeSimpleProtocol).Scan(&xid))
		if _, err := conn.Exec(a.ctx, "COMMIT"); err != nil {
			t.Fatal(err)
		}
		if step%12 != 11 {
			continue
		}
		m := moment{rows: map[string]string{}}
		switch len(moments) % 3 {
		case 0:
			m.to = a.Query("SELECT pg_current_wal_insert_lsn()::text")
		case 1:
			m.to = a.Query(`SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`)
		case 2:
			if m.to = xid; xid == "" || !a.publishes(sql) {
				m.to = a.Query("SELECT pg_current_wal_insert_lsn()::text")
			}
		}
		for _, table := range tables {
			m.rows[table] = a.rows(a.URL(), table)
		}
		moments = append(moments, m)
		time.Sleep(time.Millisecond) // commits have times of microseconds, and the next one shall be later
	}
	a.Drain()
	for i, m := range moments {
		a.replayed(fmt.Sprintf("moment%d", i), m, applySchema)
	}
}

// publishes says whether a statement of the history surely leaves a change.
func (a *applied) publishes(sql string) bool {
	return strings.HasPrefix(sql, "INSERT INTO bare") || strings.HasPrefix(sql, "TRUNCATE")
}

// replayed makes an empty database, replays to the moment, and compares.
func (a *applied) replayed(name string, m moment, schema string) {
	a.t.Helper()
	database := a.database + "_" + name
	admin := a.dial(a.server.URL("postgres"))
	defer admin.Close(a.ctx)
	_, err := admin.Exec(a.ctx, "CREATE DATABASE "+database)
	a.must(err)
	defer admin.Exec(a.ctx, "DROP DATABASE "+database+" WITH (FORCE)")
	other := &applied{runner: a.runner, target: database}
	other.ExecTarget(schema + "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);")
	out, code := a.Pgtee("replay", "--to", m.to, "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", other.targetURL(), "--origin", "off")
	if code != 0 || !strings.Contains(out, "the target is as the source was before") {
		a.t.Errorf("replay --to %s exits with %d:\n%s", m.to, code, out)
		return
	}
	for table, want := range m.rows {
		if got := a.rows(other.targetURL(), table); got != want {
			a.t.Errorf("--to %s: %s is\n%.1000s\nand was\n%.1000s", m.to, table, got, want)
		}
	}
}

// The moment before a DELETE is found in the audit stream by who did it.
func TestReplayBeforeADelete(t *testing.T) {
	const schema = "CREATE TABLE t (id int PRIMARY KEY, v text);"
	a := newApplied(t, schema)
	a.Write("INSERT INTO t SELECT i, 'v' FROM generate_series(1, 10) AS i", "UPDATE t SET v = 'w' WHERE id > 5")
	want := map[string]string{"t": a.rows(a.URL(), "t")}
	a.Write("DELETE FROM t WHERE id > 2")
	a.Write("INSERT INTO t VALUES (100, 'later')")
	a.Drain()
	p := a.process("subscribe", "subscribe", "--kafka", a.broker.Address, "--prefix", a.prefix, "--from", "beginning", "--user", "postgres", "--command", "delete")
	line := regexp.MustCompile(`before:[^\n]*\n`)
	err := harness.Eventually(5*time.Second, func(context.Context) error {
		if !line.MatchString(p.Log()) {
			return errors.New("no moment is printed")
		}
		return nil
	})
	found := strings.TrimSpace(line.FindString(p.Log()))
	if err != nil || strings.Contains(p.Log(), "INSERT") {
		t.Fatalf("subscribe --command delete prints %q", p.Log())
	}
	a.replayed("before", moment{found, want}, schema)
	if out, code := a.Pgtee("replay", "--to", "FFFFFFFF/0", "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", a.targetURL()); code != 3 || !strings.Contains(out, "before the requested moment") {
		t.Errorf("a moment after what Kafka covers: exits with %d: %s", code, out)
	}
}

// replay --check looks and writes nothing.
func TestReplayCheck(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	a.Write("INSERT INTO t VALUES (1, 'one')")
	a.Drain()
	moment := a.Query("SELECT pg_current_wal_insert_lsn()::text")
	out, code := a.Pgtee("replay", "--check", "--to", moment, "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", a.targetURL(), "--origin", "off")
	if code != 0 || !strings.Contains(out, "ok       topic") || strings.Contains(out, "the target is as the source was") {
		t.Errorf("replay --check exits with %d:\n%s", code, out)
	}
	if got := a.rows(a.targetURL(), "t"); got != "" {
		t.Errorf("replay --check has written %q", got)
	}
	a.ExecTarget("DROP TABLE t")
	if out, code = a.Pgtee("replay", "--check", "--to", moment, "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", a.targetURL(), "--origin", "off"); code != 2 || !strings.Contains(out, "MISSING") {
		t.Errorf("without the table replay --check exits with %d:\n%s", code, out)
	}
}

// transaction runs SQL in a transaction through the proxy and returns its id.
func (a *applied) transaction(sql string) (xid string) {
	conn := a.dial(a.ProxyURL("postgres", "writer"))
	defer conn.Close(a.ctx)
	_, err := conn.Exec(a.ctx, "BEGIN; "+sql, pgx.QueryExecModeSimpleProtocol)
	a.must(err)
	a.must(conn.QueryRow(a.ctx, "SELECT pg_current_xact_id()::xid::text", pgx.QueryExecModeSimpleProtocol).Scan(&xid))
	_, err = conn.Exec(a.ctx, "COMMIT")
	a.must(err)
	return xid
}

// The batch with the transaction of --to is refused, for a unique value goes from row to row, and is written a second time: what comes before the
// transaction is not taken for what follows it.
func TestReplayToATransactionThatIsWrittenTwice(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE);")
	a.Write("INSERT INTO t VALUES (1, 1), (2, 2)")
	a.ExpectApplied()
	a.Write("INSERT INTO t VALUES (5, 5)")
	xid := a.transaction("UPDATE t SET u = 3 WHERE id = 1; UPDATE t SET u = 1 WHERE id = 2; UPDATE t SET u = 2 WHERE id = 1")
	want := a.rows(a.URL(), "t")
	a.Write("DELETE FROM t")
	a.Drain()
	out, code := a.Pgtee("replay", "--to", xid, "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", a.targetURL(), "--origin", "off")
	if got := a.rows(a.targetURL(), "t"); code != 0 || got != want || !strings.Contains(out, "change by change") {
		t.Errorf("exits with %d, t is %q and was %q:\n%s", code, got, want, out)
	}
}

// The target is never said to be what the source was while that is not certain: Kafka may lack transactions before the moment, or the target has later
// ones already.
func TestReplayToAMomentThatIsNotCertain(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	before := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	a.Write("INSERT INTO t VALUES (1, 'one')")
	a.Drain()
	replay := func(to, says string) {
		t.Helper()
		out, code := a.Pgtee("replay", "--to", to, "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", a.targetURL(), "--origin", "off")
		if code != 3 || !strings.Contains(out, says) || strings.Contains(out, "the target is as the source was") {
			t.Errorf("replay --to %s exits with %d:\n%s", to, code, out)
		}
	}
	replay(time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "others may follow before the moment")
	a.ExpectEqual("t")
	replay(before, "the target is already past the moment")
}

// Before the end of a copy the source had rows that are published later.
func TestReplayIntoACopy(t *testing.T) {
	a := newTarget(t)
	const schema = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);"
	a.Exec(schema, "INSERT INTO t SELECT i, repeat('v', 2000) FROM generate_series(1, 3000) AS i") // several chunks
	a.ExecTarget(schema)
	a.Setup()
	a.StartProxy()
	before := a.Query("SELECT pg_current_wal_insert_lsn()::text")
	a.publisher = a.process("publish", append(a.publishArgs(), "--snapshot", "initial", "--snapshot-rows-per-second", "500")...)
	a.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if n := len(a.Topic("public.t")); n == 0 || n > 2500 {
			return fmt.Errorf("%d rows are copied", n)
		}
		return nil
	}))
	a.Exec("SELECT pgtee.snapshot_pause('initial')") // what was read and not published is read again, later
	a.Drain()
	a.Write("UPDATE t SET v = 'meanwhile' WHERE id = 1")
	inside := a.Query("SELECT pg_current_wal_insert_lsn()::text")
	a.Exec("SELECT pgtee.snapshot_resume('initial')")
	a.awaitSnapshot()
	after := a.Query("SELECT pg_current_wal_insert_lsn()::text")
	want := a.rows(a.URL(), "t")
	a.Write("UPDATE t SET v = 'after' WHERE id = 2")
	dir := filepath.Join(t.TempDir(), "files")
	a.Archive(dir)
	for _, from := range [][]string{{"--kafka", a.broker.Address, "--prefix", a.prefix}, {"--from", dir}} {
		replay := func(to string) (string, int) {
			return a.Pgtee(append([]string{"replay", "--postgres", a.targetURL(), "--origin", "off", "--to", to}, from...)...)
		}
		a.ExecTarget("TRUNCATE t; DROP SCHEMA IF EXISTS pgtee CASCADE")
		for _, to := range []string{before, inside} {
			if out, code := replay(to); code != 3 || !strings.Contains(out, "the moment lies before the end of the copy initial") {
				t.Errorf("%s: replay to a moment before the end of the copy exits with %d:\n%s", from[0], code, out)
			}
		}
		if out, code := replay(after); code != 0 || !strings.Contains(out, "the target is as the source was before") {
			t.Errorf("%s: replay to a moment behind the copy exits with %d:\n%s", from[0], code, out)
		}
		if got := a.rows(a.targetURL(), "t"); got != want {
			t.Errorf("%s: replayed is\n%.500s\nand was\n%.500s", from[0], got, want)
		}
	}
}

// To replay to a transaction again changes nothing, and an id that no transaction has writes nothing.
func TestReplayAgainToATransaction(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	a.Write("INSERT INTO t VALUES (1, 'one')")
	xid := a.transaction("INSERT INTO t VALUES (2, 'two')")
	a.Write("DELETE FROM t")
	a.Drain()
	replay := func(to string) (string, int) {
		return a.Pgtee("replay", "--to", to, "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", a.targetURL(), "--origin", "off")
	}
	if out, code := replay("4000000000"); code != 3 || !strings.Contains(out, "transaction 4000000000 is not in the stream") || a.rows(a.targetURL(), "t") != "" {
		t.Errorf("an unknown transaction: exits with %d, t is %q:\n%s", code, a.rows(a.targetURL(), "t"), out)
	}
	for range 2 {
		if out, code := replay(xid); code != 0 || a.rows(a.targetURL(), "t") != "(1,one)\n(2,two)" {
			t.Errorf("exits with %d, t is %q:\n%s", code, a.rows(a.targetURL(), "t"), out)
		}
	}
	a.ExpectApplied()
	if out, code := replay(xid); code != 3 || !strings.Contains(out, "the target is already past the moment") {
		t.Errorf("after everything was applied: exits with %d:\n%s", code, out)
	}
}
