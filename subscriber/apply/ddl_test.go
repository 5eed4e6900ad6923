package apply

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// What is ignored may have been run on the target: the tables are looked up again, and what was decoded for them as they were is written before.
func TestIgnoredDDL(t *testing.T) {
	a := &assembler{cfg: &Config{DDL: DDLIgnore}, log: zap.NewNop(), batch: newBatch(), spare: newBatch(), tables: map[string]*table{"public.t": {}}, absent: map[string]bool{}, work: make(chan *batch, 1)}
	a.batch.events = 1
	const ddl = `{"v": 1, "command": "ALTER TABLE", "statement": "ALTER TABLE t ADD c int", "objects": [{"type": "table", "schema": "public", "name": "public.t"}]}`
	if err := a.addDDL(t.Context(), event{place: place{commit: 1}, record: &kgo.Record{Value: []byte(ddl)}}); err != nil {
		t.Fatal(err)
	}
	if len(a.tables) != 0 || len(a.work) != 1 || !a.batch.empty() {
		t.Errorf("knows %d tables, %d batches are handed over", len(a.tables), len(a.work))
	}
}

// A name without a schema is that of the record's object, or of none that is known.
func TestUnqualifiedNames(t *testing.T) {
	table := func(schema, name string) ddlObject {
		return ddlObject{Type: "table", Schema: schema, Name: schema + "." + name}
	}
	part := func(schema, name string) ddlObject {
		return ddlObject{Type: "table", Schema: schema, Name: schema + "." + name, Root: "app.events"}
	}
	for _, c := range []struct {
		command, sql string
		names        [][]string // as parser.ObjectsOf returns them
		moved        bool
		objects      []ddlObject
		want         string // schema; "": halts
	}{
		{"DROP TABLE", "DROP TABLE a, b", [][]string{{"a"}, {"b"}}, false, []ddlObject{table("app", "a"), table("other", "b")}, ""},
		{"DROP TABLE", "DROP TABLE a, other.b", [][]string{{"a"}, {"other", "b"}}, false, []ddlObject{table("other", "b"), table("app", "a")}, "app"},
		{"DROP TABLE", "DROP TABLE p", [][]string{{"p"}}, false, []ddlObject{table("parts", "p_1"), table("app", "p")}, "app"},
		{"DROP TABLE", "DROP TABLE events", [][]string{{"events"}}, false, []ddlObject{part("y2024", "events"), table("app", "events"), part("y2025", "events")}, "app"},
		{"DROP TABLE", "DROP TABLE events", [][]string{{"events"}}, false, []ddlObject{part("y2024", "events")}, "y2024"},
		{"DROP TABLE", "DROP TABLE events, x", [][]string{{"events"}, {"x"}}, false, []ddlObject{part("y2024", "x"), table("app", "events")}, ""},
		{"ALTER TABLE", "ALTER TABLE t SET SCHEMA old", [][]string{{"old", "t"}}, true, []ddlObject{table("old", "t")}, ""},
		{"ALTER TABLE", "ALTER TABLE app.t SET SCHEMA old", [][]string{{"old", "t"}}, false, []ddlObject{table("old", "t")}, "old"},
		{"ALTER TABLE", "ALTER TABLE t ADD c int", [][]string{{"t"}}, false, []ddlObject{table("app", "t")}, "app"},
	} {
		d := ddlRecord{Command: c.command, Own: c.sql, Names: c.names, Moved: c.moved, Objects: c.objects}
		text, err := d.text()
		if isHalt(err) != (c.want == "") || err == nil && (d.schemaOf() != c.want || text != c.sql) {
			t.Errorf("%s: in %s, %q (%v)", c.sql, d.schemaOf(), text, err)
		}
	}
}

// A DROP that also names a table that is left out would drop that one in the target, or one of another schema.
func TestDropOfOthers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // nothing takes a batch
	for name, excluded := range map[string]string{"in another schema": "other.*", "in the same": "app.a"} {
		a := &assembler{cfg: &Config{DDL: DDLApply, ExcludeTables: []string{excluded}, SplitSQL: func(sql string) []Statement {
			return []Statement{{Verb: "DROP TABLE", Text: sql, Names: [][]string{{"a"}, {"b"}}}}
		}}, log: zap.NewNop(), batch: newBatch()}
		const ddl = `{"v": 1, "command": "DROP TABLE", "statement": "DROP TABLE a, b", "objects": [
			{"type": "table", "schema": "app", "name": "app.a", "dropped": true}, {"type": "table", "schema": "app", "name": "app.c", "dropped": true}, {"type": "table", "schema": "other", "name": "other.b", "dropped": true}]}`
		if err := a.addDDL(ctx, event{place: place{commit: 1}, record: &kgo.Record{Value: []byte(ddl)}}); !isHalt(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A partition that is left out may have the name of its root, which is not.
func TestDropBesidePartition(t *testing.T) {
	root, part := ddlObject{Type: "table", Name: "app.events", Dropped: true}, ddlObject{Type: "table", Name: "y2024.events", Dropped: true, Root: "app.events"}
	for name, c := range map[string]struct {
		names [][]string
		want  string
	}{
		"without schema":  {[][]string{{"events"}}, ""},
		"with it":         {[][]string{{"app", "events"}}, ""},
		"of its own name": {[][]string{{"app", "events"}, {"y2024", "events"}}, "y2024.events"},
	} {
		d := ddlRecord{Names: c.names, Objects: []ddlObject{root}}
		if got := d.dropsOther([]ddlObject{part, root}); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestOutsideTransaction(t *testing.T) {
	for _, c := range []struct {
		command, statement string
		want               bool
	}{
		{"CREATE INDEX", "CREATE INDEX concurrently ON t (id)", true},
		{"CREATE INDEX", "CREATE INDEX\nCONCURRENTLY ON t (id)", true},
		{"CREATE INDEX", "CREATE INDEX ON t (id)", false},
		{"ALTER TABLE", "ALTER TABLE p DETACH PARTITION p_a CONCURRENTLY", true},
		{"ALTER TABLE", "alter table p\n\tdetach\n\tpartition \"p a\"\n\tconcurrently;", true},
		{"ALTER TABLE", "ALTER TABLE p DETACH PARTITION p_a", false},
		{"ALTER TABLE", "ALTER TABLE p DETACH PARTITION p_a FINALIZE", false},
		{"ALTER TABLE", "ALTER TABLE p ADD concurrently int", false},
	} {
		record, err := json.Marshal(map[string]string{"command": c.command, "statement": c.statement})
		if got := outsideTransaction(record); err != nil || got != c.want {
			t.Errorf("%s: %v (%v)", c.statement, got, err)
		}
	}
}

func TestConcerns(t *testing.T) {
	without := Config{ExcludeTables: []string{"public.t"}}
	for _, c := range []struct {
		cfg    Config
		object ddlObject
		want   bool
		text   string
	}{
		{Config{Tables: []string{"public.t"}}, ddlObject{Type: "table", Schema: "public", Name: "public.t"}, true, ""},
		{Config{Tables: []string{"public.t"}}, ddlObject{Type: "table column", Schema: "public", Name: "public.t.b"}, true, ""},
		{Config{Tables: []string{"public.My t"}}, ddlObject{Type: "table column", Schema: "public", Name: `public."My t"."b.c"`}, true, ""},
		{Config{Tables: []string{"public.t"}}, ddlObject{Type: "table column", Schema: "public", Name: "public.other.t"}, false, ""},
		{Config{Tables: []string{"public.t"}}, ddlObject{Type: "index", Schema: "public", Name: "public.t"}, false, ""},
		{Config{ExcludeTables: []string{"public.t"}}, ddlObject{Type: "table column", Schema: "public", Name: "public.t.b"}, false, ""},
		{Config{ExcludeTables: []string{"public.t"}}, ddlObject{Type: "table", Schema: "public", Name: "public.b"}, true, ""},
		{Config{}, ddlObject{Type: "table", Schema: "pgtee", Name: "pgtee.outbox"}, false, ""},
		{without, ddlObject{Type: "index", Schema: "public", Name: "public.t_id_idx"}, false, "CREATE INDEX ON t (id)"},
		{without, ddlObject{Type: "index", Schema: "public", Name: "public.on_t"}, false, "create unique index concurrently if not exists on_t\n\tON ONLY Public.T USING btree (id)"},
		{without, ddlObject{Type: "index", Schema: "public", Name: "public.i"}, true, "CREATE INDEX i ON u (t)"},
		{without, ddlObject{Type: "index", Schema: "public", Name: "public.i"}, true, `CREATE INDEX i ON "T"(id)`},
		{without, ddlObject{Type: "index", Schema: "s", Name: "s.i"}, true, "CREATE INDEX i ON t (id)"},
		{without, ddlObject{Type: "trigger", Name: "a on public.t"}, false, "CREATE TRIGGER a AFTER INSERT ON t EXECUTE FUNCTION f()"},
		{without, ddlObject{Type: "policy", Name: `"p" on public.u`}, true, "CREATE POLICY p ON u"},
		{without, ddlObject{Type: "trigger", Name: `"a on b" on public.t`}, false, `CREATE TRIGGER "a on b" AFTER INSERT ON t EXECUTE FUNCTION f()`},
	} {
		if got := c.cfg.concerns(&c.object, c.text); got != c.want {
			t.Errorf("--tables %q --exclude-tables %q: %s %s: %v", c.cfg.Tables, c.cfg.ExcludeTables, c.object.Type, c.object.Name, got)
		}
	}
}

// The index of a primary key and the sequence of a serial column have no table in their names: it is beside them.
func TestConcerned(t *testing.T) {
	c := Config{ExcludeTables: []string{"other"}}
	table, index, sequence, schema := ddlObject{Type: "table", Schema: "public"}, ddlObject{Type: "index", Schema: "public", Name: "public.i"}, ddlObject{Type: "sequence", Schema: "public", Name: "public.s"}, ddlObject{Type: "schema", Name: "s"}
	for name, want := range map[string]int{"public.t": 4, "public.other": 1} {
		table.Name = name
		if got := c.concerned([]ddlObject{sequence, table, index, schema}, ""); len(got) != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := c.concerned([]ddlObject{index}, "DROP INDEX i"); len(got) != 1 {
		t.Errorf("an index alone: %v", got)
	}
}

func TestRenames(t *testing.T) {
	cfg := Config{Map: map[string]string{"public.orders": "public.orders_eu", "a b": "c"}}
	for _, c := range []struct {
		statement string
		object    ddlObject
		want      string
	}{
		{"DROP TABLE orders", ddlObject{Type: "table", Schema: "public", Name: "public.orders"}, "public.orders"},
		{"SELECT f()", ddlObject{Type: "table", Schema: "public", Name: "public.orders"}, "public.orders"},
		{"SELECT f()", ddlObject{Type: "table column", Schema: "public", Name: "public.orders.id"}, "public.orders"},
		{"ALTER TABLE Orders RENAME TO old", ddlObject{Type: "table", Schema: "public", Name: "public.old"}, "public.orders"},
		{`CREATE INDEX ON public."orders" (id)`, ddlObject{Type: "index", Schema: "public", Name: "public.orders_id_idx"}, "public.orders"},
		{"CREATE TABLE orders_2 (id int)", ddlObject{Type: "table", Schema: "public", Name: "public.orders_2"}, ""},
		{`ALTER TABLE "a b".t ADD n int`, ddlObject{Type: "table", Schema: "a b", Name: `"a b".t`}, "a b"},
		{`DROP SCHEMA "a b"`, ddlObject{Type: "schema", Name: `"a b"`}, "a b"},
	} {
		if got := cfg.renames(&ddlRecord{Statement: c.statement, Objects: []ddlObject{c.object}}); got != c.want {
			t.Errorf("%s: %q, want %q", c.statement, got, c.want)
		}
	}
}

func TestSchemaOf(t *testing.T) {
	for _, c := range []struct {
		object ddlObject
		want   string
	}{
		{ddlObject{Type: "table", Schema: "app", Name: "app.t"}, "app"},
		{ddlObject{Type: "trigger", Name: "touch on app.orders"}, "app"},
		{ddlObject{Type: "policy", Name: `"a on b" on "my app".orders`}, "my app"},
		{ddlObject{Type: "TABLE"}, ""},
	} {
		if got := (&ddlRecord{Objects: []ddlObject{{Type: "schema", Name: "s"}, c.object}}).schemaOf(); got != c.want {
			t.Errorf("%s: %q, want %q", c.object.Name, got, c.want)
		}
	}
}

func TestGrantsUnqualified(t *testing.T) {
	for sql, want := range map[string]bool{
		"GRANT SELECT ON orders TO r":                                        true,
		"grant select (a, b),\n update on table app.orders, t to r":          true,
		"REVOKE GRANT OPTION FOR ALL ON FUNCTION f(int, text) FROM r":        true,
		`GRANT SELECT ON app.orders, "my app"."t, u" TO r`:                   false,
		"GRANT EXECUTE ON FUNCTION app.f(int, numeric(5,2)), app.g TO r":     false,
		"GRANT USAGE ON SCHEMA app TO r":                                     false,
		"GRANT SELECT ON ALL TABLES IN SCHEMA app TO r":                      false,
		"GRANT reader TO alice":                                              false,
		"ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT ON TABLES TO r": false,
	} {
		if got := grantsUnqualified(sql); got != want {
			t.Errorf("%s: %v", sql, got)
		}
	}
}
