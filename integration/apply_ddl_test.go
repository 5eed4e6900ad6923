package integration

import (
	"strings"
	"testing"
)

var applyDDL = []string{"--ddl", "apply", "--ddl-as-superuser"}

// A command that had nothing to do at the source has no record: the next one is not taken for it.
func TestApplyDDLOfAQuery(t *testing.T) {
	a := newApplied(t, "CREATE TABLE old_orders (id int PRIMARY KEY);")
	a.ExecTarget("CREATE TABLE tmp_report (id int)")
	a.Write("DROP TABLE IF EXISTS tmp_report; DROP TABLE IF EXISTS old_orders",
		"CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE IF NOT EXISTS a (id int PRIMARY KEY, v text); CREATE TABLE IF NOT EXISTS b (id int PRIMARY KEY REFERENCES a, v text DEFAULT 'x')")
	out, code := a.Apply(applyDDL...)
	if code != 3 || !strings.Contains(out, "it cannot be determined which command of") {
		t.Fatalf("a table that two commands name: apply exits with %d:\n%s", code, out)
	}
	const exists = "SELECT (to_regclass('tmp_report') IS NOT NULL)::text || ' ' || (to_regclass('old_orders') IS NOT NULL)"
	if got := a.valueAt(a.targetURL(), exists); got != "true false" {
		t.Errorf("tmp_report and old_orders: %s", got)
	}
	a.ExecTarget("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY REFERENCES a, v text DEFAULT 'x')")
	a.ExpectApplied("--ddl", "ignore")
	a.Write("ALTER TABLE b ADD COLUMN n int DEFAULT 1; ALTER TABLE b ADD COLUMN m int DEFAULT 2; ALTER TABLE b RENAME v TO w; CREATE INDEX ON b (n); CREATE INDEX ON b (m)", "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)")
	a.ExpectApplied(applyDDL...)
	a.ExpectEqual("a", "b", "(SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'b'::regclass)", "(SELECT indexdef FROM pg_indexes WHERE tablename = 'b')")
	a.Write("CREATE TABLE zoned (id int PRIMARY KEY, at timestamp)", "INSERT INTO zoned VALUES (1, '2025-01-31 12:00')",
		"SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'; ALTER TABLE zoned ALTER at TYPE timestamptz, ADD since timestamptz NOT NULL DEFAULT '2025-01-01', ADD d date DEFAULT '01/02/2025'; RESET TimeZone; RESET DateStyle",
		"INSERT INTO zoned VALUES (2, '2025-01-31 12:00+00')")
	a.ExpectApplied(applyDDL...)
	a.ExpectEqual("zoned", "(SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 'zoned'::regclass)")
	a.Write("CREATE SCHEMA app; CREATE TABLE app.b (id int PRIMARY KEY); CREATE FUNCTION app.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
		"SET search_path = app; CREATE TRIGGER touch BEFORE UPDATE ON b FOR EACH ROW EXECUTE FUNCTION touch(); GRANT SELECT ON b TO pg_monitor; GRANT SELECT ON app.b TO pg_monitor")
	a.ExpectApplied(applyDDL...)
	a.ExpectEqual("(SELECT tgrelid::regclass FROM pg_trigger WHERE tgname = 'touch')", "(SELECT relacl FROM pg_class WHERE relname = 'b')")
}

// The source's definitions are not run with what stands for their values.
func TestApplyDDLWithHiddenValues(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY);")
	a.Write("INSERT INTO t VALUES (1)", "ALTER TABLE t ADD COLUMN token_type text NOT NULL DEFAULT 'bearer'")
	out, code := a.Apply(applyDDL...)
	if code != 3 || !strings.Contains(out, "it has values that are hidden: `ALTER TABLE t ADD COLUMN token_type") || !strings.Contains(out, "--ddl ignore") {
		t.Errorf("apply exits with %d:\n%s", code, out)
	}
	a.ExecTarget("ALTER TABLE t ADD COLUMN token_type text NOT NULL DEFAULT 'bearer'")
	a.ExpectApplied("--ddl", "ignore")
	a.ExpectEqual("t")
}

// Without its text a command is not guessed.
func TestApplyDDLWithoutText(t *testing.T) {
	a := newApplied(t, "", "--sql-text", "off")
	a.Write("CREATE TABLE t (id int PRIMARY KEY, v text DEFAULT 'x')")
	if out, code := a.Apply(applyDDL...); code != 3 || !strings.Contains(out, "the text of CREATE TABLE (public.t") {
		t.Errorf("apply exits with %d:\n%s", code, out)
	}
}

// What committed before a TRUNCATE that halts is applied.
func TestApplyBeforeATruncateThatIsRefused(t *testing.T) {
	a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY);")
	a.ExecTarget("CREATE TABLE own (id int REFERENCES t)")
	a.Write("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (3)", "TRUNCATE t", "INSERT INTO t VALUES (4)")
	if out, code := a.Apply(); code != 3 || !strings.Contains(out, "the target refused TRUNCATE") {
		t.Errorf("apply exits with %d:\n%s", code, out)
	}
	if got := a.rows(a.targetURL(), "t"); got != "(1)\n(2)\n(3)" {
		t.Errorf("t is %q", got)
	}
	a.ExecTarget("DROP TABLE own")
	a.ExpectApplied()
	a.ExpectEqual("t")
}

// An index that an interrupted run has left unfinished is built again.
func TestApplyUnfinishedIndex(t *testing.T) {
	for _, sql := range []string{"CREATE INDEX CONCURRENTLY t_v_idx ON t (v)", "CREATE INDEX CONCURRENTLY ON t (v)"} {
		a := newApplied(t, "CREATE TABLE t (id int PRIMARY KEY, v int);")
		a.ExecTarget("CREATE INDEX ON t (v)", "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 't_v_idx'::regclass")
		a.Write(sql)
		a.ExpectApplied(applyDDL...)
		if got := a.valueAt(a.targetURL(), "SELECT string_agg(indexrelid::regclass || ' ' || indisvalid, ',' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = 't'::regclass"); got != "t_pkey true,t_v_idx true" {
			t.Errorf("%s: %s", sql, got)
		}
	}
}
