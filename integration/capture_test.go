package integration

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// ops are the operations in a table's topic, in their order: "cud".
func (r *runner) ops(table string) string {
	r.t.Helper()
	var ops strings.Builder
	for _, e := range r.Events(table) {
		ops.WriteString(e.Op)
	}
	return ops.String()
}

// startCapture sets up, publishes, and has the topic of mark.mark.
func (r *runner) startCapture(schema ...string) {
	r.t.Helper()
	r.Exec(append(schema, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")...)
	r.Setup()
	r.StartPublisher()
	r.Drain()
}

// session is a connection whose transaction a test leaves open.
func (r *runner) session(texts ...string) *pgx.Conn {
	r.t.Helper()
	conn := r.dial(r.URL())
	r.t.Cleanup(func() { conn.Close(context.Background()) })
	r.in(conn, texts...)
	return conn
}

func (r *runner) in(conn *pgx.Conn, texts ...string) {
	r.t.Helper()
	for _, sql := range texts {
		if _, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			r.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// captureVersions are the PostgreSQL versions that the capture is tried with: two, all of them by make capture.
func captureVersions() []string { return strings.Fields(cmp.Or(os.Getenv("CAPTURE"), "15 18")) }

// What people do to tables: no UPDATE or DELETE fails, and all of a table with an identity are in its topic.
func TestCapture(t *testing.T) {
	for _, version := range captureVersions() {
		major, _ := strconv.Atoi(version)
		for _, c := range []struct {
			name  string
			from  int // the first major version that it is for
			texts []string
			want  map[string]string // the operations in the topic of a table
		}{
			{"FULL and a stored generated column", 0, []string{
				"CREATE TABLE g (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED)", "INSERT INTO g VALUES (1, 1)",
				"ALTER TABLE g REPLICA IDENTITY FULL", "UPDATE g SET a = 2", "DELETE FROM g",
				"CREATE TABLE h (id int PRIMARY KEY, a int)", "ALTER TABLE h REPLICA IDENTITY FULL", "INSERT INTO h VALUES (1, 1)",
				"ALTER TABLE h ADD COLUMN twice int GENERATED ALWAYS AS (a * 2) STORED", "UPDATE h SET a = 2"},
				map[string]string{"public.g": "cud", "public.h": "cu"}},
			{"a partitioned table that is renamed", 0, []string{
				"CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE p_a PARTITION OF p FOR VALUES FROM (0) TO (100)", "INSERT INTO p VALUES (1)",
				"ALTER TABLE p RENAME TO q", "INSERT INTO q VALUES (2)", "CREATE SCHEMA other; ALTER TABLE q SET SCHEMA other", "INSERT INTO other.q VALUES (3)",
				"CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE p_b PARTITION OF p FOR VALUES FROM (0) TO (100)", "INSERT INTO p VALUES (1)", "DELETE FROM other.q"},
				map[string]string{"public.p": "cc", "public.q": "c", "other.q": "cddd"}},
			{"a schema that is renamed", 0, []string{
				"CREATE SCHEMA s; CREATE TABLE s.keyed (id int PRIMARY KEY); CREATE TABLE s.bare (id int)", "INSERT INTO s.keyed VALUES (1)", "INSERT INTO s.bare VALUES (1)",
				"ALTER SCHEMA s RENAME TO s2", "INSERT INTO s2.keyed VALUES (2)", "INSERT INTO s2.bare VALUES (2)", "DELETE FROM s2.keyed"},
				map[string]string{"s.keyed": "c", "s.bare": "c", "s2.keyed": "cdd", "s2.bare": "c"}},
			{"a partition that is detached concurrently", 0, []string{
				"CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE p_a PARTITION OF p FOR VALUES FROM (0) TO (100)", "INSERT INTO p VALUES (1)",
				"ALTER TABLE p DETACH PARTITION p_a CONCURRENTLY", "INSERT INTO p_a VALUES (2)", "DELETE FROM p_a"},
				map[string]string{"public.p": "c", "public.p_a": "cdd"}},
			{"SET UNLOGGED in a script", 0, []string{
				"CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY); CREATE TABLE d (id int PRIMARY KEY)",
				"BEGIN; ALTER TABLE a ADD COLUMN v int; COMMIT; ALTER TABLE b SET UNLOGGED",
				"/* ALTER TABLE x */ INSERT INTO a VALUES (1, 1); SELECT 'alter table y'; /* z */ ALTER TABLE a ADD COLUMN w int; ALTER TABLE c SET UNLOGGED",
				"DO $do$ BEGIN EXECUTE 'ALTER TABLE a ADD COLUMN x int; ALTER TABLE d SET UNLOGGED'; END $do$", "INSERT INTO b VALUES (1)"},
				map[string]string{"public.a": "c"}},
			{"a column of children that is dropped through the parent", 0, []string{
				"CREATE TABLE parent (id int, v text); CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent)", "INSERT INTO child VALUES (1, 'a')",
				"ALTER TABLE parent DROP COLUMN id", "UPDATE child SET v = 'b'"}, map[string]string{"public.child": "cu"}},
			{"partitions that come and go", 0, []string{
				"CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE p_a PARTITION OF p FOR VALUES FROM (0) TO (100)", "CREATE TABLE s (id int PRIMARY KEY)",
				"INSERT INTO p VALUES (1)", "INSERT INTO s VALUES (101)",
				"ALTER TABLE p ATTACH PARTITION s FOR VALUES FROM (100) TO (200)", "INSERT INTO s VALUES (102)", "UPDATE p SET id = 103 WHERE id = 101",
				"ALTER TABLE p DETACH PARTITION p_a", "INSERT INTO p_a VALUES (2)", "DELETE FROM p_a WHERE id = 1",
				"CREATE TABLE top (id int) PARTITION BY RANGE (id)", "ALTER TABLE top ATTACH PARTITION p FOR VALUES FROM (100) TO (300)", "INSERT INTO s VALUES (104)",
				"ALTER TABLE top DETACH PARTITION p", "INSERT INTO s VALUES (105)", "DELETE FROM p"},
				map[string]string{"public.p": "ccdccdddd", "public.p_a": "cd", "public.s": "c", "public.top": "c"}},
			{"FULL and a virtual generated column", 18, []string{
				"CREATE TABLE g (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2))", "INSERT INTO g VALUES (1, 1)", "UPDATE g SET a = 2",
				"ALTER TABLE g REPLICA IDENTITY FULL", "UPDATE g SET a = 3", "DELETE FROM g",
				"CREATE TABLE h (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2))", "INSERT INTO h VALUES (1, 1)",
				"ALTER TABLE h DROP CONSTRAINT h_pkey", "UPDATE h SET a = 2"},
				map[string]string{"public.g": "cu", "public.h": "c"}},
			{"a key with a stored generated column", 18, []string{
				"CREATE TABLE od (a int NOT NULL, c int NOT NULL, b text, g int GENERATED ALWAYS AS (c * 10) STORED, PRIMARY KEY (a, g))",
				"INSERT INTO od (a, c, b) VALUES (1, 1, 'one'), (1, 2, 'two')", "DELETE FROM od WHERE a = 1 AND c = 1"},
				map[string]string{"public.od": "ccd"}},
			{"a key with a stored generated column and FULL", 0, []string{
				"CREATE TABLE od (a int NOT NULL, c int NOT NULL, b text, g int GENERATED ALWAYS AS (c * 10) STORED, PRIMARY KEY (a, g)); ALTER TABLE od REPLICA IDENTITY FULL",
				"INSERT INTO od (a, c, b) VALUES (1, 1, 'one'), (1, 2, 'two')", "DELETE FROM od WHERE a = 1 AND c = 1"},
				map[string]string{"public.od": "ccd"}},
			{"a new partition without an identity", 0, []string{
				"CREATE TABLE m (at int, v text) PARTITION BY RANGE (at)", "CREATE TABLE m1 PARTITION OF m FOR VALUES FROM (0) TO (10)",
				"ALTER TABLE m REPLICA IDENTITY FULL; ALTER TABLE m1 REPLICA IDENTITY FULL", "INSERT INTO m VALUES (1, 'a')", "UPDATE m SET v = 'b'",
				"CREATE TABLE m2 PARTITION OF m FOR VALUES FROM (10) TO (20)", "UPDATE m SET v = 'c'", "INSERT INTO m VALUES (11, 'x')", "UPDATE m SET v = 'd' WHERE at = 11", "DELETE FROM m"},
				map[string]string{"public.m": "cuucd"}},
			{"a foreign partition", 0, []string{
				"CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
				"CREATE TABLE f (id int, v text) PARTITION BY RANGE (id)", "CREATE TABLE f1 PARTITION OF f (PRIMARY KEY (id)) FOR VALUES FROM (0) TO (10)",
				"CREATE FOREIGN TABLE f2 PARTITION OF f FOR VALUES FROM (10) TO (20) SERVER nowhere", "INSERT INTO f VALUES (1, 'a')", "UPDATE f1 SET v = 'b'", "DELETE FROM f1"},
				map[string]string{"public.f": "cud"}},
			{"a lost key", 0, []string{
				"CREATE TABLE l (id int PRIMARY KEY, v int)", "INSERT INTO l VALUES (1, 1)", "ALTER TABLE l DROP CONSTRAINT l_pkey", "UPDATE l SET v = 2",
				"ALTER TABLE l ADD PRIMARY KEY (id)", "UPDATE l SET v = 3", "ALTER TABLE l DROP COLUMN id", "UPDATE l SET v = 4", "DELETE FROM l",
				"CREATE TABLE i (id int NOT NULL, v int)", "CREATE UNIQUE INDEX i_id ON i (id)", "ALTER TABLE i REPLICA IDENTITY USING INDEX i_id", "INSERT INTO i VALUES (1, 0)",
				"DROP INDEX i_id", "UPDATE i SET v = 1", "DELETE FROM i"},
				map[string]string{"public.l": "cuuud", "public.i": "cud"}},
			{"a partitioned key that is lost and comes back", 0, []string{
				"CREATE TABLE p (id int, v int) PARTITION BY LIST (id)", "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)", "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
				"ALTER TABLE p ADD CONSTRAINT p_key PRIMARY KEY (id)", "INSERT INTO p VALUES (1, 1), (2, 2)", "ALTER TABLE p DROP CONSTRAINT p_key", "UPDATE p SET v = 3",
				"ALTER TABLE p ADD CONSTRAINT p_key PRIMARY KEY (id)", "DELETE FROM p WHERE id = 2", "UPDATE p SET id = 2", "DELETE FROM p",
				"DO $$ BEGIN ASSERT (SELECT string_agg(relreplident::text, '') FROM pg_class WHERE relname IN ('p', 'p1', 'p2')) = 'ddd'; END $$"},
				map[string]string{"public.p": "ccuuddcd"}},
			{"SET UNLOGGED and back", 0, []string{
				"CREATE TABLE stage (id int PRIMARY KEY)", "ALTER TABLE stage SET UNLOGGED", "INSERT INTO stage VALUES (1)", "ALTER TABLE stage SET LOGGED", "UPDATE stage SET id = 2",
				`CREATE SCHEMA "Odd S"; CREATE TABLE "Odd S"."T ""q""" (id int PRIMARY KEY)`, `alter  table if exists only "Odd S"."T ""q""" set  unlogged`},
				nil},
			{"session_replication_role", 0, []string{"SET session_replication_role = replica; CREATE TABLE silent (id int PRIMARY KEY)", "INSERT INTO silent VALUES (1)", "UPDATE silent SET id = 2", "DELETE FROM silent"},
				map[string]string{"public.silent": "cdcd"}},
			{"event triggers of others", 0, []string{
				"CREATE TABLE history (tag text)", "CREATE FUNCTION hist() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.history VALUES (tg_tag); END'",
				"CREATE FUNCTION guard() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN IF tg_tag LIKE ''%PUBLICATION%'' THEN RAISE ''ask a DBA''; END IF; END'",
				"CREATE EVENT TRIGGER a_guard ON ddl_command_start EXECUTE FUNCTION guard(); CREATE EVENT TRIGGER a_hist ON ddl_command_end EXECUTE FUNCTION hist()",
				"CREATE TABLE h (id int PRIMARY KEY, v int)", "INSERT INTO h VALUES (1, 1)", "UPDATE h SET v = 2", "ALTER TABLE h DROP CONSTRAINT h_pkey", "UPDATE h SET v = 3",
				"DROP EVENT TRIGGER a_guard; DROP EVENT TRIGGER a_hist", "DO $$ BEGIN ASSERT (SELECT string_agg(tag, ' ') FROM history) = 'CREATE TABLE ALTER TABLE'; END $$"},
				map[string]string{"public.h": "cuu"}},
			{"a copy of the catalog, or another system identifier", 0, []string{
				"CREATE TABLE old (id int PRIMARY KEY, v int)", "UPDATE pgtee.meta SET system_identifier = system_identifier + 1", "CREATE TABLE n (id int PRIMARY KEY, v int)", "INSERT INTO n VALUES (1, 0)",
				"UPDATE n SET v = 1", "ALTER TABLE n DROP CONSTRAINT n_pkey", "UPDATE n SET v = 2", "UPDATE pgtee.meta SET system_identifier = system_identifier - 1"},
				map[string]string{"public.n": "cuu"}},
		} {
			if major < c.from {
				continue
			}
			t.Run(fmt.Sprintf("PostgreSQL %d, %s", major, c.name), func(t *testing.T) {
				t.Parallel()
				r := newRunner(t, must(t, sharedBinary), postgresOf(t, version), "message")
				r.startCapture()
				r.Exec(c.texts...)
				r.Drain()
				for table, want := range c.want {
					if got := r.ops(table); got != want {
						t.Errorf("%s: %s, want %s", table, got, want)
					}
				}
			})
		}
	}
}

// A session whose transaction with DDL stays open, prepared ones included, keeps nobody waiting, and makes nobody lose anything.
func TestCaptureBesideOpenTransactions(t *testing.T) {
	for _, version := range captureVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t, must(t, sharedBinary), postgresOf(t, version), "message")
			r.startCapture("CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (id int PRIMARY KEY); CREATE SCHEMA a; CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY)")
			r.session("BEGIN", "ALTER SCHEMA a RENAME TO a2")
			for i := range 13 {
				r.session("BEGIN", fmt.Sprintf("CREATE TABLE open%d (id int PRIMARY KEY)", i))
			}
			r.session("BEGIN", "CREATE TABLE prepared (id int PRIMARY KEY)", "PREPARE TRANSACTION 'forgotten "+r.database+"'")
			b := r.session("SET statement_timeout = '1s'", "CREATE TABLE warm (id int)")
			began := time.Now()
			r.in(b, "CREATE TABLE b (id int PRIMARY KEY, v int)", "INSERT INTO b VALUES (1, 0)", "UPDATE b SET v = 1", "DELETE FROM b",
				"ALTER TABLE t DROP CONSTRAINT t_pkey", "INSERT INTO t VALUES (1, 0)", "UPDATE t SET v = 1", "ALTER TABLE u SET UNLOGGED", "INSERT INTO s.t VALUES (1)", "ALTER SCHEMA s RENAME TO s2", "INSERT INTO s2.t VALUES (2)")
			t.Logf("eleven statements beside fifteen open transactions: %s", time.Since(began))
			r.Exec("ROLLBACK PREPARED 'forgotten " + r.database + "'")
			r.Drain()
			if b, t1 := r.ops("public.b"), r.ops("public.t"); b != "cud" || t1 != "cu" {
				t.Errorf("b: %s, t: %s; want cud, cu; %s", b, t1, r.Query("SELECT coalesce(string_agg(x::text, E'\n'), '') FROM pgtee.tables(pgtee.published()) AS x"))
			}
			if s, s2 := r.ops("s.t"), r.ops("s2.t"); s != "c" || s2 != "c" {
				t.Errorf("s.t: %s, s2.t: %s; want c, c", s, s2)
			}
		})
	}
}

// A transaction that does not see the tables, keys and members of others drops keys, and updates.
func TestCaptureInAnOldSnapshot(t *testing.T) {
	for _, version := range captureVersions() {
		for _, level := range []string{"REPEATABLE READ", "SERIALIZABLE"} {
			t.Run(version+" "+level, func(t *testing.T) {
				t.Parallel()
				r := newRunner(t, must(t, sharedBinary), postgresOf(t, version), "message")
				r.startCapture("CREATE TABLE bare (id int NOT NULL, v int); CREATE TABLE keyed (id int PRIMARY KEY, v int); CREATE TABLE never (id int, v int)")
				old := r.session("BEGIN ISOLATION LEVEL "+level, "SELECT count(*) FROM mark.mark")
				r.Exec("CREATE TABLE x (id int PRIMARY KEY, v int)", "CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT",
					"ALTER TABLE bare ADD CONSTRAINT k PRIMARY KEY (id)", "ALTER TABLE keyed DROP CONSTRAINT keyed_pkey, ADD CONSTRAINT k2 PRIMARY KEY (id)")
				r.in(old, "ALTER TABLE x DROP CONSTRAINT x_pkey", "UPDATE x SET v = 1", "ALTER TABLE p DROP CONSTRAINT p_pkey", "UPDATE p SET v = 1", "ALTER TABLE bare ADD COLUMN w int, DROP CONSTRAINT k",
					"UPDATE bare SET v = 1", "ALTER TABLE keyed DROP CONSTRAINT k2", "UPDATE keyed SET v = 1", "ALTER TABLE never ADD COLUMN w int", "UPDATE never SET v = 1", "COMMIT")
				if full := r.Query("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relreplident = 'f'"); full != "bare keyed p1 x" {
					t.Errorf("REPLICA IDENTITY FULL: %s, want that of bare, keyed, p1 and x", full)
				}
				r.Exec("INSERT INTO x VALUES (1, 0)", "UPDATE x SET v = 1", "INSERT INTO p VALUES (1, 0)", "UPDATE p SET v = 1")
				r.Drain()
				if x, p := r.ops("public.x"), r.ops("public.p"); x != "cu" || p != "cu" {
					t.Errorf("x: %s, p: %s; want cu, cu", x, p)
				}
			})
		}
	}
}

// Lock orders that no application would meet without pgtee.
func TestCaptureMakesNoDeadlock(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Exec("CREATE TABLE t (id int PRIMARY KEY)")
	r.Setup()
	a := r.session("BEGIN", "CREATE TABLE a1 (id int PRIMARY KEY)")
	b := r.session("BEGIN", "ALTER TABLE t ADD COLUMN x int")
	waits := make(chan error, 1)
	go func() {
		_, err := a.Exec(r.ctx, "ALTER TABLE t ADD COLUMN y int", pgx.QueryExecModeSimpleProtocol)
		waits <- err
	}()
	r.must(harness.Eventually(10*time.Second, func(context.Context) error {
		if r.Query("SELECT count(*)::text FROM pg_locks WHERE NOT granted AND relation = 't'::regclass AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") != "1" {
			return fmt.Errorf("the first session does not wait yet")
		}
		return nil
	}))
	r.in(b, "CREATE TABLE b1 (id int PRIMARY KEY)", "COMMIT")
	r.must(<-waits)
	r.in(a, "COMMIT")
	const missing = "SELECT coalesce(string_agg(name, ' '), '') FROM pgtee.tables(pgtee.published()) WHERE NOT listed"
	if got := r.Query(missing); got != "" {
		t.Errorf("not listed: %s", got)
	}
}

// While DETACH CONCURRENTLY has not ended, the catalog has no ancestors of the partition: pgoutput crashes on a row of it, and takes the
// server along, where a publication of all tables is via root.
func TestCaptureOfAPendingDetach(t *testing.T) {
	for _, version := range captureVersions() {
		t.Run(version, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), postgresOf(t, version), "table")
			r.startCapture("CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
				"CREATE TABLE p_a PARTITION OF p FOR VALUES FROM (0) TO (100)", "CREATE TABLE p_b PARTITION OF p FOR VALUES FROM (100) TO (200)")
			reader := r.session("BEGIN", "SELECT count(*) FROM p") // DETACH waits for it
			r.Exec("INSERT INTO p VALUES (1), (101)")
			_, err := r.session("SET statement_timeout = '300ms'").Exec(r.ctx, "ALTER TABLE p DETACH PARTITION p_a CONCURRENTLY")
			if pending := r.Query("SELECT string_agg(inhrelid::regclass::text, ' ') FROM pg_inherits WHERE inhdetachpending"); err == nil || pending != "p_a" {
				t.Fatalf("%v, and the detachment of %q is pending, want that of p_a", err, pending)
			}
			r.Exec("INSERT INTO p_a VALUES (2, 2)", "UPDATE p_a SET v = 3 WHERE id = 2", "INSERT INTO p VALUES (102)")
			r.Drain()
			r.in(reader, "COMMIT") // which fails in a server that has crashed meanwhile
			r.Exec("ALTER TABLE p DETACH PARTITION p_a FINALIZE", "INSERT INTO p_a VALUES (3)", "DELETE FROM p_a WHERE id = 2", "TRUNCATE p")
			r.Drain()
			want := "ccct cucd"
			if version == "14" { // remembers what the partition was published as
				want = "cccuct cd"
			}
			if got := r.ops("public.p") + " " + r.ops("public.p_a"); got != want {
				t.Errorf("p and p_a: %s; want %s", got, want)
			}
		})
	}
}

// PostgreSQL lets partitions of an unlogged table be logged until 17: they are published as their own, in the stream and in a copy.
func TestCaptureOfAnUnloggedRoot(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)", "CREATE UNLOGGED TABLE u (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE m PARTITION OF u FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id)",
		"CREATE TABLE l PARTITION OF m FOR VALUES FROM (0) TO (50)", "CREATE TABLE k PARTITION OF u FOR VALUES FROM (100) TO (200)", "INSERT INTO u VALUES (1), (101)")
	r.Setup()
	r.StartSnapshot()
	r.Exec("INSERT INTO u VALUES (2), (102)", "DELETE FROM u")
	r.Drain()
	if m, k, l, u := r.ops("public.m"), r.ops("public.k"), r.ops("public.l"), r.ops("public.u"); m != "rcdd" || k != "rcdd" || l+u != "" {
		t.Errorf("m %s, k %s, l %s, u %s; want rcdd, rcdd and nothing", m, k, l, u)
	}
}

// Nothing of ours stays locked by a session that has run DDL, and nothing of ours is written, save for what a table was: a row that nobody waits for.
func TestDDLTakesNoLockOfOurs(t *testing.T) {
	for _, major := range []int{15, 18} {
		r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
		r.Setup()
		conn := r.session("BEGIN; CREATE TABLE t (id int PRIMARY KEY); ALTER TABLE t ADD COLUMN v int; DROP TABLE t")
		var locks string
		r.must(conn.QueryRow(r.ctx, `SELECT coalesce(string_agg(c.oid::regclass || ' ' || l.mode, ', '), '') FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation
			WHERE l.pid = pg_backend_pid() AND c.relnamespace = 'pgtee'::regnamespace`).Scan(&locks))
		if locks != "pgtee.was RowExclusiveLock" {
			t.Errorf("PostgreSQL %d: locks on %s, want that of a row in pgtee.was", major, locks)
		}
	}
}

// Where the event triggers were off, the publisher says what is missing and makes the topic right.
func TestMissedChangesAreMadeGood(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.startCapture()
			r.Exec("ALTER EVENT TRIGGER pgtee_ddl DISABLE", "CREATE TABLE late (id int PRIMARY KEY, v text)", "INSERT INTO late SELECT g, 'before' FROM generate_series(1, 500) AS g",
				"UPDATE late SET v = 'missed' WHERE id % 3 = 0; DELETE FROM late WHERE id % 7 = 0", "ALTER EVENT TRIGGER pgtee_ddl ENABLE ALWAYS")
			r.must(harness.Eventually(30*time.Second, func(context.Context) error {
				if ops := r.ops("public.late"); strings.Count(ops, "t") != 1 || strings.Count(ops, "r") != 429 {
					return fmt.Errorf("%d records, want one of op t, then 429 of op r", len(ops))
				}
				return nil
			}))
			r.Exec("UPDATE late SET v = 'after' WHERE id < 10", "DELETE FROM late WHERE id > 400")
			r.Drain()
			r.ExpectFolded("late", []string{"id"})
			for _, line := range []string{"from now on", "public.late", "published again"} {
				if !strings.Contains(r.publisher.Tail(200), line) {
					t.Errorf("the log does not say %q", line)
				}
			}
		})
	}
}

// A row filter or a column list that somebody sets for a table is taken back, and the table is published again.
func TestNarrowedTablesArePublishedWhole(t *testing.T) {
	for _, major := range []int{15, 18} {
		r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
		r.startCapture("CREATE TABLE f (id int PRIMARY KEY, v int); CREATE TABLE p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT")
		r.Exec("INSERT INTO f SELECT g, 0 FROM generate_series(1, 20) AS g", "INSERT INTO p SELECT g, 0 FROM generate_series(1, 20) AS g")
		r.Exec(`BEGIN; ALTER PUBLICATION pgtee_identity SET TABLE ONLY f WHERE (id = 1), ONLY p1 WHERE (id = 1), mark.mark; UPDATE f SET v = 1; UPDATE p SET v = 1; COMMIT`)
		r.must(harness.Eventually(30*time.Second, func(context.Context) error {
			if f, p := r.ops("public.f"), r.ops("public.p"); strings.Count(f, "r") != 20 || strings.Count(p, "r") != 20 {
				return fmt.Errorf("f: %s, p: %s", f, p)
			}
			return nil
		}))
		r.Exec("UPDATE f SET v = 2", "DELETE FROM p WHERE id > 2")
		// What somebody alters and corrects again, in one transaction, nobody can see afterwards.
		r.Exec(`BEGIN; ALTER PUBLICATION pgtee_identity SET (publish = 'update'); DELETE FROM f WHERE id = 3; ALTER PUBLICATION pgtee_identity SET (publish = 'update, delete'); COMMIT`)
		r.awaitRows("public.f", 20+19)
		r.Exec(`BEGIN; ALTER PUBLICATION pgtee_identity DROP TABLE ONLY f; UPDATE f SET v = 4; ALTER PUBLICATION pgtee_identity ADD TABLE ONLY f; COMMIT`)
		r.awaitRows("public.f", 20+19+19)
		r.Drain()
		r.ExpectFolded("f", []string{"id"})
		r.ExpectFolded("p", []string{"id"})
		if left := r.Query("SELECT count(*)::text FROM pg_publication_rel WHERE prqual IS NOT NULL"); left != "0" {
			t.Errorf("%s filters are left", left)
		}
	}
}

// awaitRows waits until snapshots have read this many rows of a table.
func (r *runner) awaitRows(topic string, rows int) {
	r.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if got := strings.Count(r.ops(topic), "r"); got != rows {
			return fmt.Errorf("%s: %d rows, want %d", topic, got, rows)
		}
		return nil
	}))
}

// The resync that takes the rows of a dropped partition back works for the last one, too.
func TestResyncWithoutPartitions(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.startCapture("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)")
	r.Exec("INSERT INTO p VALUES (1), (2)", "DROP TABLE p1", `INSERT INTO pgtee.signal VALUES ('afresh', 'resync', '{"data-collections": ["public.p"]}')`)
	r.AwaitSnapshots("afresh")
	r.Exec("CREATE TABLE p2 PARTITION OF p DEFAULT", "INSERT INTO p VALUES (3)")
	r.Drain()
	if ops := r.ops("public.p"); ops != "cctc" {
		t.Errorf("operations %s, want cctc", ops)
	}
}

// A keyless table gets a key, and a table comes back from being unlogged: what was changed before comes afresh.
func TestTableThatGetsAnIdentityIsPublishedAfresh(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.startCapture()
	r.Exec("CREATE TABLE k (id int, v text)", "INSERT INTO k SELECT g, 'a' FROM generate_series(1, 50) AS g", "UPDATE k SET v = 'missed'; DELETE FROM k WHERE id > 40",
		"ALTER TABLE k ADD PRIMARY KEY (id)", "UPDATE k SET v = 'seen' WHERE id = 1",
		"CREATE TABLE u (id int PRIMARY KEY)", "INSERT INTO u VALUES (1)", "ALTER TABLE u SET UNLOGGED", "DELETE FROM u; INSERT INTO u VALUES (2)", "ALTER TABLE u SET LOGGED",
		"CREATE TABLE e (id int PRIMARY KEY)", "INSERT INTO e VALUES (1)", "ALTER TABLE e SET UNLOGGED", "DELETE FROM e", "ALTER TABLE e SET LOGGED",
		"BEGIN; CREATE UNLOGGED TABLE made (id int PRIMARY KEY); INSERT INTO made VALUES (1); ALTER TABLE made SET LOGGED; INSERT INTO made VALUES (2); COMMIT",
		"BEGIN; CREATE TABLE twice (id int PRIMARY KEY); ALTER TABLE twice SET UNLOGGED; INSERT INTO twice VALUES (1); ALTER TABLE twice SET LOGGED; COMMIT",
		"CREATE UNLOGGED TABLE bare (id int); INSERT INTO bare VALUES (1); CREATE FUNCTION relog() RETURNS void LANGUAGE sql AS 'ALTER TABLE bare SET LOGGED'", "SELECT relog()",
		"BEGIN; CREATE TABLE numbered AS SELECT 'a' AS v; ALTER TABLE numbered ADD COLUMN id serial PRIMARY KEY; COMMIT",
		"BEGIN; CREATE TABLE empty (v text); ALTER TABLE empty ADD COLUMN id serial PRIMARY KEY; INSERT INTO empty VALUES ('a'); COMMIT")
	r.must(harness.Eventually(30*time.Second, func(context.Context) error {
		for table, want := range map[string]string{"made": "ctrr", "twice": "tr", "bare": "tr", "numbered": "ctr"} {
			if got := r.ops("public." + table); got != want {
				return fmt.Errorf("%s: %s, want %s", table, got, want)
			}
		}
		if k, u, e := r.ops("public.k"), r.ops("public.u"), r.ops("public.e"); strings.Count(k, "r") != 40 && strings.Count(k, "r") != 39 || u != "ctr" || e != "ct" {
			return fmt.Errorf("k: %s, u: %s, e: %s", k, u, e)
		}
		return nil
	}))
	r.Drain()
	r.ExpectFolded("k", []string{"id"})
	r.ExpectFolded("u", []string{"id"})
	if got := r.ops("public.empty"); got != "c" {
		t.Errorf("empty: %s, want c", got)
	}
}

func TestOnMissed(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	r.Setup()
	start := func(policy string) {
		r.publisher = r.process("publish", append(r.publishArgs(), "--on-missed", policy)...)
	}
	start("halt")
	r.Drain()
	r.Exec("CREATE TABLE k (id int)", "INSERT INTO k VALUES (1), (9)", "DELETE FROM k WHERE id = 9", "ALTER TABLE k ADD PRIMARY KEY (id)")
	if fault := r.expectHalt("changes of tables are not in the stream", "--on-missed resync"); fault != "" {
		t.Fatal(fault)
	}
	start("warn")
	r.Exec("UPDATE k SET id = 2")
	r.Drain()
	if got := r.ops("public.k"); got != "ccdc" {
		t.Errorf("with warn: %s, want ccdc", got)
	}
	if out, code := r.Pgtee("snapshot", "start", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot, "--table", "public.k", "--resync", "--wait"); code != 0 {
		t.Fatalf("the cure of changes-missed: exit code %d: %s", code, out)
	}
	r.Drain()
	r.ExpectFolded("k", []string{"id"})
}

// The tables of an extension are captured as others are.
func TestCaptureOfAnExtension(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "message")
	folder := filepath.Join(r.dir, "share", "extension")
	r.must(os.MkdirAll(folder, 0o755))
	for dir := folder; dir != filepath.Dir(r.dir); dir = filepath.Dir(dir) { // the server runs as another user
		r.must(os.Chmod(dir, 0o755))
	}
	r.must(os.WriteFile(filepath.Join(folder, "zones.control"), []byte("default_version = '1.0'\n"), 0o644))
	r.must(os.WriteFile(filepath.Join(folder, "zones--1.0.sql"), []byte("CREATE TABLE zone (id int PRIMARY KEY, n text); INSERT INTO zone VALUES (1, 'a');\n"), 0o644))
	r.startCapture()
	r.Exec(fmt.Sprintf("SET extension_control_path = '%s'; CREATE EXTENSION zones; UPDATE zone SET n = 'b'; DELETE FROM zone", filepath.Dir(folder)))
	r.Drain()
	if got := r.ops("public.zone"); got != "cud" {
		t.Errorf("%s, want cud", got)
	}
}

// A migration that makes many tables, and stays open, leaves publications to others.
func TestManyTablesInOneTransaction(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.startCapture()
	var migration []string
	for i := range 40 {
		migration = append(migration, fmt.Sprintf("CREATE TABLE many%d (id int PRIMARY KEY)", i))
	}
	r.session(append([]string{"BEGIN"}, migration...)...)
	r.Exec("CREATE TABLE beside (id int PRIMARY KEY)", "INSERT INTO beside VALUES (1)", "UPDATE beside SET id = 2")
	r.Drain()
	if got := r.ops("public.beside"); got != "cdc" {
		t.Errorf("%s, want cdc", got)
	}
}

// What a hostile reader of the triggers tried.
func TestCaptureOfTheUnusual(t *testing.T) {
	for _, version := range captureVersions() {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r := newRunner(t, must(t, sharedBinary), postgresOf(t, version), "message")
			r.startCapture()
			r.Exec("BEGIN; CREATE TABLE load (id int, v int); INSERT INTO load VALUES (1, 1), (1, 2), (2, 3); DELETE FROM load WHERE v = 2; UPDATE load SET v = 9 WHERE id = 2; ALTER TABLE load ADD PRIMARY KEY (id); COMMIT",
				"CREATE TABLE a (x int); CREATE TABLE k (c a PRIMARY KEY, v int); INSERT INTO k VALUES (ROW(1), 1)", "DROP TABLE a CASCADE", "UPDATE k SET v = 2",
				"CREATE TABLE b (id int, c int); CREATE VIEW w AS SELECT c FROM b; CREATE TABLE y (k w PRIMARY KEY, v int); INSERT INTO y VALUES (ROW(1), 1)", "ALTER TABLE b DROP COLUMN c CASCADE", "UPDATE y SET v = 2",
				"CREATE TABLE s (id int PRIMARY KEY); CREATE FUNCTION bare() RETURNS void LANGUAGE plpgsql AS 'BEGIN ALTER TABLE s SET UNLOGGED; END'", "SELECT bare()",
				"CREATE TABLE s2 (id int PRIMARY KEY)", "ALTER TABLE/* a; */s2 SET -- why; because\n UNLOGGED",
				"CREATE TABLE f (id int PRIMARY KEY, v int); INSERT INTO f VALUES (1, 1)", "ALTER TABLE f DROP CONSTRAINT f_pkey", "ALTER TABLE f REPLICA IDENTITY FULL", "ALTER TABLE f ADD PRIMARY KEY (id)",
				"DO $$ BEGIN ASSERT (SELECT relreplident = 'f' FROM pg_class WHERE relname = 'f'); END $$",
				"CREATE FUNCTION full_identity(t regclass) RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE format(''ALTER TABLE %s REPLICA IDENTITY FULL'', t); END'",
				"CREATE TABLE f2 (id int PRIMARY KEY); ALTER TABLE f2 DROP CONSTRAINT f2_pkey", "SELECT full_identity('f2')", "ALTER TABLE f2 ADD PRIMARY KEY (id)",
				"DO $$ BEGIN ASSERT (SELECT relreplident = 'f' FROM pg_class WHERE relname = 'f2'); END $$",
				"CREATE UNLOGGED TABLE bulk (id int); INSERT INTO bulk VALUES (1), (2)", "ALTER TABLE bulk SET LOGGED",
				"CREATE TABLE orders (id int PRIMARY KEY, v int); INSERT INTO orders VALUES (1, 1)", "ALTER TABLE orders ADD y int /* do not set unlogged */", "UPDATE orders SET y = 1")
			r.must(harness.Eventually(30*time.Second, func(context.Context) error {
				if load, bulk := r.ops("public.load"), r.ops("public.bulk"); load != "ccctrr" || bulk != "trr" {
					return fmt.Errorf("load: %s, want ccctrr; bulk: %s, want trr", load, bulk)
				}
				return nil
			}))
			r.Drain()
			for table, want := range map[string]string{"public.k": "cu", "public.y": "cu", "public.orders": "cu"} {
				if got := r.ops(table); got != want {
					t.Errorf("%s: %s, want %s", table, got, want)
				}
			}
			if got := r.Query("SELECT count(*)::text FROM pg_class WHERE relname IN ('s', 's2') AND relpersistence = 'u'"); got != "2" {
				t.Errorf("%s tables are unlogged, want 2", got)
			}
		})
	}
}

// A statement that cannot be told in UTF-8 is captured all the same.
func TestCaptureOfWhatCannotBeTold(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	admin := r.dial(r.server.URL("postgres"))
	defer admin.Close(r.ctx)
	r.in(admin, "DROP DATABASE "+r.database, "CREATE DATABASE "+r.database+" ENCODING 'WIN1252' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
	r.Setup()
	conn := r.dial(r.URL() + "&client_encoding=WIN1252")
	defer conn.Close(r.ctx)
	r.in(conn, "CREATE TABLE t (id int PRIMARY KEY /* \x81 */, v int)", "INSERT INTO t VALUES (1, 1)", "UPDATE t SET v = 2", "ALTER TABLE t DROP CONSTRAINT t_pkey /* \x81 */", "UPDATE t SET v = 3")
	if got, want := r.RecordedDDL(), "CREATE TABLE: table public.t, index public.t_pkey\nALTER TABLE: table public.t (public.t widened)"; got != want {
		t.Errorf("recorded:\n%s\nwant:\n%s", got, want)
	}
	if got := r.Query("SELECT relreplident::text FROM pg_class WHERE relname = 't'"); got != "f" {
		t.Errorf("identity %s, want f", got)
	}
}

// A reader of pgtee.meta, such as pg_dump, and a second setup keep nobody's DDL waiting.
func TestSetupAgainBesideAReader(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Exec("CREATE TABLE t (id int PRIMARY KEY, v int)")
	r.Setup()
	r.session("BEGIN", "LOCK TABLE pgtee.meta IN ACCESS SHARE MODE")
	r.Setup()
	r.Exec("SET statement_timeout = '1s'; ALTER TABLE t DROP CONSTRAINT t_pkey; UPDATE t SET v = 1")
	if got := r.RecordedDDL(); strings.Count(got, "\n") != 0 {
		t.Errorf("recorded, beside the one ALTER TABLE:\n%s", got)
	}
}

// A publication of our name that somebody else has made is not ours.
func TestPublicationOfAStranger(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Setup()
	r.Exec("DO $$ BEGIN CREATE ROLE stranger LOGIN; EXCEPTION WHEN duplicate_object THEN END $$", "GRANT CREATE ON DATABASE "+r.database+" TO stranger", "DROP PUBLICATION pgtee_identity_15")
	conn := r.dial(r.DirectURL("stranger", "x"))
	defer conn.Close(r.ctx)
	r.in(conn, "CREATE PUBLICATION pgtee_identity_0 WITH (publish = 'insert')", "CREATE PUBLICATION pgtee_identity_15 WITH (publish = 'insert')")
	for i := range 20 {
		r.Exec(fmt.Sprintf("CREATE TABLE t%d (id int PRIMARY KEY)", i))
	}
	if got := r.Query("SELECT count(*)::text FROM pg_publication_rel AS m JOIN pg_publication AS p ON p.oid = m.prpubid WHERE p.pubname IN ('pgtee_identity_0', 'pgtee_identity_15')"); got != "0" {
		t.Errorf("%s tables are in a stranger's publications", got)
	}
}
