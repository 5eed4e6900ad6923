package integration

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/outbox"
)

// Each command is recorded once, an extension without its members, temporary objects not at all. (What an
// extension's script drops is recorded: the trigger cannot tell it from a command of the user.)
func TestDDLIsRecordedOnce(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Setup()
			r.Exec(
				"CREATE TABLE t (id int PRIMARY KEY, b int UNIQUE, c text)", "ALTER TABLE t DROP COLUMN b", "ALTER TABLE t RENAME COLUMN c TO d",
				"REINDEX TABLE t", "CREATE EXTENSION citext", "DROP EXTENSION citext",
				"CREATE TEMP TABLE tmp (id serial PRIMARY KEY, v int); ALTER TABLE tmp DROP COLUMN v; CREATE INDEX ON tmp (id)",
				"CREATE TRIGGER z BEFORE UPDATE ON tmp FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
				"DROP TRIGGER z ON tmp; CREATE TEMP VIEW v AS SELECT 1; DROP VIEW v; DROP TABLE tmp; CREATE TEMP TABLE tmp AS SELECT 1",
				"DROP TABLE t",
			)
			want := strings.Join([]string{
				"CREATE TABLE: table public.t, index public.t_b_key, index public.t_pkey", "ALTER TABLE: table public.t", "ALTER TABLE: table column public.t.d",
				"CREATE EXTENSION: extension citext", "DROP EXTENSION: extension citext", "DROP TABLE: table public.t",
			}, "\n")
			if got := r.RecordedDDL(); got != want {
				t.Errorf("recorded:\n%s\nwant:\n%s", got, want)
			}
			var renamed outbox.DDLRecord
			r.must(json.Unmarshal([]byte(r.Emitted("d")[2].body), &renamed))
			if got := renamed.Objects[0].Columns[1].Name; got != "d" {
				t.Errorf("second column after it was renamed: %s, want d", got)
			}
			if major >= 17 {
				r.Exec("ALTER DATABASE " + r.database + " SET event_triggers = off")
				if out, _ := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); !strings.Contains(out, "ALTER DATABASE "+r.database+" RESET event_triggers") {
					t.Errorf("check says nothing of sessions without event triggers:\n%s", out)
				}
			}
		})
	}
}

// A snapshot may show tables that another session has dropped: looking at them must not fail.
func TestDDLBesideADroppedTable(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Setup()
			r.Exec("CREATE TABLE gone (id int PRIMARY KEY)", "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE part PARTITION OF parts DEFAULT",
				"CREATE TABLE t (id int PRIMARY KEY, b int UNIQUE)")
			before := r.RecordedDDL()
			conn := r.dial(r.URL())
			defer conn.Close(r.ctx)
			exec := func(sql string) {
				_, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol)
				r.must(err)
			}
			exec("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM pg_class")
			r.Exec("DROP TABLE gone", "DROP TABLE parts")
			exec("SELECT pgtee.tables(array_agg(oid)) FROM pg_class WHERE relname IN ('gone', 'parts')")
			exec("ALTER TABLE t DROP COLUMN b; DROP TABLE t; COMMIT")
			want := before + "\nDROP TABLE: table public.gone\nDROP TABLE: table public.part, table public.parts\nALTER TABLE: table public.t\nDROP TABLE: table public.t"
			if got := r.RecordedDDL(); got != want {
				t.Errorf("recorded:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// The statement of a DDL record is the client's text, without the notes that the proxy has put into it, and is redacted as if there were none.
func TestNotesLeaveTheTextOfDDL(t *testing.T) {
	for major, kind := range map[int]string{15: "message", 18: "table"} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), kind)
			r.Exec("CREATE TABLE t (i int)", "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.t VALUES (0); RETURN 0; END'")
			r.Setup()
			r.StartProxy()
			conn := r.dial(r.ProxyURL("postgres", "people"))
			defer conn.Close(r.ctx)
			long := "CREATE TABLE e (i int)"
			for i := range 700 {
				long += fmt.Sprintf("; INSERT INTO e VALUES (%d)", i)
			}
			for i, test := range []struct{ text, want string }{
				{"CREATE TABLE a (i int); INSERT INTO t VALUES (1)", ""},
				{"INSERT INTO t VALUES (1);CREATE TABLE b (i int);INSERT INTO t VALUES (2);", ""},
				{"SELECT f(); CREATE TABLE c (token int); SELECT f() -- as before", "<redacted>"},
				{"SELECT f();CREATE TABLE d (token text DEFAULT 'x');SELECT f();", "SELECT f();CREATE TABLE d (token text DEFAULT '<redacted>');SELECT f();"},
				{"CREATE TABLE g (i int);SELECT f()", ""},
				{long, ""},
			} {
				r.exec(conn, test.text)
				var record outbox.DDLRecord
				r.must(json.Unmarshal([]byte(r.Emitted("d")[i].body), &record))
				if i == 5 { // cut off
					test.want = test.text[:min(len(record.Statement), len(test.text))]
				}
				if want := cmp.Or(test.want, test.text); record.Statement != want {
					t.Errorf("%q\nwant %q", record.Statement, want)
				}
			}
		})
	}
}
