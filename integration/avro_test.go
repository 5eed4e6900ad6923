package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

var sharedRegistry = sync.OnceValues(func() (*harness.Registry, error) { return world.StartRegistry() })

// avroRecord is what avro_consumer.py read by the schemas in the registry.
type avroRecord struct {
	Topic          string
	KeyID, ValueID int
	Key, Value     json.RawMessage
}

// Avro runs avro_consumer.py on the topics of tables and returns what it read of each.
func (r *runner) Avro(registry *harness.Registry, tables ...string) map[string][]avroRecord {
	r.t.Helper()
	python := must(r.t, world.Python)
	args := []string{filepath.Join(world.Source, "integration", "avro_consumer.py"), r.broker.Address, registry.URL()}
	for _, table := range tables {
		args = append(args, r.prefix+"."+table)
	}
	out, err := exec.CommandContext(r.ctx, python, args...).Output()
	r.must(explain(err))
	read := map[string][]avroRecord{}
	for line := range bytes.Lines(out) {
		var record avroRecord
		r.must(json.Unmarshal(line, &record))
		table := strings.TrimPrefix(record.Topic, r.prefix+".")
		read[table] = append(read[table], record)
	}
	return read
}

// again publishes the log a second time, from where slot "kept" stands, to topics of its own prefix.
func (r *runner) again(prefix string) *runner {
	r.t.Helper()
	r.Stop(r.publisher)
	r.Exec(fmt.Sprintf("SELECT pg_drop_replication_slot('%s'); SELECT pg_copy_logical_replication_slot('%[1]s_kept', '%[1]s')", r.slot))
	second := *r
	second.prefix, second.publisher = prefix, nil
	return &second
}

// startAvro starts the publisher with Avro keys and values.
func (r *runner) startAvro(registry *harness.Registry, flags ...string) {
	r.t.Helper()
	r.publisher = r.process("publish", append(r.publishArgs(), append(flags, "--format", "avro", "--schema-registry", registry.URL())...)...)
}

// awaitRecords waits until a table's topic has n records.
func (r *runner) awaitRecords(table string, n int) {
	r.t.Helper()
	r.must(harness.Eventually(60*time.Second, func(context.Context) error {
		if !r.publisher.Running() {
			r.t.Fatal("the publisher ended while it was waited for")
		}
		if got := len(r.Topic(table)); got != n {
			return fmt.Errorf("%d records of %s, want %d", got, table, n)
		}
		return nil
	}))
}

// One log is published twice, as JSON with schemas and as Avro. What Confluent's client reads of the Avro
// equals the JSON: values of every type, inserted, updated and deleted.
func TestAvroEqualsJSON(t *testing.T) {
	registry := must(t, sharedRegistry)
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	r.Exec(typesSchema, "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	tables := typeTables(t, r.ctx, conn)
	names := []string{"mark.mark"}
	for _, table := range tables {
		r.Exec(table.create())
		names = append(names, table.name)
	}
	r.Setup()
	r.Exec(fmt.Sprintf("SELECT pg_copy_logical_replication_slot('%s', '%[1]s_kept')", r.slot))
	r.StartProxy()
	r.publisher = r.process("publish", append(r.publishArgs(), "--format", "json-schema", "--key-format", "json")...)
	writer := r.dial(r.ProxyURL("postgres", "types"))
	defer writer.Close(r.ctx)
	for _, table := range tables {
		for i := range table.rows() {
			_, err := writer.Exec(r.ctx, table.insert(i), pgx.QueryExecModeSimpleProtocol)
			r.must(err)
		}
		_, err := writer.Exec(r.ctx, "DELETE FROM "+table.name+" /*action='sweep',actor='ann'*/", pgx.QueryExecModeSimpleProtocol)
		r.must(err)
	}
	r.Drain()
	avro := r.again(r.prefix + "_avro")
	avro.startAvro(registry)
	avro.awaitRecords("mark.mark", r.marker)

	read := avro.Avro(registry, names...)
	var compared int
	for _, name := range names {
		want := r.Topic(name)
		if len(read[name]) != len(want) || len(want) == 0 {
			t.Errorf("%s: %d records in Avro, %d in JSON", name, len(read[name]), len(want))
			continue
		}
		for i, record := range read[name] {
			if err := equalRecord(record, want[i]); err != nil {
				t.Errorf("%s: record %d: %v", name, i, err)
			}
			compared++
		}
	}
	t.Logf("%d tables, %d records", len(names), compared)
}

// equalRecord compares what was read of an Avro record with the same record in JSON with a schema.
func equalRecord(got avroRecord, want verdict.Record) error {
	if !reflect.DeepEqual(exact(got.Key), exact(want.Key)) {
		return fmt.Errorf("key %s, want %s", got.Key, want.Key)
	}
	if want.Value == nil {
		if string(got.Value) != "null" {
			return errors.New("a tombstone has a value")
		}
		return nil
	}
	var framed struct{ Payload json.RawMessage }
	if err := json.Unmarshal(want.Value, &framed); err != nil {
		return err
	}
	return equalValue("value", shared(exact(got.Value)), shared(exact(framed.Payload)))
}

// shared takes away what two publishers say of themselves.
func shared(value any) any {
	if envelope, ok := value.(map[string]any); ok {
		delete(envelope, "ts_ms")
		delete(envelope, "ts_us")
		delete(envelope, "ts_ns")
		if source, ok := envelope["source"].(map[string]any); ok {
			delete(source, "name")
		}
		if block, ok := envelope["pgtee"].(map[string]any); ok { // in JSON what nobody claims is left out
			deleteNull(block, "context")
			deleteNull(block, "reason")
			if session, ok := block["session"].(map[string]any); ok {
				deleteNull(session, "actor")
			}
		}
	}
	return value
}

func deleteNull(object map[string]any, name string) {
	if value, ok := object[name]; ok && value == nil {
		delete(object, name)
	}
}

// exact parses JSON with the digits of its numbers.
func exact(text []byte) (value any) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return err
	}
	return value
}

// equalValue compares JSON values; two floats are equal if they are the same float of 32 or 64 bits.
func equalValue(path string, got, want any) error {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok || len(got) != len(want) {
			return fmt.Errorf("%s: %d fields, want %d", path, len(got), len(want))
		}
		for name := range want {
			if err := equalValue(path+"."+name, got[name], want[name]); err != nil {
				return err
			}
		}
		return nil
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return fmt.Errorf("%s: %d items, want %d", path, len(got), len(want))
		}
		for i := range want {
			if err := equalValue(fmt.Sprintf("%s[%d]", path, i), got[i], want[i]); err != nil {
				return err
			}
		}
		return nil
	case json.Number:
		if got, ok := got.(json.Number); ok && equalNumber(got, want) {
			return nil
		}
	default:
		if reflect.DeepEqual(got, want) {
			return nil
		}
	}
	return fmt.Errorf("%s is %v, want %v", path, got, want)
}

func equalNumber(a, b json.Number) bool {
	if a == b {
		return true
	}
	if !strings.ContainsAny(string(a)+string(b), ".eE") {
		return false
	}
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && (x == y || float32(x) == float32(y))
}

// A table grows a column in mid-stream: its records carry a new schema id from there on, and all of them are read.
// Then a column changes its type to one that the registry does not take: the publisher halts with one line, with
// nothing of it published, until the registry is told to take it; then it goes on where it was.
func TestAvroSchemaEvolves(t *testing.T) {
	registry := must(t, world.StartRegistry)
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec(`CREATE SCHEMA "Odd-1"; CREATE TABLE "Odd-1"."2 t" (id int PRIMARY KEY, "a-b" text NOT NULL)`)
	r.Setup()
	r.StartProxy()
	r.startAvro(registry)
	table := "Odd-1.2_t" // a topic name may not contain a space
	subject := r.prefix + "." + table + "-value"
	for i, sql := range []string{
		`INSERT INTO "Odd-1"."2 t" VALUES (1, 'one')`,
		`ALTER TABLE "Odd-1"."2 t" ADD COLUMN c numeric(10,2)`,
		`INSERT INTO "Odd-1"."2 t" VALUES (2, 'two', 2.5)`,
		`DELETE FROM "Odd-1"."2 t" WHERE id = 1`, // and its tombstone
	} {
		r.Exec(sql)
		r.awaitRecords(table, []int{1, 1, 2, 4}[i])
	}
	records := r.Avro(registry, table)[table]
	if len(records) != 4 {
		t.Fatalf("%d records are read, want 4", len(records))
	}
	if records[0].ValueID == records[1].ValueID || records[0].KeyID != records[1].KeyID {
		t.Errorf("ids of the values %d and %d, of the keys %d and %d: want a new one for the value alone",
			records[0].ValueID, records[1].ValueID, records[0].KeyID, records[1].KeyID)
	}
	if got, want := fmt.Sprint(afterOf(t, records)), `[{"id":1,"a_b":"one"} {"id":2,"a_b":"two","c":"APo="} null]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}

	r.Exec(`ALTER TABLE "Odd-1"."2 t" ALTER COLUMN "a-b" TYPE int USING 7`, `INSERT INTO "Odd-1"."2 t" VALUES (3, 3, 3)`)
	if wrong := r.expectHalt("the schema registry rejected a schema", subject, "topic "+r.prefix+"."+table, "set the compatibility of subject"); wrong != "" {
		t.Fatal(wrong)
	}
	if got := len(r.Topic(table)); got != 4 {
		t.Errorf("%d records after the halt, want 4", got)
	}
	r.must(registry.SetCompatibility(r.ctx, "", "NONE")) // for one subject, Apicurio takes NONE for "as all"
	r.startAvro(registry)
	r.awaitRecords(table, 5)
	if got, want := fmt.Sprint(afterOf(t, r.Avro(registry, table)[table][4:])), `[{"id":3,"a_b":3,"c":"ASw="}]`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// afterOf returns the rows after the changes, tombstones left out.
func afterOf(t *testing.T, records []avroRecord) (rows []string) {
	t.Helper()
	for _, record := range records {
		if string(record.Value) == "null" {
			continue
		}
		var envelope struct{ After json.RawMessage }
		if err := json.Unmarshal(record.Value, &envelope); err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, envelope.After); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, compact.String())
	}
	return rows
}

// While the registry is away the publisher waits, and publishes what it missed when it is back. Without
// registration it halts at a schema that is not there.
func TestAvroWithoutRegistry(t *testing.T) {
	registry := must(t, world.StartRegistry)
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
	r.Setup()
	r.StartProxy()
	r.startAvro(registry)
	r.Exec("INSERT INTO a VALUES (1)")
	r.awaitRecords("public.a", 1)
	r.must(registry.Stop())
	r.Exec("INSERT INTO a VALUES (2)")
	r.awaitRecords("public.a", 2) // its schema is known
	r.Exec("INSERT INTO b VALUES (1)", "INSERT INTO a VALUES (3)")
	r.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if !strings.Contains(r.publisher.Log(), "the schema registry does not answer") {
			return errors.New("the publisher does not say that the registry is away")
		}
		return nil
	}))
	r.must(registry.Start())
	r.awaitRecords("public.b", 1)
	r.awaitRecords("public.a", 3)

	r.Stop(r.publisher)
	r.Exec("CREATE TABLE c (id int PRIMARY KEY); INSERT INTO c VALUES (1)")
	r.startAvro(registry, "--no-auto-register")
	if wrong := r.expectHalt("the schema registry does not have a schema", r.prefix+".public.c-key", "without --no-auto-register"); wrong != "" {
		t.Error(wrong)
	}
}
