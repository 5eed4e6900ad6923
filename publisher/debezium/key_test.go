package debezium

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// flagged is a relation of columns a, b, c, … that the log flags with k as columns of the identity.
func flagged(identity byte, flags string) *pgoutput.Relation {
	r := &pgoutput.Relation{OID: 7, Schema: "public", Name: "t", Identity: identity}
	for i, f := range flags {
		r.Columns = append(r.Columns, pgoutput.Column{Name: string(rune('a' + i)), Type: oidText, Key: f == 'k'})
	}
	return r
}

func names(text string) (list []string) { return append([]string{}, strings.Fields(text)...) }

func TestChooseKey(t *testing.T) {
	ab := [][]string{{"a"}, {"b"}}
	for _, test := range []struct {
		what     string
		relation *pgoutput.Relation
		known    Table
		want     string
	}{
		{"in the order of the index", flagged('d', "kk."), Table{Keys: [][]string{{"b", "a"}}}, "[1 0]"},
		{"the catalog knows nothing", flagged('d', "kk."), Table{}, "[0 1]"},
		{"the catalog is newer", flagged('d', "k.."), Table{Keys: [][]string{{"gone"}, {"b"}}}, "[0]"},
		{"a primary key of later on", flagged('d', "k.."), Table{Keys: [][]string{{"a", "b"}, {"a"}}}, "[0]"},
		{"only what old rows have", flagged('i', ".kk"), Table{Keys: [][]string{{"a"}, {"c"}}}, "[2]"},
		{"primary key under FULL", flagged('f', "kkk"), Table{Keys: [][]string{{"c"}}}, "[2]"},
		{"no key under FULL", flagged('f', "kkk"), Table{}, "[]"},
		{"inserts only", flagged('n', "..."), Table{Keys: ab, Identity: names("")}, "[0]"},
		{"a unique index", flagged('d', "..."), Table{Keys: [][]string{{"b"}, {"c"}}, Identity: names("")}, "[1]"},
		{"nothing", flagged('d', "..."), Table{Identity: names("")}, "[]"},

		{"a generated column that the log lacks", flagged('d', "k.."), Table{Keys: [][]string{{"a", "g"}}, Identity: names("a g"), Generated: names("g")}, "[]"},
		{"another index beside it", flagged('d', "k.."), Table{Keys: [][]string{{"a", "g"}, {"b"}}, Identity: names("a g"), Generated: names("g")}, "[]"},
		{"under FULL another index will do", flagged('f', "kkk"), Table{Keys: [][]string{{"a", "g"}, {"b"}}, Generated: names("g")}, "[1]"},
		{"under FULL without another", flagged('f', "kkk"), Table{Keys: [][]string{{"a", "g"}}, Generated: names("g")}, "[]"},
		{"a generated column that the log has", flagged('d', "k.k"), Table{Keys: [][]string{{"a", "c"}}, Identity: names("a c"), Generated: names("c")}, "[0 2]"},

		{"FULL of the root alone", flagged('f', "kkk"), Table{Partitioned: true, Keys: ab, Identity: names("a")}, "[0]"},
		{"FULL of root and leaves", flagged('f', "kkk"), Table{Partitioned: true, Keys: ab}, "[0]"},
		{"keys of the leaves", flagged('d', "..."), Table{Partitioned: true, Keys: ab, Identity: names("b")}, "[1]"},
		{"leaves that do not agree", flagged('d', "..."), Table{Partitioned: true, Identity: names("b")}, "[]"},
		{"a leaf that lacks the root's key", flagged('d', "k.."), Table{Partitioned: true, Keys: [][]string{{"a"}}, Identity: names("b")}, "[]"},
		{"another index of the leaves than the root's key", flagged('d', "kk.."), Table{Partitioned: true, Primary: true, Keys: [][]string{{"a", "b"}, {"c"}}, Identity: names("c")}, "[2]"},
		{"leaves with FULL alone", flagged('d', "..."), Table{Partitioned: true}, "[]"},
	} {
		if got := fmt.Sprint(New(Config{}).chooseKey(test.relation, &test.known)); got != test.want {
			t.Errorf("%s: key %s, want %s", test.what, got, test.want)
		}
	}
}

func text(values ...string) (tuple pgoutput.Tuple) {
	tuple = pgoutput.Tuple{0, byte(len(values))}
	for _, v := range values {
		switch v {
		case "NULL":
			tuple = append(tuple, pgoutput.Null)
		case "TOAST":
			tuple = append(tuple, pgoutput.Unchanged)
		default:
			tuple = append(append(tuple, pgoutput.Text, 0, 0, 0, byte(len(v))), v...)
		}
	}
	return tuple
}

// What the log does not have of an old row of a partition is neither NULL nor zero, and is not taken into the new one.
func TestOldRowsOfPartitions(t *testing.T) {
	fullRoot, plainRoot := flagged('f', "kkk"), flagged('d', "...")
	keyed := Table{Partitioned: true, Keys: [][]string{{"a"}}, Identity: names("a"), NotNull: names("a b")}
	for _, test := range []struct {
		what     string
		relation *pgoutput.Relation
		known    Table
		change   outbox.Change
		framed   bool
		want     []string // "key value", parts of the records
	}{
		{"key only, under FULL of the root", fullRoot, keyed, outbox.Change{Op: outbox.Delete, OldKind: 'O', Old: text("1", "NULL", "NULL")}, false,
			[]string{`{"a":"1"} {"before":{"a":"1"},"after":null,`, `{"a":"1"} null`}},
		{"the same with schemas", fullRoot, keyed, outbox.Change{Op: outbox.Delete, OldKind: 'O', Old: text("1", "NULL", "NULL")}, true,
			[]string{`{"a":"1"} {"before":{"a":"1","b":"__debezium_unavailable_value","c":"__debezium_unavailable_value"},"after":null,`}},
		{"another key, TOAST untouched", fullRoot, keyed, outbox.Change{Op: outbox.Update, OldKind: 'O', Old: text("1", "NULL", "NULL"), New: text("2", "x", "TOAST")}, false,
			[]string{`{"a":"1"} {"before":{"a":"1"},"after":null,`, `{"a":"1"} null`, `{"a":"2"} {"before":null,"after":{"a":"2","b":"x","c":"__debezium_unavailable_value"},`}},
		{"key of the leaves", plainRoot, keyed, outbox.Change{Op: outbox.Delete, OldKind: 'K', Old: text("1", "NULL", "NULL")}, false,
			[]string{`{"a":"1"} {"before":{"a":"1"},"after":null,`, `{"a":"1"} null`}},
		{"whole rows of leaves with FULL", plainRoot, Table{Partitioned: true, NotNull: names("a b")}, outbox.Change{Op: outbox.Delete, OldKind: 'K', Old: text("1", "2", "NULL")}, false,
			[]string{` {"before":{"a":"1","b":"2","c":null},"after":null,`}},
		{"Debezium's zero and null for a table of its own", flagged('d', "k.."), Table{Keys: [][]string{{"a"}}, Identity: names("a"), NotNull: names("a b")},
			outbox.Change{Op: outbox.Delete, OldKind: 'K', Old: text("1", "NULL", "NULL")}, false, []string{`{"a":"1"} {"before":{"a":"1","b":"","c":null},"after":null,`}},
		{"keys of the leaves that do not agree", plainRoot, Table{Partitioned: true, Identity: names("a")}, outbox.Change{Op: outbox.Delete, OldKind: 'K', Old: text("1", "NULL", "NULL")}, false,
			[]string{` {"before":{"a":"1","b":"__debezium_unavailable_value","c":"__debezium_unavailable_value"},"after":null,`}},
		{"a key with a generated column that the log lacks", flagged('d', "k.."), Table{Keys: [][]string{{"a", "g"}}, Identity: names("a g"), Generated: names("g"), NotNull: names("a b")},
			outbox.Change{Op: outbox.Delete, OldKind: 'K', Old: text("1", "NULL", "NULL")}, false, []string{` {"before":{"a":"1","b":"__debezium_unavailable_value","c":"__debezium_unavailable_value"},"after":null,`}},
	} {
		config := Config{Catalog: &fixedCatalog{Tables: map[uint32]Table{7: test.known}}}
		if test.framed {
			config.Framing = unframed{}
		}
		test.change.Relation, test.change.Note = test.relation, -1
		b := testBatch()
		tx := &outbox.Transaction{Changes: []outbox.Change{test.change}}
		b.Begin(tx)
		if err := New(config).Append(t.Context(), &b, tx, 0); err != nil {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		for i, r := range b.Records() {
			got := string(r.Key) + " " + string(r.Value)
			if r.Value == nil {
				got += "null"
			}
			if i < len(test.want) && !strings.HasPrefix(got, test.want[i]) {
				t.Errorf("%s: record %d is %s, want %s", test.what, i, got, test.want[i])
			}
		}
		if len(b.Records()) < len(test.want) {
			t.Errorf("%s: %d records, want %d", test.what, len(b.Records()), len(test.want))
		}
	}
}

// Of a type that nobody knows any more the log has the name: of a domain that of its base type.
func TestTypesByName(t *testing.T) {
	for name, want := range map[string]string{
		"pg_catalog.int4": "7", "pg_catalog._int4": `[7]`, "public.hstore": `"{\"a\":\"1\"}"`, "public._mood": `["sad"]`, "public.mood": `"sad"`, ".": `"7"`, ".int8": "7",
	} {
		schema, base, _ := strings.Cut(name, ".")
		value := map[string]string{"pg_catalog._int4": "{7}", "public.hstore": `"a"=>"1"`, "public._mood": "{sad}", "public.mood": "sad"}[name]
		if value == "" {
			value = "7"
		}
		c := newCodecs(&Config{Catalog: emptyCatalog{}})
		found, err := c.of(t.Context(), &pgoutput.Column{Type: 20000, TypeMod: -1, TypeSchema: schema, TypeName: base}, record.Place{})
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := found.append(nil, []byte(value)); !ok || string(got) != want {
			t.Errorf("%s: %s %t, want %s", name, got, ok, want)
		}
	}
}

// The log says once that a table's records have no key, or another one.
func TestWarnOfKey(t *testing.T) {
	catalog := &fixedCatalog{Tables: map[uint32]Table{7: {Keys: [][]string{{"a"}, {"b"}}}}}
	var told []string
	e := New(Config{Catalog: catalog, Warn: func(_, text string) { told = append(told, text) }})
	plan := func(known *Table) {
		delete(catalog.Tables, 7)
		if known != nil {
			catalog.Tables[7] = *known
		}
		if _, err := e.table(t.Context(), flagged('f', "kkk"), record.Place{}); err != nil {
			t.Fatal(err)
		}
	}
	plan(&Table{Keys: [][]string{{"a"}, {"b"}}})
	plan(&Table{Keys: [][]string{{"a"}}})
	plan(&Table{Keys: [][]string{{"b"}}})
	plan(nil)
	plan(nil)
	if len(told) != 2 || !strings.Contains(told[0], "(b) instead of (a)") || !strings.Contains(told[1], "not known any more") {
		t.Errorf("told %q", told)
	}
	told = told[:2]
	for i, typ := range []uint32{oidInt4, oidInt8, oidText} {
		r := flagged('d', "k..")
		r.Columns[0].Type, r.OID = typ, 8
		catalog.Tables[8] = Table{Keys: [][]string{{"a"}}, Identity: names("a"), Primary: true}
		if _, err := e.table(t.Context(), r, record.Place{}); err != nil || len(told) != 2+i/2 {
			t.Fatalf("type %d: told %q, error %v", typ, told, err)
		}
	}
	if !strings.Contains(told[2], "another type") {
		t.Errorf("told %q", told)
	}
	told = told[:2]
	e = New(Config{Catalog: catalog, Warn: func(_, text string) { told = append(told, text) }})
	catalog.Tables[7] = Table{Keys: [][]string{{"a", "g"}}, Identity: names("a g"), Generated: names("g")}
	if _, err := e.table(t.Context(), flagged('d', "k.."), record.Place{}); err != nil || len(told) != 3 || !strings.Contains(told[2], "generated column g") {
		t.Errorf("told %q, error %v", told, err)
	}
}

// Rows that are inserted can have any key; the former key of others must be in the WAL, of partitions in that of the leaves.
func TestConfiguredKeyOutsideIdentity(t *testing.T) {
	configured, err := shape.New(shape.Config{Prefix: "shop", Tables: []shape.TableConfig{{Match: "*.*", Key: []string{"b", "a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	leaves := Table{Partitioned: true, Keys: [][]string{{"a"}}, Identity: names("a")}
	for _, test := range []struct {
		what     string
		relation *pgoutput.Relation
		known    Table
		want     string // part of the error of an UPDATE; "": none
	}{
		{"primary key", flagged('d', "k.."), Table{Keys: [][]string{{"a"}}, Identity: names("a")}, `ALTER TABLE "public"."t" REPLICA IDENTITY FULL`},
		{"longer primary key", flagged('d', "kk."), Table{Keys: [][]string{{"a", "b"}}, Identity: names("a b")}, ""},
		{"FULL", flagged('f', "kkk"), Table{}, ""},
		{"FULL of the root alone", flagged('f', "kkk"), leaves, `for each partition of "public"."t"`},
		{"keys of the leaves alone", flagged('d', "..."), leaves, `for each partition of "public"."t"`},
		{"FULL of the leaves", flagged('d', "..."), Table{Partitioned: true}, ""},
	} {
		e := New(Config{Shape: configured, Catalog: &fixedCatalog{Tables: map[uint32]Table{7: test.known}}})
		b := testBatch()
		tx := &outbox.Transaction{Changes: []outbox.Change{
			{Op: outbox.Insert, Relation: test.relation, Note: -1, New: text("1", "x", "y")},
			{Op: outbox.Update, Relation: test.relation, Note: -1, New: text("1", "z", "y")},
		}}
		if test.want == "" {
			tx.Changes[1].OldKind, tx.Changes[1].Old = 'O', text("1", "x", "y")
		}
		b.Begin(tx)
		if err := e.Append(t.Context(), &b, tx, 0); err != nil {
			t.Errorf("%s: INSERT: %v", test.what, err)
		}
		if err := e.Append(t.Context(), &b, tx, 1); (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: UPDATE: %v, want %q", test.what, err, test.want)
		}
	}
}

// Identity is asked about all changes of a transaction before the first one is encoded: a later one must not choose the key of an earlier one.
func TestIdentityChoosesNoKey(t *testing.T) {
	catalog := &fixedCatalog{Tables: map[uint32]Table{7: {Keys: [][]string{{"b"}}}}}
	e := New(Config{Catalog: catalog, Keys: &record.Keys{}})
	before, after := flagged('f', "kkk"), flagged('f', "kkk")
	for range 2 {
		if id, err := e.Identity(t.Context(), after, record.Place{}); err != nil || !id.Whole {
			t.Fatalf("%+v, %v", id, err)
		}
	}
	catalog.Tables[7] = Table{Keys: [][]string{{"a"}, {"b"}}}
	if planned, err := e.table(t.Context(), before, record.Place{}); err != nil || planned.keyNames() != "(a)" {
		t.Errorf("key %s, %v", planned.keyNames(), err)
	}
	if e.Forget(7); len(e.identified) != 0 {
		t.Error("an identity is not forgotten")
	}
}

// A key of which the WAL lacks a generated column identifies no row; a configured one does.
func TestIdentityOfAConfiguredKey(t *testing.T) {
	configured, err := shape.New(shape.Config{Prefix: "shop", Tables: []shape.TableConfig{{Match: "*.*", Key: []string{"a"}}}})
	if err != nil {
		t.Fatal(err)
	}
	catalog := &fixedCatalog{Tables: map[uint32]Table{7: {Keys: [][]string{{"a", "g"}}, Identity: names("a g"), Generated: names("g")}}}
	for s, ambiguous := range map[*shape.Shape]bool{nil: true, configured: false} {
		relation := flagged('d', "k..")
		e := New(Config{Shape: s, Catalog: catalog})
		id, err := e.Identity(t.Context(), relation, record.Place{})
		if err != nil || id.Ambiguous != ambiguous {
			t.Errorf("%+v, %v, want ambiguous: %t", id, err, ambiguous)
		}
		if planned, err := e.table(t.Context(), relation, record.Place{}); err != nil || planned.identity.Ambiguous != ambiguous {
			t.Errorf("the plan has %+v, %v, want ambiguous: %t", planned.identity, err, ambiguous)
		}
	}
}

// Plans do not grow with the tables that are created and dropped.
func TestDroppedTablesAreForgotten(t *testing.T) {
	e := New(Config{})
	for oid := range uint32(3) {
		r := flagged('d', "k")
		r.OID = oid
		if _, err := e.table(t.Context(), r, record.Place{}); err != nil {
			t.Fatal(err)
		}
		e.Forget(oid)
	}
	if len(e.tables) != 0 {
		t.Errorf("%d plans are left", len(e.tables))
	}
}

// A key that was chosen for changes which are not in Kafka does not count when they are composed again, whichever of them is first.
func TestKeysOfARetry(t *testing.T) {
	catalog := &fixedCatalog{Tables: map[uint32]Table{}}
	keys := &record.Keys{}
	e := New(Config{Catalog: catalog, Keys: keys})
	both, second := [][]string{{"a"}, {"b"}}, [][]string{{"b"}}
	plan := func(r *pgoutput.Relation, candidates [][]string) string {
		t.Helper()
		catalog.Tables[7] = Table{Keys: candidates}
		planned, err := e.table(t.Context(), r, record.Place{})
		if err != nil {
			t.Fatal(err)
		}
		return planned.keyNames()
	}
	before, dropped, created := flagged('f', "kkk"), flagged('f', "kkk"), flagged('f', "kkk")
	recorded := keys.Recorded()
	for _, step := range []struct {
		what       string
		retry      bool
		relation   *pgoutput.Relation
		candidates [][]string
		want       string
	}{
		{"before the index of a is dropped", false, before, both, "(a)"},
		{"after it is dropped", false, dropped, second, "(b)"},
		{"the first again", true, before, both, "(a)"},
		{"after it is dropped, again", false, dropped, second, "(b)"},
		{"only the second again", true, dropped, second, "(b)"},
		{"after it is created again", false, created, [][]string{{"b"}, {"a"}}, "(b)"},
	} {
		if step.retry {
			keys.Resume(recorded)
		}
		if got := plan(step.relation, step.candidates); got != step.want {
			t.Errorf("%s: key %s, want %s", step.what, got, step.want)
		}
		if step.what == "the first again" {
			recorded = keys.Recorded()
		}
	}
}

// TestLossyKeys: the operator is told of each key whose form may give two rows one key, and of no other.
func TestLossyKeys(t *testing.T) {
	for _, test := range []struct {
		settings string
		column   pgoutput.Column
		values   [2]string // of two rows
		lossy    bool
	}{
		{"decimal.handling.mode=double", pgoutput.Column{Type: oidNumeric, TypeMod: numericMod(19, 0)}, [2]string{"1790000000000000001", "1790000000000000002"}, true},
		{"decimal.handling.mode=double", pgoutput.Column{Type: oidNumeric, TypeMod: numericMod(15, 2)}, [2]string{"1234567890123.45", "1234567890123.46"}, false},
		{"", pgoutput.Column{Type: oidNumeric, TypeMod: numericMod(19, 0)}, [2]string{"1790000000000000001", "1790000000000000002"}, false},
		{"decimal.handling.mode=double", pgoutput.Column{Type: oidMoney, TypeMod: -1}, [2]string{"$92,233,720,368,547,758.07", "$92,233,720,368,547,758.06"}, true},
		{"money.fraction.digits=0", pgoutput.Column{Type: oidMoney, TypeMod: -1}, [2]string{"$1.10", "$1.20"}, true},
		{"time.precision.mode=connect", pgoutput.Column{Type: oidTimestamp, TypeMod: -1}, [2]string{"2026-01-01 00:00:00.0001", "2026-01-01 00:00:00.0009"}, true},
		{"time.precision.mode=connect", pgoutput.Column{Type: oidTimestamp, TypeMod: 3}, [2]string{"2026-01-01 00:00:00.001", "2026-01-01 00:00:00.009"}, false},
		{"time.precision.mode=connect", pgoutput.Column{Type: oidTime, TypeMod: -1}, [2]string{"00:00:00.0001", "00:00:00.0009"}, true},
		{"", pgoutput.Column{Type: oidTimestamp, TypeMod: -1}, [2]string{"2026-01-01 00:00:00.0001", "2026-01-01 00:00:00.0009"}, false},
		{"", pgoutput.Column{Type: oidTimeTZ, TypeMod: -1}, [2]string{"10:00:00+00", "12:00:00+02"}, true},
		{"time.precision.mode=structured", pgoutput.Column{Type: oidTimeTZ, TypeMod: -1}, [2]string{"10:00:00+00", "12:00:00+02"}, false},
		{"", pgoutput.Column{Type: oidInterval, TypeMod: -1}, [2]string{"1 mon", "30 days 10:30:00"}, true},
		{"interval.handling.mode=string", pgoutput.Column{Type: oidInterval, TypeMod: -1}, [2]string{"1 mon", "30 days 10:30:00"}, false},
		{"", pgoutput.Column{Type: oidVarbit, TypeMod: 8}, [2]string{"1", "01"}, true},
		{"", pgoutput.Column{Type: oidBit, TypeMod: 2}, [2]string{"10", "01"}, false},
		{"", pgoutput.Column{Type: 1187, TypeMod: -1}, [2]string{`{"1 mon"}`, `{"30 days 10:30:00"}`}, true},
	} {
		test.column.Name, test.column.Key = "k", true
		relation := &pgoutput.Relation{OID: 2, Schema: "public", Name: "t", Identity: 'd', Columns: []pgoutput.Column{test.column}}
		found := ""
		e := New(Config{Modes: modesOf(t, test.settings), Warn: func(finding, _ string) { found += finding }})
		plan, err := e.plan(t.Context(), relation, record.Place{})
		if err != nil {
			t.Fatal(err)
		}
		var keys [2]string
		for i, text := range test.values {
			key, err := plan.appendKey(nil, &row{true, []value{{pgoutput.Text, []byte(text)}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			keys[i] = string(key)
		}
		if same := keys[0] == keys[1]; same != test.lossy || (found == "table-key-lossy") != test.lossy {
			t.Errorf("%s, type %d: keys %q, warned %q", test.settings, test.column.Type, keys, found)
		}
	}
}
