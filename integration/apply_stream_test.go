package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// DDL of the source is run on the target in order, between the rows that it stands between.
func TestApplyDDL(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v text);")
	a.Write("INSERT INTO t VALUES (1, 'one')",
		"ALTER TABLE t ADD COLUMN n int NOT NULL DEFAULT 5", "INSERT INTO t VALUES (2, 'two', 6)",
		"ALTER TABLE t RENAME COLUMN v TO w", "UPDATE t SET w = 'changed' WHERE id = 1",
		"BEGIN; CREATE SCHEMA s; CREATE TABLE s.made (id int PRIMARY KEY, d date); INSERT INTO s.made VALUES (1, '2024-02-29'); COMMIT",
		"CREATE TABLE copied AS SELECT id, w FROM t", "CREATE TABLE a (x int PRIMARY KEY); CREATE TABLE b (y int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (2)",
		"CREATE FUNCTION make() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE by_function (id int PRIMARY KEY, t text NOT NULL); END $$", "SELECT make()", "INSERT INTO by_function VALUES (1, 'x')",
		"CREATE TABLE gone (id int PRIMARY KEY)", "INSERT INTO gone VALUES (1)", "DROP TABLE gone", "CREATE INDEX CONCURRENTLY ON t (w)",
		"CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE p_a PARTITION OF p FOR VALUES FROM (0) TO (100)", "INSERT INTO p VALUES (1)",
		"ALTER TABLE p DETACH PARTITION p_a CONCURRENTLY", "INSERT INTO p_a VALUES (2)",
		"BEGIN; ALTER TABLE t ALTER COLUMN n TYPE bigint; INSERT INTO t VALUES (3, 'three', 9000000000); COMMIT")
	out, code := a.Apply()
	if code != 3 || !strings.Contains(out, "ALTER TABLE of the source") || !strings.Contains(out, "ADD COLUMN n int") || !strings.Contains(out, "--ddl apply") {
		t.Fatalf("--ddl halt: exits with %d:\n%s", code, out)
	}
	if got := a.rows(a.targetURL(), "t"); got != "(1,one)" {
		t.Errorf("before the DDL t is %q", got)
	}
	a.ExpectApplied("--ddl", "apply", "--ddl-as-superuser")
	a.ExpectEqual("t", "s.made", "copied", "a", "b", "by_function", "p", "p_a")
	if got := a.valueAt(a.targetURL(), "SELECT (to_regclass('gone') IS NULL)::text || ' ' || (SELECT count(*) FROM pg_indexes WHERE tablename = 't')"); got != "true 2" {
		t.Errorf("the dropped table is gone, and the index is there: %q", got)
	}
}

// DDL of tables that are left out needs nothing in the target, and takes nothing from that of the others.
func TestApplyDDLOfOthers(t *testing.T) {
	a := newApplied(t, "")
	a.Write("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE other (id serial PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text)",
		"INSERT INTO a VALUES (1)", "INSERT INTO other VALUES (2)", "INSERT INTO b VALUES (3)",
		"CREATE INDEX ON other (v); CREATE INDEX ON b (v)", "CREATE TRIGGER mine BEFORE UPDATE ON other FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()")
	a.ExpectApplied("--ddl", "apply", "--ddl-as-superuser", "--exclude-tables", "other")
	a.ExpectEqual("a", "b")
	if got := a.valueAt(a.targetURL(), "SELECT coalesce(to_regclass('other')::text, 'none') || ' ' || (SELECT count(*) FROM pg_indexes WHERE tablename = 'b')"); got != "none 2" {
		t.Errorf("the table that is left out: %s", got)
	}
}

// A second applier takes over and the first one ends; a standby waits until it is gone.
func TestApplyTakesOver(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY);")
	a.Drain()
	first := a.process("apply", a.applyArgs()...)
	a.awaitMark()
	standby := a.process("apply", a.applyArgs("--standby")...)
	a.must(harness.Eventually(20*time.Second, func(context.Context) error {
		if !strings.Contains(standby.Log(), "standing by") {
			return fmt.Errorf("the standby says %q", standby.Log())
		}
		return nil
	}))
	second := a.process("apply", a.applyArgs()...)
	if code, err := first.Wait(20 * time.Second); err != nil || code != 3 || !strings.Contains(first.Tail(1), "fenced off: another applier has taken over") {
		t.Errorf("the first exits with %d (%v): %s", code, err, first.Tail(3))
	}
	a.Write("INSERT INTO t VALUES (1)")
	a.awaitInTarget("SELECT EXISTS (SELECT FROM t WHERE id = 1)::text")
	second.Kill()
	a.Write("INSERT INTO t VALUES (2)")
	a.awaitInTarget("SELECT EXISTS (SELECT FROM t WHERE id = 2)::text")
	a.Stop(standby)
	a.ExpectEqual("t")
}

// A table gets another key, and loses it, in the middle of a batch.
func TestApplyOtherKeys(t *testing.T) {
	a := newApplied(t, `CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL UNIQUE, v text);
CREATE SCHEMA "sales.eu"; CREATE SCHEMA sales; CREATE TABLE "sales.eu".orders (id int PRIMARY KEY, v text); CREATE TABLE sales."eu.orders" (id int PRIMARY KEY, v text);`)
	a.Write(`INSERT INTO "sales.eu".orders VALUES (1, 'x')`, `INSERT INTO sales."eu.orders" VALUES (2, 'y')`) // without quotes the names are equal
	a.Write("INSERT INTO t SELECT i, 100 + i, 'v' FROM generate_series(1, 20) AS i", "UPDATE t SET v = 'w' WHERE id < 5", "DELETE FROM t WHERE id = 9",
		"ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (u)", "UPDATE t SET v = 'x' WHERE u > 110", "UPDATE t SET id = -id WHERE u = 112", "DELETE FROM t WHERE u = 113",
		"ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t REPLICA IDENTITY FULL", "UPDATE t SET v = 'y' WHERE u > 115", "DELETE FROM t WHERE u = 116", "INSERT INTO t VALUES (50, 500, 'z')",
		"ALTER TABLE t ADD PRIMARY KEY (id)", "UPDATE t SET v = 'last' WHERE id = 50",
		"ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (u, id)", "UPDATE t SET v = 'two' WHERE u = 500", "ALTER TABLE t DROP CONSTRAINT t_pkey; ALTER TABLE t ADD PRIMARY KEY (u)",
		"UPDATE t SET v = 'one' WHERE u = 500", "DELETE FROM t WHERE u = 101")
	a.ExpectApplied("--ddl", "ignore")
	a.ExpectEqual("t", `"sales.eu".orders`, `sales."eu.orders"`)
}

// A client may write what Debezium writes for an unchanged value; real unchanged values are beside it.
func TestApplyPlaceholdersOfClients(t *testing.T) {
	const schema = `CREATE TABLE %[1]s (id int PRIMARY KEY, v text, b bytea, tags text[], n int[], doc json, big text);
ALTER TABLE %[1]s ALTER COLUMN big SET STORAGE EXTERNAL; ALTER TABLE %[1]s ALTER COLUMN v SET STORAGE EXTERNAL;
`
	for _, format := range []string{"json", "json-schema"} {
		t.Run(format, func(t *testing.T) {
			a := newApplied(t, fmt.Sprintf(schema, "t")+fmt.Sprintf(schema, "bare")+"ALTER TABLE bare DROP CONSTRAINT bare_pkey; ALTER TABLE bare REPLICA IDENTITY FULL;", "--format", format)
			for _, table := range []string{"t", "bare"} {
				a.Write("INSERT INTO "+table+" SELECT i, repeat('v', 10000), 'b', '{x}', '{1}', '{}', repeat('x', 10000) FROM generate_series(1, 4) AS i",
					"INSERT INTO "+table+" (id, v) VALUES (5, '__debezium_unavailable_value')",
					"UPDATE "+table+" SET b = '__debezium_unavailable_value', tags = '{__debezium_unavailable_value}' WHERE id = 1",
					"UPDATE "+table+" SET v = '__debezium_unavailable_value' WHERE id = 2", "UPDATE "+table+" SET v = 'X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==' WHERE id = 3",
					"UPDATE "+table+` SET doc = '{"__debezium_unavailable_value":"__debezium_unavailable_value"}', n = (SELECT array_agg(ascii(c)) FROM regexp_split_to_table('__debezium_unavailable_value', '') AS c) WHERE id = 4`,
					"UPDATE "+table+" SET id = 6 WHERE id = 5", "UPDATE "+table+" SET tags = '{y}' WHERE id = 2")
			}
			a.ExpectApplied()
			a.ExpectEqual("t", "bare")
		})
	}
}

// The rows of a snapshot, and what the stream does to them meanwhile.
func TestApplySnapshot(t *testing.T) {
	const schema = `CREATE TABLE t (id int PRIMARY KEY, v text, big text); ALTER TABLE t ALTER COLUMN big SET STORAGE EXTERNAL; CREATE TABLE bare (a int);`
	a := newTarget(t)
	whole := schema + "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);"
	a.Exec(whole, "INSERT INTO t SELECT i, 'old', repeat(md5(i::text), 100) FROM generate_series(1, 3000) AS i", "INSERT INTO bare SELECT generate_series(1, 100)")
	a.ExecTarget(whole)
	a.Setup()
	a.StartProxy()
	a.Write("UPDATE t SET v = 'early' WHERE id % 5 = 0", "DELETE FROM t WHERE id % 50 = 0") // before the snapshot, in the stream
	a.publisher = a.process("publish", append(a.publishArgs(), "--snapshot", "initial", "--snapshot-rows-per-second", "3000")...)
	a.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if len(a.Topic("progress")) == 0 {
			return fmt.Errorf("the publisher has not begun")
		}
		return nil
	}))
	applier := a.process("apply", a.applyArgs()...)
	for range 20 {
		a.Write("UPDATE t SET v = v || '+' WHERE id IN (SELECT 1 + (random() * 2999)::int FROM generate_series(1, 20))",
			"DELETE FROM t WHERE id = 1 + (random() * 2999)::int", "INSERT INTO t SELECT 10000 + (random() * 1000000)::int, 'new', 'x' ON CONFLICT DO NOTHING",
			"UPDATE t SET id = 20000 + id WHERE id = 1 + (random() * 2999)::int")
	}
	a.awaitSnapshot()
	a.Drain()
	a.awaitMark()
	if !applier.Running() {
		t.Fatalf("the applier has ended: %s", applier.Tail(5))
	}
	a.ExpectEqual("t", "bare")
	a.Write("UPDATE t SET v = 'after'")
	a.ExecTarget("DELETE FROM t WHERE id = (SELECT min(id) FROM t)")
	a.Write("UPDATE t SET v = 'conflict'")
	if code, err := applier.Wait(20 * time.Second); err != nil || code != 3 {
		t.Errorf("exits with %d (%v)", code, err)
	}
	if !strings.Contains(applier.Log(), "conflict update_missing") {
		t.Errorf("after the snapshot a missing row is a conflict: %s", applier.Tail(5))
	}
}

// The id of a resync may be used again: each empties the table for the rows that follow.
func TestApplyResyncsOfOneID(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (v int);")
	for n := range 2 {
		a.Write("INSERT INTO t VALUES (1)")
		a.Exec(`INSERT INTO pgtee.signal VALUES ('mine', 'resync', '{"data-collections": ["public.t"]}')`)
		a.must(harness.Eventually(30*time.Second, func(context.Context) error {
			read := 0
			for _, e := range a.Events("public.t") {
				if e.Op == "r" {
					read++
				}
			}
			if read != 1+2*n {
				return fmt.Errorf("resync %d: %d rows are read", n, read)
			}
			return nil
		}))
	}
	a.awaitSnapshot()
	a.ExpectApplied()
	a.ExpectEqual("t")
}

// awaitSnapshot waits until the publisher has finished its copies.
func (a *applied) awaitSnapshot() {
	a.t.Helper()
	a.must(harness.Eventually(60*time.Second, func(context.Context) error {
		records := a.Topic("progress")
		if len(records) == 0 {
			return fmt.Errorf("no progress record")
		}
		var p struct {
			Snapshots struct{ Copies, Finished []json.RawMessage }
		}
		if err := json.Unmarshal(records[len(records)-1].Value, &p); err != nil {
			return err
		}
		if len(p.Snapshots.Copies) > 0 || len(p.Snapshots.Finished) == 0 {
			return fmt.Errorf("%d copies are left", len(p.Snapshots.Copies))
		}
		return nil
	}))
}

// awaitMark waits until the last mark is in the target.
func (a *applied) awaitMark() {
	a.t.Helper()
	a.awaitInTarget(fmt.Sprintf("SELECT EXISTS (SELECT FROM mark.mark WHERE id = %d)::text", a.marker))
}

// awaitInTarget waits until sql, asked of the target, is true.
func (a *applied) awaitInTarget(sql string) {
	a.t.Helper()
	a.must(harness.Eventually(60*time.Second, func(context.Context) error {
		if got := a.valueAt(a.targetURL(), sql); got != "true" {
			return fmt.Errorf("%s: %s", sql, got)
		}
		return nil
	}))
}

// A table and those that inherit from it have rows of their own: what the source does to one is not done to the others.
func TestApplyInheritance(t *testing.T) {
	a := newApplied(t, `CREATE TABLE p (id int PRIMARY KEY, v text); CREATE TABLE c (PRIMARY KEY (id)) INHERITS (p);
		CREATE TABLE bare (v text); ALTER TABLE bare REPLICA IDENTITY FULL; CREATE TABLE bare_c () INHERITS (bare); ALTER TABLE bare_c REPLICA IDENTITY FULL;`)
	tables := []string{"ONLY p", "c", "ONLY bare", "bare_c"}
	a.Write("INSERT INTO p SELECT i, 'p' FROM generate_series(1, 4) AS i", "INSERT INTO c SELECT i, 'c' FROM generate_series(1, 4) AS i",
		"INSERT INTO bare_c VALUES ('x')", "INSERT INTO bare VALUES ('x'), ('y')")
	a.ExpectApplied()
	a.Write("UPDATE ONLY p SET v = 'q' WHERE id = 1", "DELETE FROM ONLY p WHERE id = 2", "UPDATE c SET v = 'd' WHERE id = 3", "DELETE FROM c WHERE id = 4", "DELETE FROM ONLY bare WHERE v = 'x'")
	a.ExpectApplied()
	a.ExpectEqual(tables...)
	a.Write("TRUNCATE ONLY p", "TRUNCATE ONLY bare")
	a.ExpectApplied()
	a.ExpectEqual(tables...)
}

// A column that the source has filled with values of its own is not filled with others in the target.
func TestApplyDDLFillsNoColumn(t *testing.T) {
	for _, c := range []struct{ add, halts string }{
		{"id bigserial PRIMARY KEY", "would fill id of table public.t"},
		{"id int GENERATED BY DEFAULT AS IDENTITY", "would fill id of table public.t"},
		{"u uuid DEFAULT gen_random_uuid(), ADD COLUMN n int DEFAULT 1", "would fill u of table public.t"},
		{"at timestamptz DEFAULT CURRENT_TIMESTAMP, ADD COLUMN d double precision DEFAULT random() * 2", "would fill at, d of table public.t"},
		{"n int, ALTER COLUMN v TYPE text USING v || Random ()", "would fill a column (USING random()) of table public.t"},
		{"n int, ALTER v SET DATA TYPE text USING v || current_timestamp", "would fill a column (USING current_timestamp) of table public.t"},
		{"x chance", "would fill x of table public.t"},
		{"a int DEFAULT 1 + 2, ADD COLUMN b text NOT NULL DEFAULT upper('now()'), ADD COLUMN c int[] DEFAULT '{1}', ADD COLUMN d int GENERATED ALWAYS AS (length(v)) STORED", ""},
		{"n int, ALTER COLUMN v TYPE text USING upper(v)", ""},
	} {
		t.Run(c.add, func(t *testing.T) {
			t.Parallel()
			a := newApplied(t, "CREATE DOMAIN chance AS float8 DEFAULT random(); CREATE TABLE t (v text); CREATE TABLE empty (v text); ALTER TABLE t REPLICA IDENTITY FULL; ALTER TABLE empty REPLICA IDENTITY FULL;")
			a.Write("INSERT INTO t VALUES ('b'), ('a')")
			a.ExpectApplied()
			a.Write("ALTER TABLE empty ADD COLUMN "+c.add, "INSERT INTO empty (v) VALUES ('x')")
			a.ExpectApplied("--ddl", "apply", "--ddl-as-superuser")
			a.ExpectEqual("empty")
			a.Write("ALTER TABLE t ADD COLUMN " + c.add)
			out, code := a.Apply("--ddl", "apply", "--ddl-as-superuser")
			if c.halts == "" {
				if code != 0 {
					t.Fatalf("apply exits with %d:\n%s", code, out)
				}
				a.ExpectEqual("t")
				return
			}
			if code != 3 || !strings.Contains(out, c.halts) || !strings.Contains(out, `'resync', '{"data-collections": ["public.t"]}'`) {
				t.Errorf("apply exits with %d:\n%s", code, out)
			}
			if rows := a.rows(a.targetURL(), "t"); rows != "(a)\n(b)" {
				t.Errorf("the target has %q", rows)
			}
		})
	}
}

// A copy that is requested while the applier runs, or while it does not, may follow changes of its rows.
func TestApplyRequestedCopy(t *testing.T) {
	a := newTarget(t)
	const schema = "CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);"
	a.Exec(schema, "INSERT INTO t SELECT i, repeat('v', 2000) FROM generate_series(1, 3000) AS i")
	a.ExecTarget(schema)
	a.Setup()
	a.StartProxy()
	a.publisher = a.process("publish", append(a.publishArgs(), "--snapshot-rows-per-second", "500")...)
	a.ExpectApplied()
	applier := a.process("apply", a.applyArgs()...)
	a.Drain()
	a.awaitMark()
	read := func() (rows int) {
		for _, e := range a.Events("public.t") {
			if e.Op == "r" {
				rows++
			}
		}
		return rows
	}
	copy := func(id string) {
		t.Helper()
		before := read()
		a.Exec("INSERT INTO pgtee.signal VALUES ('" + id + `', 'execute-snapshot', '{"data-collections": ["public.t"]}')`)
		a.must(harness.Eventually(30*time.Second, func(context.Context) error {
			if n := read() - before; n == 0 || n > 2000 {
				return fmt.Errorf("%d rows are copied", n)
			}
			return nil
		}))
		a.Exec("SELECT pgtee.snapshot_pause('" + id + "')")
		a.Drain()
		a.Write("UPDATE t SET v = v || '+'", "DELETE FROM t WHERE id % 10 = 0", "UPDATE t SET id = -id WHERE id % 10 = 1")
		a.Drain()
		a.Exec("SELECT pgtee.snapshot_resume()")
		a.AwaitSnapshots(id)
	}
	copy("one")
	a.Drain()
	a.awaitMark()
	if !applier.Running() {
		t.Fatalf("the applier has ended: %s", applier.Tail(5))
	}
	a.ExpectEqual("t")
	a.must(applier.StopWell())
	a.ExecTarget("DELETE FROM t")
	copy("two")
	a.ExpectApplied()
	a.ExpectEqual("t")
	a.ExecTarget("DELETE FROM t")
	a.Write("UPDATE t SET v = 'x'")
	if out, code := a.Apply(); code != 3 || !strings.Contains(out, "conflict update_missing") {
		t.Errorf("after the copy apply exits with %d:\n%s", code, out)
	}
}

// A stream that begins at the end begins there once: what is published before the first transaction is applied is not left out by the next run.
func TestApplyFromEnd(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY);")
	a.Write("INSERT INTO t VALUES (1)")
	a.Drain()
	applier := a.process("apply", a.applyArgs("--from", "end")...)
	a.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if !strings.Contains(applier.Log(), "applying") {
			return fmt.Errorf("it has not begun")
		}
		return nil
	}))
	applier.Kill()
	a.Write("INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (3)")
	a.Drain()
	a.ExpectApplied("--from", "end")
	if got := a.rows(a.targetURL(), "t"); got != "(2)\n(3)" {
		t.Errorf("t is %q", got)
	}
}

// The table of a schema that is called like the topics of events is applied if its topic is named; the events in it are not.
func TestApplyTopicAmongEvents(t *testing.T) {
	a := newApplied(t, "CREATE SCHEMA outbox; CREATE TABLE outbox.t (id int PRIMARY KEY);")
	a.Write("INSERT INTO outbox.t VALUES (1)")
	a.Drain()
	a.ExpectApplied("--topics", a.prefix+".outbox.t")
	a.ExpectEqual("outbox.t")
}
