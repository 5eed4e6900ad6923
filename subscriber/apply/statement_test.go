package apply

import (
	"strings"
	"testing"
)

// A command of a Query is found by its objects: one that had nothing to do left no record.
func TestFindCommand(t *testing.T) {
	statement := func(verb, text string, optional bool, names ...string) Statement {
		s := Statement{Verb: verb, Text: text, Optional: optional}
		for _, name := range names {
			s.Names = append(s.Names, strings.Split(name, "."))
		}
		return s
	}
	table := func(names ...string) (list []ddlObject) {
		for _, name := range names {
			list = append(list, ddlObject{Type: "table", Schema: "public", Name: name})
		}
		return list
	}
	dropTwo := []Statement{statement("DROP TABLE", "DROP TABLE IF EXISTS tmp_report", true, "tmp_report"), statement("DROP TABLE", "DROP TABLE IF EXISTS old_orders", true, "old_orders")}
	createTwo := []Statement{statement("CREATE TABLE", "CREATE TABLE IF NOT EXISTS a ()", true, "a"), statement("CREATE TABLE", "CREATE TABLE IF NOT EXISTS public.b ()", true, "public.b")}
	temporary := []Statement{statement("CREATE TABLE", "CREATE TEMP TABLE a ()", true, "a"), statement("CREATE TABLE", "CREATE TABLE a (id int)", false, "a")}
	addTwo := []Statement{statement("ALTER TABLE", "ALTER TABLE t ADD a int", false, "t"), statement("ALTER TABLE", "ALTER TABLE public.t ADD b int", false, "public.t")}
	twoSchemas := []Statement{statement("CREATE TABLE", "CREATE TABLE items (a int)", false, "items"), statement("CREATE TABLE", "CREATE TABLE audit.items (b int)", false, "audit.items")}
	same := []Statement{statement("DROP TABLE", "DROP TABLE IF EXISTS a", true, "a"), statement("SELECT", "SELECT 1", false), statement("DROP TABLE", "DROP TABLE IF EXISTS a", true, "a")}
	dropBoth := []Statement{statement("DROP TABLE", "DROP TABLE IF EXISTS a, b", true, "a", "b")}
	indexes := []Statement{statement("CREATE INDEX", "CREATE INDEX ON t (a)", false), statement("CREATE INDEX", "CREATE INDEX ON t (b)", false)}
	function := []Statement{statement("SELECT", "SELECT make()", false)}
	mixed := []Statement{statement("ALTER TABLE", "ALTER TABLE t ADD a int", false, "t"), statement("SELECT", "SELECT f()", false)}
	for _, c := range []struct {
		name    string
		command string
		objects []ddlObject
		all     []Statement
		next    int
		want    string
		known   bool
	}{
		{"only the second had something to do", "DROP TABLE", table("public.old_orders"), dropTwo, 0, "DROP TABLE IF EXISTS old_orders", true},
		{"the first", "CREATE TABLE", table("public.a"), createTwo, 0, "CREATE TABLE IF NOT EXISTS a ()", true},
		{"with its schema", "CREATE TABLE", table("public.b"), createTwo, 0, "CREATE TABLE IF NOT EXISTS public.b ()", true},
		{"in another schema", "CREATE TABLE", table("s.b"), createTwo, 0, "", true},
		{"a temporary table has no record", "CREATE TABLE", table("public.a"), temporary, 0, "", false},
		{"in order, first", "ALTER TABLE", table("public.t"), addTwo, 0, addTwo[0].Text, true},
		{"in order, second", "ALTER TABLE", table("public.t"), addTwo, 1, addTwo[1].Text, true},
		{"the Query was sent again", "ALTER TABLE", table("public.t"), addTwo, 2, addTwo[0].Text, true},
		{"in two transactions", "ALTER TABLE", table("public.t"), []Statement{addTwo[0], {Verb: "COMMIT", Text: "COMMIT"}, addTwo[1]}, 0, "", false},
		{"in one transaction", "ALTER TABLE", table("public.t"), []Statement{{Verb: "BEGIN", Text: "BEGIN"}, addTwo[0], addTwo[1], {Verb: "COMMIT", Text: "COMMIT"}}, 2, addTwo[1].Text, true},
		{"of two tables of one name, the first", "CREATE TABLE", table("public.items"), twoSchemas, 0, twoSchemas[0].Text, true},
		{"of two tables of one name, the second", "CREATE TABLE", table("audit.items"), twoSchemas, 1, twoSchemas[1].Text, true},
		{"a column of a view", "ALTER VIEW", []ddlObject{{Type: "view column", Schema: "public", Name: "public.v.b"}}, []Statement{statement("ALTER VIEW", "ALTER VIEW v RENAME COLUMN a TO b", false, "v")}, 0, "ALTER VIEW v RENAME COLUMN a TO b", true},
		{"the same twice", "DROP TABLE", table("public.a"), same, 0, "DROP TABLE IF EXISTS a", true},
		{"only one of two existed", "DROP TABLE", table("public.b"), dropBoth, 0, "", false},
		{"both existed", "DROP TABLE", table("public.a", "public.b"), dropBoth, 0, dropBoth[0].Text, true},
		{"a column", "ALTER TABLE", []ddlObject{{Type: "table column", Schema: "public", Name: "public.t.z"}}, addTwo[:1], 0, addTwo[0].Text, true},
		{"a trigger", "CREATE TRIGGER", []ddlObject{{Type: "trigger", Name: "g on public.t"}}, []Statement{statement("CREATE TRIGGER", "CREATE TRIGGER g …", false, "g")}, 0, "CREATE TRIGGER g …", true},
		{"a function", "DROP FUNCTION", []ddlObject{{Type: "function", Name: "public.f(pg_catalog.int4)"}}, []Statement{statement("DROP FUNCTION", "DROP FUNCTION f", false, "f")}, 0, "DROP FUNCTION f", true},
		{"without names", "CREATE INDEX", []ddlObject{{Type: "index", Name: "public.t_b_idx"}}, indexes, 1, indexes[1].Text, true},
		{"a function ran it", "CREATE TABLE", table("public.a"), function, 0, "", true},
		{"a function ran another", "ALTER TABLE", table("public.t"), mixed, 1, "", false},
		{"it cannot be read", "CREATE TABLE", table("public.a"), nil, 0, "", false},
	} {
		d := ddlRecord{Command: c.command, Objects: c.objects}
		text, known := d.find(c.all, &c.next)
		if known != c.known || known && text != c.want {
			t.Errorf("%s: %q, known %v", c.name, text, known)
		}
	}
}

// What is not surely the command of the source is not run.
func TestTextOfDDL(t *testing.T) {
	columns := []ddlObject{{Type: "table", Schema: "public", Name: "public.t", Columns: []ddlColumn{{Name: "id", Type: "integer", NotNull: true}}}}
	const created = `CREATE TABLE public.t ("id" integer NOT NULL)`
	for _, c := range []struct {
		name, want string
		record     ddlRecord
		halts      bool
	}{
		{"its own", "DROP TABLE t", ddlRecord{Command: "DROP TABLE", Statement: "DROP TABLE t", Own: "DROP TABLE t"}, false},
		{"a hidden value", "", ddlRecord{Command: "ALTER TABLE", Statement: "…", Own: "ALTER TABLE t ADD token_type text DEFAULT '<redacted>'"}, true},
		{"not known", "", ddlRecord{Command: "CREATE TABLE", Why: "several may be it", Objects: columns}, true},
		{"an index that is not known", "", ddlRecord{Command: "CREATE INDEX", Why: "several may be it"}, true},
		{"a function made a table", created, ddlRecord{Command: "CREATE TABLE", Statement: "SELECT f()", Objects: columns}, false},
		{"a function made an index", "", ddlRecord{Command: "CREATE INDEX", Statement: "SELECT f()"}, false},
		{"a function dropped a table", "", ddlRecord{Command: "DROP TABLE", Statement: "SELECT f()"}, true},
		{"rows are in the stream", created, ddlRecord{Command: "CREATE TABLE AS", Objects: columns}, false},
		{"columns are left out", "", ddlRecord{Command: "CREATE TABLE AS", Statement: "CREATE TABLE t AS SELECT 1"}, true},
	} {
		text, err := c.record.text()
		if text != c.want || isHalt(err) != c.halts {
			t.Errorf("%s: %q, %v", c.name, text, err)
		}
	}
}

func TestWholeStatement(t *testing.T) {
	for statement, want := range map[string]bool{"DROP TABLE t": true, "": false, "<redacted>": false, strings.Repeat("x", 64<<10): false} {
		if d := (ddlRecord{Statement: statement}); d.isWhole() != want {
			t.Errorf("%.20q: %v", statement, !want)
		}
	}
}

func TestIsDone(t *testing.T) {
	for command, want := range map[string]string{"CREATE INDEX": "42P07", "DROP INDEX": "42704", "ALTER TABLE": ""} {
		for _, state := range []string{"42P07", "42704", "42P01"} {
			is := state == want || command == "DROP INDEX" && state == "42P01"
			if d := (ddlRecord{Command: command}); d.isDone(state) != is {
				t.Errorf("%s: %s: %v", command, state, !is)
			}
		}
	}
}
