package integration

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const conflictSchema = `CREATE TABLE t (id int PRIMARY KEY, u int UNIQUE, v text); CREATE TABLE p (id int PRIMARY KEY, parent int REFERENCES t);`

// conflicts are changes of the source that do not fit to a row of the target, by their names.
var conflicts = []struct {
	name     string
	drift    string // of the target
	write    string
	over     string // rows of t in the target with the policy overwrite, as text
	existing string // part of what pgtee.conflicts says of the row in the way
}{
	{"insert_exists", "INSERT INTO t VALUES (10, 10, 'theirs')", "INSERT INTO t VALUES (10, 100, 'ours')", "(1,1,one)\n(10,100,ours)\n(2,2,two)", `"theirs"`},
	{"insert_exists", "INSERT INTO t VALUES (11, 10, 'theirs')", "INSERT INTO t VALUES (10, 10, 'ours')", "(1,1,one)\n(10,10,ours)\n(2,2,two)", `"theirs"`},
	{"update_exists", "INSERT INTO t VALUES (11, 10, 'theirs')", "UPDATE t SET u = 10 WHERE id = 1", "(1,10,one)\n(2,2,two)", `"theirs"`},
	{"update_missing", "DELETE FROM t WHERE id = 1", "UPDATE t SET v = 'changed' WHERE id = 1", "(1,1,changed)\n(2,2,two)", ""},
	{"delete_missing", "DELETE FROM t WHERE id = 1", "DELETE FROM t WHERE id = 1", "(2,2,two)", ""},
}

func TestApplyNamesConflicts(t *testing.T) {
	for _, c := range conflicts {
		t.Run(c.name, func(t *testing.T) {
			a := newApplied(t, conflictSchema)
			a.Write("INSERT INTO t VALUES (1, 1, 'one'), (2, 2, 'two')")
			a.ExpectApplied()
			a.ExecTarget(c.drift)
			drifted := a.rows(a.targetURL(), "t")
			a.Write(c.write)
			a.Drain()
			out, code := a.Apply()
			if code != 3 {
				t.Fatalf("apply exits with %d, want 3:\n%s", code, out)
			}
			last := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
			for _, part := range []string{"conflict " + c.name + ": ", "postgres (writer, ", c.write[:6], "--on-conflict public.t=skip"} {
				if !strings.Contains(last, part) {
					t.Errorf("the line does not tell %q:\n%s", part, last)
				}
			}
			if now := a.rows(a.targetURL(), "t"); now != drifted {
				t.Errorf("something is half applied:\n%s", now)
			}
			sql := "SELECT conflict || ' ' || action || ' ' || \"user\" || ' ' || coalesce(existing::text, '') || ' ' || (statement ->> 'text') FROM pgtee.conflicts"
			row := a.valueAt(a.targetURL(), sql)
			if !strings.HasPrefix(row, c.name+" halted postgres ") || !strings.Contains(row, c.existing) || !strings.Contains(row, c.write[:6]) {
				t.Errorf("pgtee.conflicts says %q", row)
			}
			if strings.HasSuffix(c.drift, "'theirs')") { // a table that is left as it is goes on with what follows
				a.ExpectApplied("--on-conflict", "public.t=overwrite")
			} else {
				a.ExpectApplied("--on-conflict", "overwrite")
			}
			if now := a.rows(a.targetURL(), "t"); now != c.over {
				t.Errorf("overwritten: %q, want %q", now, c.over)
			}
		})
	}
}

// obstacles are tables with unique values of all kinds.
const obstacles = `
CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE mail (id int PRIMARY KEY, email text); CREATE UNIQUE INDEX ON mail (lower(email));
CREATE TABLE live (id int PRIMARY KEY, name text, gone int); CREATE UNIQUE INDEX ON live (name) WHERE gone IS NULL;
CREATE TABLE busy (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
CREATE TABLE single (id int PRIMARY KEY, v int UNIQUE NULLS NOT DISTINCT);
CREATE TABLE made (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED UNIQUE);
CREATE TABLE wide (id int PRIMARY KEY);`

// A change that is skipped leaves the row, and what comes behind it is applied. With the policy overwrite the row in the way is found by any unique index.
func TestApplySkips(t *testing.T) {
	a := newApplied(t, conflictSchema+obstacles)
	a.Write("INSERT INTO t VALUES (1, 1, 'one')")
	a.ExpectApplied()
	a.ExecTarget("INSERT INTO t VALUES (2, 2, 'theirs')", "DELETE FROM t WHERE id = 1")
	a.Write("BEGIN; INSERT INTO t VALUES (3, 3, 'three'); INSERT INTO t VALUES (2, 2, 'ours'); UPDATE t SET v = 'x' WHERE id = 1; DELETE FROM t WHERE id = 1; COMMIT", "INSERT INTO p VALUES (1, 3)")
	a.ExpectApplied("--on-conflict", "skip")
	if got := a.rows(a.targetURL(), "t"); got != "(2,2,theirs)\n(3,3,three)" {
		t.Errorf("t is %q", got)
	}
	if got := a.valueAt(a.targetURL(), "SELECT string_agg(conflict, ',' ORDER BY conflict) FROM pgtee.conflicts"); got != "delete_missing,insert_exists,update_missing" {
		t.Errorf("pgtee.conflicts has %q", got)
	}
	if got := a.rows(a.targetURL(), "p"); got != "(1,3)" {
		t.Errorf("p is %q", got)
	}
	a.Write("INSERT INTO mail VALUES (20, 'b@x')", "INSERT INTO busy VALUES (20, '[20,25)')")
	a.ExpectApplied()
	a.ExecTarget("INSERT INTO parts VALUES (1, 'theirs')", "DELETE FROM mail", "INSERT INTO mail VALUES (11, 'A@x'), (21, 'B@x')", "INSERT INTO live VALUES (11, 'a', NULL)",
		"INSERT INTO busy VALUES (11, '[1,5)'), (12, '[6,9)'), (21, '[26,30)')", "INSERT INTO single VALUES (11, NULL)", "INSERT INTO made VALUES (11, 5)",
		"ALTER TABLE wide ADD own int DEFAULT 1 UNIQUE", "INSERT INTO wide VALUES (11)")
	a.Write("INSERT INTO parts VALUES (1, 'ours')", "INSERT INTO mail VALUES (10, 'a@X')", "UPDATE mail SET email = 'b@X' WHERE id = 20", "INSERT INTO live VALUES (10, 'a', NULL), (12, 'a', 1)",
		"INSERT INTO busy VALUES (10, '[2,8)')", "UPDATE busy SET during = '[22,28)' WHERE id = 20", "INSERT INTO single VALUES (10, NULL)", "INSERT INTO made VALUES (10, 5)", "INSERT INTO wide VALUES (10)")
	if out, code := a.Apply("--on-conflict", "overwrite"); code != 3 || !strings.Contains(out, "wide_own_key") || strings.Contains(out, "=overwrite") {
		t.Errorf("a row that cannot be found: apply exits with %d:\n%s", code, out)
	}
	if got := a.valueAt(a.targetURL(), `SELECT string_agg("table" || ' ' || (existing IS NULL)::text, ',' ORDER BY "table") FROM pgtee.conflicts WHERE conflict = 'insert_exists' AND action <> 'skipped'`); got != "public.busy false,public.live false,public.made false,public.mail false,public.parts false,public.single false,public.wide true" {
		t.Errorf("pgtee.conflicts has %q", got)
	}
	a.ExecTarget("DELETE FROM wide")
	a.ExpectApplied("--on-conflict", "overwrite")
	a.ExecTarget("ALTER TABLE wide DROP own")
	a.ExpectEqual("parts", "mail", "live", "busy", "single", "made", "wide")
}

// What a user does wrong gets one line that says what to do, and leaves the target as it was.
func TestApplyRefuses(t *testing.T) {
	a := newApplied(t, conflictSchema)
	a.Write("INSERT INTO t VALUES (1, 1, 'one')")
	a.Drain()
	url := a.targetURL()
	a.ExecTarget("CREATE ROLE apply_reader LOGIN; GRANT CREATE ON DATABASE "+a.target+" TO apply_reader", "CREATE ROLE nobody_much LOGIN")
	t.Cleanup(func() {
		a.Exec("DROP OWNED BY apply_reader; DROP ROLE IF EXISTS apply_reader; DROP ROLE IF EXISTS nobody_much")
	})
	as := func(user string) string { return strings.Replace(url, "postgres@", user+"@", 1) }
	for _, c := range []struct {
		name, prepare, undo string
		args                []string
		code                int
		says                []string
	}{
		{"no progress topic", "", "", []string{"--prefix", "nothing", "--postgres", url}, 3, []string{"topic nothing.progress does not exist", "--prefix must be that of"}},
		{"no table", "ALTER TABLE t RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO t", []string{"--prefix", a.prefix, "--postgres", url}, 3, []string{"no table public.t", "--exclude-tables public.t"}},
		{"no column", "ALTER TABLE t RENAME v TO w", "ALTER TABLE t RENAME w TO v", []string{"--prefix", a.prefix, "--postgres", url}, 3, []string{"no column v", "--ignore-columns public.t.v"}},
		{"other type", "ALTER TABLE t DROP v; ALTER TABLE t ADD v int", "ALTER TABLE t DROP v; ALTER TABLE t ADD v text", []string{"--prefix", a.prefix, "--postgres", url}, 3, []string{"conflict refused", "make table public.t of the target as the source has it"}},
		{"a trigger that always fires", "CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE t ENABLE ALWAYS TRIGGER mine", "DROP TRIGGER mine ON t",
			[]string{"--prefix", a.prefix, "--postgres", url}, 3, []string{"trigger mine (ENABLE ALWAYS or REPLICA)", "ALTER TABLE public.t ENABLE trigger mine", "--fire-triggers"}},
		{"a trigger of a partition", "ALTER TABLE t RENAME TO aside; CREATE TABLE t (id int PRIMARY KEY, u int, v text) PARTITION BY RANGE (id); CREATE TABLE t_1 PARTITION OF t DEFAULT; CREATE TRIGGER mine BEFORE INSERT ON t_1 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger(); ALTER TABLE t_1 ENABLE ALWAYS TRIGGER mine",
			"DROP TABLE t; ALTER TABLE aside RENAME TO t", []string{"--prefix", a.prefix, "--postgres", url}, 3, []string{"trigger mine (ENABLE ALWAYS or REPLICA) on public.t_1", "ALTER TABLE public.t_1 ENABLE trigger mine", "--fire-triggers"}},
		{"a fence of somebody else", "ALTER TABLE pgtee.applied OWNER TO pg_monitor", "ALTER TABLE pgtee.applied OWNER TO postgres", []string{"--prefix", a.prefix, "--postgres", url}, 3, []string{"belong to pg_monitor", "--trust-owner"}},
		{"DDL as a superuser", "", "", []string{"--prefix", a.prefix, "--postgres", url, "--ddl", "apply"}, 3, []string{"as postgres, a superuser of the target", "--ddl-as-superuser"}},
		{"no privilege for the fence", "", "", []string{"--prefix", a.prefix, "--postgres", as("nobody_much")}, 3, []string{"pgtee.applied", `CREATE SCHEMA pgtee AUTHORIZATION "nobody_much"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.prepare != "" {
				a.ExecTarget(c.prepare)
				defer a.ExecTarget(c.undo)
			}
			out, code := a.Pgtee(append([]string{"apply", "--kafka", a.broker.Address, "--once"}, c.args...)...)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			last := lines[len(lines)-1]
			if code != c.code || !strings.HasPrefix(last, "pgtee: ") {
				t.Fatalf("exits with %d:\n%s", code, out)
			}
			for _, part := range c.says {
				if !strings.Contains(last, part) {
					t.Errorf("does not tell %q: %s", part, last)
				}
			}
			if c.prepare == "" {
				if rows := a.rows(url, "t"); rows != "" {
					t.Errorf("half applied: %s", rows)
				}
			}
		})
	}
	a.ExecTarget("CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.6); RETURN NEW; END'; CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow(); ALTER TABLE t ENABLE ALWAYS TRIGGER slow",
		"ALTER DATABASE "+a.target+" SET transaction_timeout = '300ms'") // a giant would be retried for ever
	a.ExpectApplied("--fire-triggers")
	a.ExpectEqual("t")
	a.ExecTarget("UPDATE pgtee.applied SET end_lsn = 'FFFFFFFF/0'")
	if out, code := a.Apply(); code != 3 || !strings.Contains(out, "the target is ahead") {
		t.Errorf("a target that is ahead: exits with %d:\n%s", code, out)
	}
}

// --check tells what is missing with the command that repairs it; when that is run, nothing is missing.
func TestApplyCheck(t *testing.T) {
	a := newApplied(t, conflictSchema+"CREATE TABLE s (id serial PRIMARY KEY);")
	a.Write("INSERT INTO t VALUES (1, 1, 'one')", "INSERT INTO p VALUES (1, 1)", "INSERT INTO s SELECT FROM generate_series(1, 7)")
	a.Drain()
	a.ExecTarget("CREATE ROLE checked LOGIN", "CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()", "ALTER TABLE t DISABLE TRIGGER mine")
	t.Cleanup(func() { a.Exec("DROP OWNED BY checked"); a.ExecTarget("DROP OWNED BY checked", "DROP ROLE checked") })
	url := strings.Replace(a.targetURL(), "postgres@", "checked@", 1)
	check := []string{"apply", "--check", "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", url}
	out, code := a.Pgtee(check...)
	for _, part := range []string{"GRANT USAGE ON SCHEMA mark TO", "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public.t TO \"checked\"", "GRANT SET ON PARAMETER session_replication_role TO checked", "pg_replication_origin_create",
		"GRANT SELECT, UPDATE ON SEQUENCE public.s_id_seq TO \"checked\""} {
		if !strings.Contains(out, part) {
			t.Errorf("does not tell %q", part)
		}
	}
	if code != 2 {
		t.Errorf("exits with %d:\n%s", code, out)
	}
	if !strings.Contains(out, "CREATE SCHEMA pgtee AUTHORIZATION") {
		t.Error("does not tell how to make schema pgtee")
	}
	a.ExecTarget(`CREATE SCHEMA pgtee AUTHORIZATION "checked"`, "GRANT SET ON PARAMETER session_replication_role TO checked")
	for line := range strings.Lines(out) {
		if grant := strings.TrimSpace(line); strings.HasPrefix(grant, "GRANT ") && (strings.Contains(grant, " ON public.") || strings.Contains(grant, " ON SEQUENCE ") || strings.Contains(grant, " mark")) {
			a.ExecTarget(grant)
		}
	}
	a.ExecTarget("ALTER TABLE t ENABLE REPLICA TRIGGER mine")
	if out, code := a.Pgtee(check...); code != 2 || !strings.Contains(out, "trigger mine (ENABLE ALWAYS or REPLICA) of the target") {
		t.Errorf("with a trigger that fires it exits with %d:\n%s", code, out)
	}
	a.ExecTarget("ALTER TABLE t ENABLE TRIGGER mine")
	if out, code := a.Pgtee(check...); code != 0 {
		t.Errorf("after the repairs it exits with %d:\n%s", code, out)
	}
	if out, code := a.Pgtee("apply", "--once", "--kafka", a.broker.Address, "--prefix", a.prefix, "--postgres", url); code != 0 {
		t.Errorf("apply exits with %d:\n%s", code, out)
	}
	a.ExpectEqual("t", "p", "s")
	if got := a.valueAt(a.targetURL(), "SELECT last_value::text FROM s_id_seq"); got != "7" {
		t.Errorf("the sequence of the target is at %s, want 7", got)
	}
}

// A topic that does not hold its beginning any more, or not what was not applied yet, is told, and nothing is applied. What was applied, or archived,
// may be deleted to the last record.
func TestApplyMissesDeletedRecords(t *testing.T) {
	a := newApplied(t, conflictSchema)
	a.Write("INSERT INTO t VALUES (1, 1, 'one')", "INSERT INTO p VALUES (1, 1)")
	a.Drain()
	client, err := kgo.NewClient(kgo.SeedBrokers(a.broker.Address))
	a.must(err)
	defer client.Close()
	forget := func(topic string) {
		admin := kadm.NewClient(client)
		ends, err := admin.ListEndOffsets(a.ctx, a.prefix+"."+topic)
		a.must(err)
		_, err = admin.DeleteRecords(a.ctx, ends.Offsets())
		a.must(err)
	}
	forget("public.t")
	if out, code := a.Apply(); code != 3 || !strings.Contains(out, "the beginning of topic "+a.prefix+".public.t was deleted by its retention") || !strings.Contains(out, "resync") {
		t.Errorf("exits with %d:\n%s", code, out)
	}
	a.Write("INSERT INTO t VALUES (2, 2, 'two')")
	a.Drain()
	forget("public.p")
	if out, code := a.Pgtee(a.applyArgs("--once", "--from", "end")...); code != 0 {
		t.Fatalf("--from end exits with %d:\n%s", code, out)
	}
	a.Write("INSERT INTO t VALUES (3, 3, 'three')")
	a.ExpectApplied()
	if got := a.rows(a.targetURL(), "t"); got != "(3,3,three)" {
		t.Errorf("t is %q", got)
	}
	dir := filepath.Join(t.TempDir(), "files")
	a.Archive(dir, "--from", "end")
	a.Write("INSERT INTO t VALUES (4, 4, 'four')")
	a.Archive(dir)
	a.ExpectApplied()
	forget("public.t")
	a.Write("INSERT INTO p VALUES (2, 1)") // another topic goes on
	a.ExpectApplied()
	a.Archive(dir)
	a.Write("INSERT INTO t VALUES (5, 5, 'five')")
	a.Drain()
	forget("public.t")
	if out, code := a.Apply(); code != 3 || !strings.Contains(out, "records were deleted before they were applied") {
		t.Errorf("exits with %d:\n%s", code, out)
	}
}

const incompleteSchema = `CREATE TABLE doc (id int PRIMARY KEY, title text NOT NULL, body text DEFAULT 'none');
CREATE TABLE bodies (body text);
CREATE TABLE notes (body text); ALTER TABLE notes REPLICA IDENTITY FULL;
CREATE TABLE m (a int, b int, v text) PARTITION BY LIST (b); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1); CREATE TABLE m2 PARTITION OF m FOR VALUES IN (2);
ALTER TABLE m1 ADD PRIMARY KEY (a); ALTER TABLE m2 ADD PRIMARY KEY (a, b);`

// A change whose record lacks values is not written as if it had them, and a change of an unknown row writes none.
func TestApplyIncompleteChanges(t *testing.T) {
	const long = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 60000) AS i)" // does not compress well
	for _, c := range []struct {
		name, before, change, table string
		overwritten                 string // lengths of the rows' texts
		says                        string
	}{
		{"insert", "", "INSERT INTO doc VALUES (1, 'a', " + long + ")", "doc", "(1,a,none)", "dead-letter"},
		{"update", "INSERT INTO doc VALUES (1, 'a', 'old')", "UPDATE doc SET title = 'b', body = " + long, "doc", "(1,b,old)", "dead-letter"},
		{"moved", "INSERT INTO doc VALUES (1, 'a', 'old')", "UPDATE doc SET id = 2, body = " + long, "doc", "(2,a,old)", "dead-letter"},
		{"nothing left", "INSERT INTO bodies VALUES ('first')", "INSERT INTO bodies SELECT " + long + " FROM generate_series(1, 2)", "bodies", "()\n()\n(first)", "dead-letter"},
		{"delete without a key", "INSERT INTO notes VALUES ('small')", "INSERT INTO notes SELECT " + long + "; DELETE FROM notes WHERE length(body) > 1000000", "notes", "()\n(small)", "dead-letter"},
		{"update of a partition without a key", "INSERT INTO m VALUES (1, 1, 'one'), (5, 1, 'five')", "UPDATE m SET v = 'x' WHERE a = 5", "m", "(1,1,one)\n(5,1,five)", "REPLICA IDENTITY FULL"},
		{"delete from a partition without a key", "INSERT INTO m VALUES (5, 1, 'one'), (5, 2, 'two')", "DELETE FROM m WHERE b = 1", "m", "(5,1,one)\n(5,2,two)", "REPLICA IDENTITY FULL"},
		{"update of a partition's own key", "INSERT INTO m VALUES (5, 2, 'two'), (5, 1, 'one')", "UPDATE m SET a = 6 WHERE b = 1", "m", "(5,1,one)\n(5,2,two)", "REPLICA IDENTITY FULL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newApplied(t, incompleteSchema)
			if c.before != "" {
				a.Write(c.before)
			}
			a.ExpectApplied()
			before := a.rows(a.targetURL(), c.table)
			a.Write(c.change)
			out, code := a.Apply()
			if code != 3 || !strings.Contains(out, "conflict incomplete: ") || !strings.Contains(out, c.says) || !strings.Contains(out, "--on-conflict public."+c.table+"=skip") {
				t.Errorf("apply exits with %d:\n%s", code, out)
			}
			if now := a.rows(a.targetURL(), c.table); now != before {
				t.Errorf("the target has %.300q, want %q", now, before)
			}
			a.ExpectApplied("--on-conflict", "overwrite")
			if now := a.rows(a.targetURL(), c.table); now != c.overwritten {
				t.Errorf("overwritten: %.300q, want %q", now, c.overwritten)
			}
		})
	}
}

// Of the values that a record lacks a DELETE by key needs none, nor does a target without the column.
func TestApplyNeedsNoLongValues(t *testing.T) {
	a := newApplied(t, "CREATE TABLE doc (id int PRIMARY KEY, body text); ALTER TABLE doc REPLICA IDENTITY FULL;")
	a.Write("INSERT INTO doc SELECT 1, string_agg(md5(i::text), '') FROM generate_series(1, 60000) AS i", "INSERT INTO doc VALUES (2, 'short')")
	a.ExecTarget("ALTER TABLE doc DROP COLUMN body")
	a.ExpectApplied("--ignore-columns", "public.doc.body")
	a.Write("DELETE FROM doc WHERE id = 1")
	a.ExpectApplied("--ignore-columns", "public.doc.body")
	if got := a.rows(a.targetURL(), "doc"); got != "(2)" {
		t.Errorf("the target has %q", got)
	}
}

// A deferred constraint is checked at the end of the transaction; the change that violates it is named all the same.
func TestApplyNamesDeferredConflicts(t *testing.T) {
	const schema = "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);"
	a := newApplied(t, schema)
	a.Write("INSERT INTO p VALUES (1), (2)")
	a.ExecTarget("CREATE ROLE deferring LOGIN", "CREATE SCHEMA pgtee AUTHORIZATION deferring", "GRANT SELECT, INSERT, UPDATE, DELETE ON p, c, mark.mark TO deferring", "GRANT USAGE ON SCHEMA mark TO deferring")
	t.Cleanup(func() { a.Exec("DROP ROLE IF EXISTS deferring") })
	t.Cleanup(func() { a.ExecTarget("DROP OWNED BY deferring CASCADE") })
	apply := func(policy string) (string, int) {
		a.Drain()
		return a.Pgtee("apply", "--once", "--kafka", a.broker.Address, "--prefix", a.prefix, "--origin", "off", "--ddl", "apply", "--on-conflict", policy,
			"--postgres", strings.Replace(a.targetURL(), "postgres@", "deferring@", 1))
	}
	if out, code := apply("error"); code != 0 {
		t.Fatalf("apply exits with %d:\n%s", code, out)
	}
	a.ExecTarget("DELETE FROM p WHERE id = 2")
	a.Write("BEGIN; INSERT INTO c VALUES (3, 3); INSERT INTO c VALUES (1, 1); INSERT INTO c VALUES (2, 2); INSERT INTO p VALUES (3); INSERT INTO c VALUES (4, 2); COMMIT")
	out, code := apply("error")
	if code != 3 || !strings.Contains(out, `conflict foreign_key_violated: INSERT of public.c, key {"id":2}`) {
		t.Errorf("apply exits with %d:\n%s", code, out)
	}
	if got := a.rows(a.targetURL(), "c"); got != "" {
		t.Errorf("half applied: %q", got)
	}
	if out, code = apply("skip"); code != 0 {
		t.Fatalf("apply exits with %d:\n%s", code, out)
	}
	if got := a.rows(a.targetURL(), "c"); got != "(1,1)\n(3,3)" {
		t.Errorf("c is %q", got)
	}
	if got := a.valueAt(a.targetURL(), "SELECT string_agg(key ->> 'id' || ' ' || action, ',' ORDER BY event_id) FROM pgtee.conflicts"); got != "2 skipped,4 skipped" {
		t.Errorf("pgtee.conflicts has %q", got)
	}
	a.ExecTarget("ALTER TABLE c OWNER TO deferring")
	a.Write("INSERT INTO c VALUES (5, 3)", "TRUNCATE c", "INSERT INTO c VALUES (6, 3)", "ALTER TABLE c ADD v int", "INSERT INTO c VALUES (7, 1, 1)")
	if out, code = apply("error"); code != 0 {
		t.Fatalf("checks of a table that is truncated, and altered, are pending: apply exits with %d:\n%s", code, out)
	}
	a.ExpectEqual("c")
}
