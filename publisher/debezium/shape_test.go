package debezium

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

func shaped(t *testing.T, config Config, form shape.Config) *Encoder {
	t.Helper()
	form.Prefix, form.Database = config.Prefix, config.Database
	var err error
	if config.Shape, err = shape.New(form); err != nil {
		t.Fatal(err)
	}
	return New(config)
}

// capturedLog is a log with every type and operation, and the configuration that reads it.
func capturedLog(t *testing.T) (Config, []*outbox.Transaction) {
	for _, file := range (capture{"testdata/golden"}).files(t) {
		if file.name == "default" {
			config := file.config(t)
			config.Now = newSampleEncoder().config.Now
			return config, file.transactions(t)
		}
	}
	t.Fatal("there is no capture at the default settings")
	return Config{}, nil
}

// recordsOf encodes all transactions; alter may change rows first.
func recordsOf(t *testing.T, e *Encoder, transactions []*outbox.Transaction, alter func(*pgoutput.Relation, pgoutput.Tuple) pgoutput.Tuple) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, tx := range transactions {
		batch := testBatch()
		changed := *tx
		changed.Changes = append([]outbox.Change{}, tx.Changes...)
		for i := range changed.Changes {
			c := &changed.Changes[i]
			if c.Op == outbox.DDL {
				continue
			}
			c.Old, c.New = alter(c.Relation, c.Old), alter(c.Relation, c.New)
			if err := e.Append(t.Context(), &batch, &changed, i); err != nil {
				t.Fatal(err)
			}
		}
		for _, r := range batch.Records() {
			fmt.Fprintf(&all, "%s\n%s\n%s\n%s\n", r.Topic, orNull(r.Key), orNull(r.Value), r.Headers)
		}
	}
	return all.Bytes()
}

func unaltered(_ *pgoutput.Relation, row pgoutput.Tuple) pgoutput.Tuple { return row }

// rewrite gives the values of the columns that secret names another text.
func rewrite(secret func(r *pgoutput.Relation, i int) bool) func(*pgoutput.Relation, pgoutput.Tuple) pgoutput.Tuple {
	return func(r *pgoutput.Relation, row pgoutput.Tuple) pgoutput.Tuple {
		if row == nil {
			return nil
		}
		changed := binary.BigEndian.AppendUint16(nil, uint16(row.Len()))
		i := 0
		for c := row.Columns(); c.Next(); i++ {
			value := c.Value()
			if c.Kind() == pgoutput.Text && secret(r, i) {
				value = []byte("another value")
			}
			changed = append(changed, c.Kind())
			if c.Kind() == pgoutput.Text {
				changed = append(binary.BigEndian.AppendUint32(changed, uint32(len(value))), value...)
			}
		}
		return changed
	}
}

// forms are configurations that put rows into records in different ways.
func forms(config Config) map[string]Config {
	schemas, flat, plain, event, strings := config, config, config, config, config
	schemas.Framing = &record.ConnectJSON{}
	flat.Envelope, flat.Flat.Deletes = Flat, DeleteRewriteWithTombstone
	plain.Envelope = Plain
	event.Envelope = CloudEventStructured
	strings.Modes = Modes{Decimals: DecimalString, Times: TimeISOString, Unknown: UnknownOmit, Hstore: HstoreMap}
	strings.Framing = &record.ConnectJSON{}
	return map[string]Config{"default": config, "schemas": schemas, "flat": flat, "plain": plain, "CloudEvents": event, "strings": strings}
}

// TestHiddenColumns: the records of the whole log do not depend on what excluded columns hold, in any form.
func TestHiddenColumns(t *testing.T) {
	config, transactions := capturedLog(t)
	planner := New(config)
	type name struct{ table, column string }
	hidden := map[name]bool{} // in any version of the table
	nameOf := func(r *pgoutput.Relation, i int) name { return name{r.Schema + "." + r.Name, r.Columns[i].Name} }
	for _, tx := range transactions {
		for _, c := range tx.Changes {
			if c.Relation == nil {
				continue
			}
			plan, err := planner.table(t.Context(), c.Relation, record.Place{})
			if err != nil {
				t.Fatal(err)
			}
			for i, column := range c.Relation.Columns {
				if !column.Key && !slices.Contains(plan.key, i) {
					hidden[nameOf(c.Relation, i)] = true
				}
			}
		}
	}
	var form shape.Config
	for n := range hidden {
		form.Tables = append(form.Tables, shape.TableConfig{Match: n.table, ExcludeColumns: []string{n.column + "*"}})
	}
	secret := rewrite(func(r *pgoutput.Relation, i int) bool { return hidden[nameOf(r, i)] })
	for name, config := range forms(config) {
		with := recordsOf(t, shaped(t, config, form), transactions, unaltered)
		without := recordsOf(t, shaped(t, config, form), transactions, secret)
		if !bytes.Equal(with, without) {
			t.Errorf("%s: records differ by what hidden columns hold: %s", name, firstDifference(with, without))
		}
		everything := recordsOf(t, New(config), transactions, unaltered)
		if bytes.Equal(everything, recordsOf(t, New(config), transactions, secret)) || len(with) >= len(everything) {
			t.Errorf("%s: the comparison cannot fail: without the shape the records are the same", name)
		}
	}
}

// TestMaskedColumns: the records of the whole log, keys and headers with them, do not depend on any value.
func TestMaskedColumns(t *testing.T) {
	config, transactions := capturedLog(t)
	shape := shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Masks: []shape.MaskConfig{{Column: "*", Length: 4}}}}}
	secret := rewrite(func(*pgoutput.Relation, int) bool { return true })
	for name, config := range forms(config) {
		with := recordsOf(t, shaped(t, config, shape), transactions, unaltered)
		without := recordsOf(t, shaped(t, config, shape), transactions, secret)
		if !bytes.Equal(with, without) {
			t.Errorf("%s: records differ by what masked columns hold: %s", name, firstDifference(with, without))
		}
	}
	with := recordsOf(t, shaped(t, config, shape), transactions, unaltered)
	for _, want := range []string{`{"id":"****"}`, `"a_t":"****"`, `"before":{"id":"****"`} {
		if !bytes.Contains(with, []byte(want)) {
			t.Errorf("%s is nowhere in the records", want)
		}
	}
}

func firstDifference(a, b []byte) string {
	linesA, linesB := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	for i := range min(len(linesA), len(linesB)) {
		if linesA[i] != linesB[i] {
			return fmt.Sprintf("line %d\n%.500s\n%.500s", i, linesA[i], linesB[i])
		}
	}
	return fmt.Sprintf("%d and %d lines", len(linesA), len(linesB))
}

// members is a table with REPLICA IDENTITY FULL, guests one with its primary key only.
var (
	members = &pgoutput.Relation{OID: 1, Schema: "public", Name: "members", Identity: 'f', Columns: []pgoutput.Column{
		{Name: "id", Type: 23, TypeMod: -1, Key: true}, {Name: "email", Type: 25, TypeMod: -1, Key: true}, {Name: "region", Type: 25, TypeMod: -1, Key: true},
	}}
	guests = &pgoutput.Relation{OID: 2, Schema: "public", Name: "guests", Identity: 'd', Columns: []pgoutput.Column{
		{Name: "id", Type: 23, TypeMod: -1, Key: true}, {Name: "email", Type: 25, TypeMod: -1}, {Name: "region", Type: 25, TypeMod: -1},
	}}
	memberKeys = &fixedCatalog{Tables: map[uint32]Table{1: {NotNull: []string{"id", "email"}, Keys: [][]string{{"id"}}}, 2: {NotNull: []string{"id", "email"}, Keys: [][]string{{"id"}}}}}
)

// summaryOf encodes one change and tells op, key, before and after of its records.
func summaryOf(t *testing.T, e *Encoder, c outbox.Change) string {
	t.Helper()
	batch := testBatch()
	c.Note = -1
	tx := &outbox.Transaction{XID: 1, EndLSN: 2, Changes: []outbox.Change{c}}
	if err := e.Append(t.Context(), &batch, tx, 0); err != nil {
		return "error: " + err.Error()
	}
	var parts []string
	for _, r := range batch.Records() {
		value, err := parseJSON(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		if r.Value == nil {
			parts = append(parts, "tombstone "+orNull(r.Key))
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s %s > %s", value.at("op"), orNull(r.Key), value.at("before"), value.at("after")))
	}
	return strings.Join(parts, "; ")
}

// hashOfOne is what sha256sum makes of the salt "s" and the text "1".
const hashOfOne = "e8bc163c82eee18733288c7d4ac636db3a6deb013ef2d37b68322be20edc45cc"

// hashOfNothing is what sha256sum makes of the salt "s" alone, which Debezium writes for a NOT NULL column whose value is not in the WAL.
const hashOfNothing = "043a718774c572bd8a25adbeb1bfcd5c0256ae11cecf9f9c3f925d0e52beaf89"

// TestMaskForms: a mask is the same in key, before and after, and with NULL as Debezium has it.
func TestMaskForms(t *testing.T) {
	e := shaped(t, Config{Catalog: memberKeys}, shape.Config{Salt: []byte("s"), Tables: []shape.TableConfig{
		{Match: "public.members", ExcludeColumns: []string{"id"}, Masks: []shape.MaskConfig{{Column: "id", Kind: shape.Hash}, {Column: "email", Kind: shape.Asterisks, Length: 2}, {Column: "region", Kind: shape.Truncate, Length: 1}}},
		{Match: "public.guests", Masks: []shape.MaskConfig{{Column: "id", Kind: shape.Hash}, {Column: "email", Kind: shape.Hash}}},
	}})
	for _, test := range []struct {
		change outbox.Change
		want   string
	}{
		{outbox.Change{Op: outbox.Insert, Relation: members, New: tuple("1", "a@b", "über")},
			`"c" {"id":"HASH1"} null > {"email":"**","region":"ü"}`},
		{outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: tuple("1", "a@b", "eu"), New: tuple("1", isNull, isNull)},
			`"u" {"id":"HASH1"} {"email":"**","region":"e"} > {"email":"**","region":null}`},
		{outbox.Change{Op: outbox.Delete, Relation: guests, OldKind: 'K', Old: tuple("1", isNull, isNull)},
			`"d" {"id":"HASH1"} {"id":"HASH1","email":"HASH0","region":null} > null; tombstone {"id":"HASH1"}`},
		{outbox.Change{Op: outbox.Insert, Relation: guests, New: tuple("1", "1", isNull)},
			`"c" {"id":"HASH1"} null > {"id":"HASH1","email":"HASH1","region":null}`},
	} {
		want := strings.NewReplacer("HASH1", hashOfOne, "HASH0", hashOfNothing).Replace(test.want)
		if got := summaryOf(t, e, test.change); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// TestKeysUnderMasks: no mask cuts the values of a key, which would give two rows one key.
func TestKeysUnderMasks(t *testing.T) {
	codes := &pgoutput.Relation{OID: 4, Schema: "public", Name: "codes", Identity: 'd', Columns: []pgoutput.Column{
		{Name: "code", Type: oidBPChar, TypeMod: 4 + 2, Key: true}, {Name: "v", Type: oidInt4, TypeMod: -1},
	}}
	catalog := &fixedCatalog{Tables: map[uint32]Table{4: {NotNull: []string{"code"}, Keys: [][]string{{"code"}}, Primary: true, Defaults: map[string]string{"code": "'zz'::bpchar"}}}}
	salted := sha256.Sum256([]byte("sab"))
	whole := hex.EncodeToString(salted[:])
	for _, test := range []struct {
		mask        shape.MaskConfig
		key, schema string
	}{
		{shape.MaskConfig{Column: "*", Kind: shape.Hash}, `"` + whole + `"`, `[{masked true}] <nil>`},
		{shape.MaskConfig{Column: "*", Kind: shape.Truncate, Length: 1}, `"ab"`, `[] "zz"`},
	} {
		e := shaped(t, Config{Catalog: catalog}, shape.Config{Salt: []byte("s"), Tables: []shape.TableConfig{{Match: "*.*", Masks: []shape.MaskConfig{test.mask}}}})
		got := summaryOf(t, e, outbox.Change{Op: outbox.Insert, Relation: codes, New: tuple("ab", "1")})
		if !strings.HasPrefix(got, `"c" {"code":`+test.key+`} `) || strings.Count(got, test.key) != 1 {
			t.Errorf("%+v: %s", test.mask, got)
		}
		plan, err := e.plan(t.Context(), codes, record.Place{})
		if err != nil {
			t.Fatal(err)
		}
		key := e.describe(plan).key.Fields[0].Schema
		form := fmt.Sprintf("%v <nil>", key.Parameters)
		if key.Default != nil {
			form = fmt.Sprintf("%v %s", key.Parameters, key.Default)
		}
		if form != test.schema {
			t.Errorf("%+v: the key has parameters and default %s, want %s", test.mask, form, test.schema)
		}
	}
}

// TestTruncation: what Debezium's TruncateColumn does with a value in the form in which it is published. A column of which no value can be longer is left alone.
func TestTruncation(t *testing.T) {
	const uuid = "11111111-2222-3333-4444-555555555555"
	for _, test := range []struct {
		column      pgoutput.Column
		modes       Modes
		length      int
		value, want string
		parameters  string
	}{
		{pgoutput.Column{Type: oidText, TypeMod: -1}, Modes{}, 2, "äöü", `"äö"`, "[{truncateLength 2}]"},
		{pgoutput.Column{Type: oidText, TypeMod: -1}, Modes{}, 3, "äöü", `"äöü"`, "[{truncateLength 3}]"},
		{pgoutput.Column{Type: oidText, TypeMod: -1}, Modes{}, 0, "äöü", `""`, "[{truncateLength 0}]"},
		{pgoutput.Column{Type: oidText, TypeMod: -1}, Modes{}, 3, "\"\n\x01x", `"\"\n\u0001"`, "[{truncateLength 3}]"},
		{pgoutput.Column{Type: oidJSONB, TypeMod: -1}, Modes{}, 5, `{"a": 1}`, `"{\"a\":"`, "[{truncateLength 5}]"},
		{pgoutput.Column{Type: oidUUID, TypeMod: -1}, Modes{}, 5, uuid, `"11111"`, "[{truncateLength 5}]"},
		{pgoutput.Column{Type: 869, TypeMod: -1}, Modes{}, 5, "10.1.2.3", `"10.1."`, "[{truncateLength 5}]"},
		{pgoutput.Column{Type: oidTimestampTZ, TypeMod: -1}, Modes{}, 4, "2024-01-02 03:04:05+00", `"2024"`, "[{truncateLength 4}]"},
		{pgoutput.Column{Type: oidNumeric, TypeMod: -1}, Modes{Decimals: DecimalString}, 2, "1.25", `"1."`, "[{truncateLength 2}]"},
		{pgoutput.Column{Type: oidBytea, TypeMod: -1}, Modes{}, 2, `\x010203`, `"AQI="`, "[{truncateLength 2}]"},
		{pgoutput.Column{Type: oidBytea, TypeMod: -1}, Modes{}, 9, `\x010203`, `"AQID"`, "[{truncateLength 9}]"},
		{pgoutput.Column{Type: oidBytea, TypeMod: -1}, Modes{Binary: BinaryHex}, 5, `\x010203`, `"01020"`, "[{truncateLength 5}]"},
		{pgoutput.Column{Type: oidBytea, TypeMod: -1}, Modes{Binary: BinaryBase64}, 3, `\x010203`, `"AQI"`, "[{truncateLength 3}]"},
		{pgoutput.Column{Type: oidInt4, TypeMod: -1}, Modes{}, 2, "12345", `12345`, "[{truncateLength 2}]"},
		{pgoutput.Column{Type: oidInt4, TypeMod: -1}, Modes{}, 10, "12345", `12345`, "[]"},
		{pgoutput.Column{Type: oidNumeric, TypeMod: -1}, Modes{}, 2, "NaN", `"NaN"`, "[{truncateLength 2}]"},
		{pgoutput.Column{Type: oidVarchar, TypeMod: 4 + 3}, Modes{}, 3, "abc", `"abc"`, "[]"},
	} {
		test.column.Name = "c"
		r := &pgoutput.Relation{OID: 5, Schema: "public", Name: "t", Identity: 'n', Columns: []pgoutput.Column{test.column}}
		e := shaped(t, Config{Modes: test.modes}, shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Masks: []shape.MaskConfig{{Column: "*", Kind: shape.Truncate, Length: test.length}}}}})
		got := summaryOf(t, e, outbox.Change{Op: outbox.Insert, Relation: r, New: tuple(test.value)})
		if !strings.HasSuffix(got, `> {"c":`+test.want+`}`) {
			t.Errorf("type %d, %q cut to %d: %s, want %s", test.column.Type, test.value, test.length, got, test.want)
		}
		plan, err := e.plan(t.Context(), r, record.Place{})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(plan.columns[0].schema.Parameters); got != test.parameters {
			t.Errorf("type %d cut to %d: parameters %s, want %s", test.column.Type, test.length, got, test.parameters)
		}
	}
	e := shaped(t, Config{Catalog: memberKeys}, shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Masks: []shape.MaskConfig{{Column: "id", Kind: shape.Truncate, Length: 1}}}}})
	if got := summaryOf(t, e, outbox.Change{Op: outbox.Insert, Relation: guests, New: tuple("1", "a", "eu")}); !strings.Contains(got, "column id is published neither as a string nor as bytes") {
		t.Errorf("a number that was named: %s", got)
	}
}

// TestFilteredChanges: what a change becomes for those who see only the rows of one region. As with the row
// filters of PostgreSQL's publications, an update that crosses the filter is an insert or a delete.
func TestFilteredChanges(t *testing.T) {
	e := shaped(t, Config{Catalog: memberKeys}, shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Where: "region = 'eu'"}}})
	eu, us, none := tuple("1", "a", "eu"), tuple("1", "a", "us"), tuple("1", "a", isNull)
	const euJSON = `{"id":1,"email":"a","region":"eu"}`
	key := tuple("1", isNull, isNull)
	const gone = `"d" {"id":1} {"id":1,"email":"","region":null} > null; tombstone {"id":1}`
	toasted := append(pgoutput.Tuple{}, tuple("1", "a")...)
	toasted[1] = 3
	toasted = append(toasted, pgoutput.Unchanged)
	for name, test := range map[string]struct {
		change outbox.Change
		want   string
	}{
		"insert":               {outbox.Change{Op: outbox.Insert, Relation: members, New: eu}, `"c" {"id":1} null > ` + euJSON},
		"insert elsewhere":     {outbox.Change{Op: outbox.Insert, Relation: members, New: us}, ``},
		"insert of NULL":       {outbox.Change{Op: outbox.Insert, Relation: members, New: none}, ``},
		"update inside":        {outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: eu, New: eu}, `"u" {"id":1} ` + euJSON + ` > ` + euJSON},
		"update outside":       {outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: us, New: none}, ``},
		"update into":          {outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: us, New: eu}, `"c" {"id":1} null > ` + euJSON},
		"update out of":        {outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: eu, New: us}, `"d" {"id":1} ` + euJSON + ` > null; tombstone {"id":1}`},
		"delete":               {outbox.Change{Op: outbox.Delete, Relation: members, OldKind: 'O', Old: eu}, `"d" {"id":1} ` + euJSON + ` > null; tombstone {"id":1}`},
		"delete elsewhere":     {outbox.Change{Op: outbox.Delete, Relation: members, OldKind: 'O', Old: us}, ``},
		"old row unknown, in":  {outbox.Change{Op: outbox.Update, Relation: guests, New: eu}, `"u" {"id":1} null > ` + euJSON},
		"old row unknown, out": {outbox.Change{Op: outbox.Update, Relation: guests, New: us}, gone},
		"deleted row unknown":  {outbox.Change{Op: outbox.Delete, Relation: guests, OldKind: 'K', Old: key}, gone},
		"key change, in":       {outbox.Change{Op: outbox.Update, Relation: guests, OldKind: 'K', Old: tuple("2", isNull, isNull), New: eu}, `"d" {"id":2} {"id":2,"email":"","region":null} > null; tombstone {"id":2}; "c" {"id":1} null > ` + euJSON},
		"TOAST unknown":        {outbox.Change{Op: outbox.Update, Relation: guests, New: toasted}, "REPLICA IDENTITY FULL"},
		"TOAST from the old":   {outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: eu, New: toasted}, `"u" {"id":1} ` + euJSON + ` > ` + euJSON},
	} {
		got := summaryOf(t, e, test.change)
		if got != test.want && !(strings.HasPrefix(got, "error: ") && test.want != "" && strings.Contains(got, test.want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
}

// TestFilterOnKey: the replica identity tells enough, and nothing is deleted that was never there.
func TestFilterOnKey(t *testing.T) {
	e := shaped(t, Config{Catalog: memberKeys}, shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Where: "id < 10"}}})
	for _, change := range []outbox.Change{
		{Op: outbox.Update, Relation: guests, New: tuple("11", "a", "eu")},
		{Op: outbox.Delete, Relation: guests, OldKind: 'K', Old: tuple("11", isNull, isNull)},
	} {
		if got := summaryOf(t, e, change); got != "" {
			t.Errorf("a row that the filter never let through: %s", got)
		}
	}
}

func TestConfiguredKey(t *testing.T) {
	e := shaped(t, Config{Catalog: memberKeys}, shape.Config{Tables: []shape.TableConfig{{Match: "public.members", Key: []string{"region", "id"}, ExcludeColumns: []string{"region"}}}})
	got := summaryOf(t, e, outbox.Change{Op: outbox.Update, Relation: members, OldKind: 'O', Old: tuple("1", "a", "eu"), New: tuple("1", "a", "us")})
	want := `"d" {"region":"eu","id":1} {"id":1,"email":"a"} > null; tombstone {"region":"eu","id":1}; "c" {"region":"us","id":1} null > {"id":1,"email":"a"}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestKeyOutsideIdentity: inserts have the key, what would need the old one is refused.
func TestKeyOutsideIdentity(t *testing.T) {
	e := shaped(t, Config{Catalog: memberKeys}, shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Key: []string{"region"}}}})
	row := tuple("1", "a", "eu")
	if got := summaryOf(t, e, outbox.Change{Op: outbox.Insert, Relation: guests, New: row}); !strings.HasPrefix(got, `"c" {"region":"eu"}`) {
		t.Error(got)
	}
	for _, c := range []outbox.Change{{Op: outbox.Update, Relation: guests, New: row}, {Op: outbox.Delete, Relation: guests, OldKind: 'K', Old: tuple("1", isNull, isNull)}} {
		if got := summaryOf(t, e, c); !strings.Contains(got, `ALTER TABLE "public"."guests" REPLICA IDENTITY FULL`) {
			t.Errorf("%c: %s", c.Op, got)
		}
	}
}

func TestRefusedShapes(t *testing.T) {
	for name, test := range map[string]struct {
		shape shape.Config
		want  string
	}{
		"unkeyed": {shape.Config{RefuseUnkeyed: true}, `table public.log: a table does not fit the configuration: it has no key`},
		"key":     {shape.Config{Tables: []shape.TableConfig{{Match: "public.log", Key: []string{"id"}}}}, "key column id does not exist"},
		"filter":  {shape.Config{Tables: []shape.TableConfig{{Match: "public.log", Where: "region = 'eu'"}}}, "there is no column region"},
	} {
		log := &pgoutput.Relation{OID: 3, Schema: "public", Name: "log", Identity: 'd', Columns: []pgoutput.Column{{Name: "text", Type: 25, TypeMod: -1}}}
		got := summaryOf(t, shaped(t, Config{}, test.shape), outbox.Change{Op: outbox.Insert, Relation: log, New: tuple("x")})
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestShapedAllocations: filters and masks take no memory per row either.
func TestShapedAllocations(t *testing.T) {
	tx := sampleTransaction()
	encoder := shaped(t, newSampleEncoder().config, shape.Config{
		Salt: []byte("salt"), IncludeMessages: []string{"app*"},
		Tables: []shape.TableConfig{{Match: "public.orders", Where: "customer <> 'x' OR id > 0", ExcludeColumns: []string{"tags"},
			Masks: []shape.MaskConfig{{Column: "customer", Kind: shape.Hash}, {Column: "total", Length: 3}}}},
	})
	batch := testBatch()
	batch.Begin(tx)
	allocations := testing.AllocsPerRun(100, func() {
		batch.Reset()
		for i := range tx.Changes {
			if err := encoder.Append(t.Context(), &batch, tx, i); err != nil {
				t.Fatal(err)
			}
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations per transaction, want 0", allocations)
	}
}

// TestMaskedSchemas: a masked column is a string with Debezium's parameter, a hidden one is not in the schema.
func TestMaskedSchemas(t *testing.T) {
	e := shaped(t, Config{Prefix: "shop", Catalog: memberKeys}, shape.Config{Salt: []byte("s"), Tables: []shape.TableConfig{
		{Match: "public.guests", ExcludeColumns: []string{"email"}, Masks: []shape.MaskConfig{{Column: "id", Kind: shape.Hash}, {Column: "region", Kind: shape.Truncate, Length: 3}}},
	}})
	plan, err := e.plan(t.Context(), guests, record.Place{})
	if err != nil {
		t.Fatal(err)
	}
	schemas := e.describe(plan)
	got := ""
	for _, f := range append(schemas.row.Fields, schemas.key.Fields...) {
		got += fmt.Sprintf("%s %s %t %v; ", f.Name, f.Schema.Type, f.Schema.Optional, f.Schema.Parameters)
	}
	if want := "id string false [{masked true}]; region string true [{truncateLength 3}]; id string false [{masked true}]; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestWarnedOnce: the server sends the Relation of an unchanged table again, after each ANALYZE. What was said of it is not said again, but what is new is.
func TestWarnedOnce(t *testing.T) {
	relation := func(columns ...string) *pgoutput.Relation {
		r := &pgoutput.Relation{OID: 2, Schema: "public", Name: "outbox", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: oidInterval, TypeMod: -1, Key: true}}}
		for _, name := range columns {
			r.Columns = append(r.Columns, pgoutput.Column{Name: name, Type: oidText, TypeMod: -1})
		}
		return r
	}
	var found []string
	config := Config{Catalog: memberKeys, Warn: func(finding, _ string) { found = append(found, finding) }, Outboxes: []OutboxTable{NewOutboxTable("*.outbox")}}
	e := shaped(t, config, shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Where: "id IS NOT NULL"}}})
	for _, r := range []*pgoutput.Relation{relation("v"), relation("v"), relation("v", "w"), relation("u", "v")} {
		if _, err := e.table(t.Context(), r, record.Place{}); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"event-table-unfit", "filter-needs-full", "table-key-lossy", "filter-needs-full"}; !slices.Equal(found, want) { // the last one is about column u
		t.Errorf("%q, want %q", found, want)
	}
}

// TestFilterNeedsOldRows: a row that an UPDATE brings into the view of a filter has no long value that the statement left as it was, and no reader has one.
func TestFilterNeedsOldRows(t *testing.T) {
	for _, test := range []struct {
		name     string
		identity byte
		column   pgoutput.Column
		where    string
		warns    bool
	}{
		{"text", 'd', pgoutput.Column{Type: oidText, TypeMod: -1}, "id > 1", true},
		{"an array", 'd', pgoutput.Column{Type: 1022, TypeMod: -1}, "id > 1", true},
		{"the WAL has the old row", 'f', pgoutput.Column{Type: oidText, TypeMod: -1}, "id > 1", false},
		{"no filter", 'd', pgoutput.Column{Type: oidText, TypeMod: -1}, "", false},
		{"a short text", 'd', pgoutput.Column{Type: oidVarchar, TypeMod: 4 + 20}, "id > 1", false},
		{"a number", 'd', pgoutput.Column{Type: oidInt8, TypeMod: -1}, "id > 1", false},
		{"a UUID", 'd', pgoutput.Column{Type: oidUUID, TypeMod: -1}, "id > 1", false},
	} {
		test.column.Name, test.column.Key = "c", test.identity == 'f'
		relation := &pgoutput.Relation{OID: 2, Schema: "public", Name: "post", Identity: test.identity, Columns: []pgoutput.Column{{Name: "id", Type: oidInt4, TypeMod: -1, Key: true}, test.column}}
		found := ""
		config := Config{Catalog: memberKeys, Warn: func(finding, text string) { found += finding + " " + text }}
		e := shaped(t, config, shape.Config{Tables: []shape.TableConfig{{Match: "*.*", Where: test.where}}})
		if _, err := e.plan(t.Context(), relation, record.Place{}); err != nil {
			t.Fatal(err)
		}
		if warned := strings.Contains(found, "filter-needs-full ") && strings.Contains(found, `ALTER TABLE "public"."post" REPLICA IDENTITY FULL`); warned != test.warns {
			t.Errorf("%s: %q", test.name, found)
		}
	}
}
