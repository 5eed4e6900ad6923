package integration

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
)

// strangers is a scenario of topics that others fill and a database without pgtee.
type strangers struct {
	*runner
	kafka *kgo.Client
}

func newStrangers(t *testing.T, schema string) *strangers {
	t.Helper()
	s := &strangers{runner: newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")}
	var err error
	s.kafka, err = kgo.NewClient(kgo.SeedBrokers(s.broker.Address), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	s.must(err)
	t.Cleanup(s.kafka.Close)
	s.Exec(schema)
	return s
}

// Topic makes a topic of the scenario and returns its whole name.
func (s *strangers) NewTopic(name string, partitions int32) string {
	s.t.Helper()
	name = s.prefix + "." + name
	_, err := kadm.NewClient(s.kafka).CreateTopic(s.ctx, partitions, -1, nil, name)
	s.must(err)
	return name
}

// pair is a record: KEY=VALUE; no key without the sign, a tombstone without a value behind it.
func pair(topic, text string) *kgo.Record {
	record := &kgo.Record{Topic: topic}
	key, value, keyed := strings.Cut(text, "=")
	if !keyed {
		value = key
	} else {
		record.Key = []byte(key)
	}
	if value != "" || !keyed {
		record.Value = []byte(value)
	}
	return record
}

// Produce writes records into partition 0.
func (s *strangers) Produce(topic string, texts ...string) {
	s.t.Helper()
	var records []*kgo.Record
	for _, text := range texts {
		records = append(records, pair(topic, text))
	}
	s.must(s.kafka.ProduceSync(s.ctx, records...).FirstErr())
}

func (s *strangers) args(topic, table string, more ...string) []string {
	return append([]string{"consume", "--kafka", s.broker.Address, "--postgres", s.URL(), "--topic", topic, "--into", table}, more...)
}

// Consume runs pgtee consume --once and expects exit code 0.
func (s *strangers) Consume(topic, table string, more ...string) (output string) {
	s.t.Helper()
	out, code := s.Pgtee(s.args(topic, table, append(more, "--once")...)...)
	if code != 0 {
		s.t.Fatalf("consume exits with %d:\n%s", code, out)
	}
	return out
}

// Expect compares the lines that a query returns.
func (s *strangers) Expect(sql string, want ...string) {
	s.t.Helper()
	conn := s.dial(s.URL())
	defer conn.Close(s.ctx)
	rows, err := conn.Query(s.ctx, sql)
	s.must(err)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	s.must(err)
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Errorf("%s:\ngot\n%s\nwant\n%s", sql, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestConsume(t *testing.T) {
	s := newStrangers(t, `CREATE TABLE added (seq serial, id int NOT NULL, v varchar(5), n int DEFAULT 7 CHECK (n > 0), doc jsonb, o bigint);
CREATE TABLE kept (id int PRIMARY KEY, v text, at timestamptz);
CREATE TABLE pairs (a text, b int, v text DEFAULT 'default', UNIQUE (a, b))`)
	topic := s.NewTopic("added", 1)
	s.Produce(topic, `{"id":1,"v":"one","doc":{"x":[1]}}`, `{"id":2,"n":0}`, `{"id":3,"n":null}`, `no json`, `{"id":"4"}`, `{"v":"x"}`, `{"id":5,"v":"too long"}`, `{"id":6,"v":"a\u0000"}`, `{"id":7}`, "k=")
	out := s.Consume(topic, "added", "--offset", "o")
	if !strings.Contains(out, "4 records of "+topic+" are in added, 6 in pgtee.dead_letters") {
		t.Errorf("consume says %s", out)
	}
	s.Expect("SELECT (id, v, n, doc, o)::text FROM added ORDER BY o", `(1,one,7,"{""x"": [1]}",0)`, "(3,,,,2)", "(4,,7,,4)", "(7,,7,,8)")
	s.Expect(`SELECT concat_ws(' ', "offset", sqlstate, regexp_replace(reason, 'contains \(\d+', 'contains (…')) FROM pgtee.dead_letters ORDER BY "offset"`,
		`1 23514 new row for relation "added" violates check constraint "added_n_check" (Failing row contains (…, 2, null, 0, null, 1).)`, `3 it is not valid JSON`,
		`5 23502 null value in column "id" of relation "added" violates not-null constraint (Failing row contains (…, null, x, 7, null, 5).)`,
		`6 22001 value too long for type character varying(5), column v`, `7 a NUL byte, which no text of PostgreSQL can hold`, `9 a tombstone, and no --key says which row it deletes`)
	s.Consume(topic, "added", "--offset", "o") // nothing comes again
	s.Expect("SELECT count(*)::text FROM added", "4")

	s.Exec("CREATE TABLE before AS TABLE added; TRUNCATE added; DELETE FROM pgtee.consumed") // start again
	s.Consume(topic, "added", "--offset", "o")
	s.Expect("SELECT (id, v, n, doc, o)::text FROM added EXCEPT SELECT (id, v, n, doc, o)::text FROM before")
	s.Expect("SELECT count(*) || ' ' || min(tries) || ' ' || max(tries) FROM pgtee.dead_letters", "6 2 2")

	s.Exec("ALTER TABLE added ALTER COLUMN v TYPE text, DROP CONSTRAINT added_n_check")
	out, code := s.Pgtee(s.args(topic, "added", "--offset", "o", "--retry-dead")...)
	if code != 0 || !strings.Contains(out, "2 dead letters are in added now, 4 are still dead") {
		t.Errorf("--retry-dead exits with %d: %s", code, out)
	}
	s.Expect("SELECT (id, v, n, o)::text FROM added WHERE o IN (1, 6) ORDER BY o", "(2,,0,1)", `(5,"too long",7,6)`)
	s.Expect(`SELECT "offset" || ' ' || tries FROM pgtee.dead_letters ORDER BY "offset"`, "3 3", "5 3", "7 3", "9 3")

	topic = s.NewTopic("kept", 1)
	s.Produce(topic, `1={"v":"old"}`, `2={"v":"b"}`, `1={"v":"new"}`, `3={"v":"c"}`, `3=`, `4={"v":"d"}`, `x={"v":"bad key"}`)
	s.Consume(topic, "public.kept", "--key", "id", "--timestamp", "at")
	s.Expect("SELECT id || v FROM kept ORDER BY id", "1new", "2b", "4d")
	s.Produce(topic, `2=`, `4={"v":"e"}`, `{"id":5}={"id":6,"v":"f"}`, `5=`, `9=`)
	s.Consume(topic, "public.kept", "--key", "id", "--timestamp", "at")
	s.Expect("SELECT id || v FROM kept ORDER BY id", "1new", "4e")

	topic = s.NewTopic("pairs", 1)
	s.Produce(topic, `{"k":{"a":"x"},"b":1}={"v":"1"}`, `{"k":{"a":"x"},"b":2}={}`, `{"k":{"a":"x"},"b":1}={}`, `{"k":{"a":"x"},"b":2}={"v":null}`)
	s.Consume(topic, "pairs", "--key", "a=$.k.a,b")
	s.Expect("SELECT concat_ws(' ', a, b, v) FROM pairs ORDER BY b", "x 1 default", "x 2") // a record replaces the row
}

// Which keys are equal is for PostgreSQL to say, and the last record of equal keys counts, be it a row or a tombstone.
func TestConsumeEqualKeys(t *testing.T) {
	s := newStrangers(t, "")
	const a, b, c = "aaaaaaaa-0000-4000-8000-000000000000", "bbbbbbbb-0000-4000-8000-000000000000", "cccccccc-0000-4000-8000-000000000000"
	for typ, keys := range map[string][3][2]string{
		"uuid":        {{a, strings.ToUpper(a)}, {b, strings.ToUpper(b)}, {c, "{" + c + "}"}},
		"numeric":     {{"1", "1.0"}, {"2", "2.00"}, {"3", "3e0"}},
		"char(4)":     {{"a", "a "}, {"b", "b  "}, {"c", "c   "}},
		"timestamptz": {{"2024-01-01T00:00:00Z", "2024-01-01T01:00:00+01:00"}, {"2025-01-01T00:00:00Z", "2025-01-01 00:00:00"}, {"2026-01-01T00:00:00Z", "2025-12-31T23:00:00-01:00"}},
	} {
		table := "of_" + typ[:4]
		s.Exec(fmt.Sprintf("CREATE TABLE %s (k %s PRIMARY KEY, v text, w text DEFAULT 'w')", table, typ))
		topic := s.NewTopic(table, 1)
		for range 2 {
			for _, records := range [][]string{ // of one batch
				{keys[0][0] + `={"v":"old"}`, keys[0][1] + `={"v":"new","w":"W"}`},
				{keys[0][0] + `={"v":"old","w":"W"}`, keys[0][1] + `={"v":"new"}`},
				{keys[1][0] + `={"v":"gone"}`, keys[1][1] + `=`},
				{keys[2][0] + `={"v":"old"}`, keys[2][1] + `=`, keys[2][0] + `={"v":"back"}`},
			} {
				s.Produce(topic, records...)
				s.Consume(topic, table, "--key", "k")
			}
			s.Expect("SELECT v || w FROM "+table+" ORDER BY k", "neww", "backw")
		}
	}
	s.Expect("SELECT reason FROM pgtee.dead_letters")
}

// What a trigger raises makes a record a dead letter, also with a code that PostgreSQL uses for faults of its own, unless no record is accepted.
func TestConsumeRefusedByATrigger(t *testing.T) {
	s := newStrangers(t, `CREATE TABLE t (id int, code text);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.code <> '' THEN RAISE 'refused %', NEW.id USING ERRCODE = NEW.code; END IF; RETURN NEW; END$$;
CREATE TRIGGER refuse BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse()`)
	topic := s.NewTopic("t", 1)
	s.Produce(topic, `{"id":1,"code":"XX000"}`, `{"id":2,"code":"38000"}`, `{"id":3,"code":""}`, `{"id":4,"code":"XX000"}`, `{"id":5,"code":"P0002"}`, `{"id":6,"code":"U0001"}`, `{"id":7,"code":""}`)
	s.Consume(topic, "t")
	s.Expect("SELECT id::text FROM t ORDER BY id", "3", "7")
	dead := []string{"XX000 refused 1", "38000 refused 2", "XX000 refused 4", "P0002 refused 5", "U0001 refused 6"}
	s.Expect(`SELECT sqlstate || ' ' || reason FROM pgtee.dead_letters ORDER BY "offset"`, dead...)
	if out, code := s.Pgtee(s.args(topic, "t", "--retry-dead")...); code != 0 || !strings.Contains(out, "0 dead letters are in t now, 5 are still dead") {
		t.Errorf("--retry-dead exits with %d: %s", code, out)
	}

	var all []string
	for range 500 {
		all = append(all, `{"id":8,"code":"XX000"}`)
	}
	s.Produce(topic, all...)
	s.halts(s.args(topic, "t", "--once"), "refuses every available record", "refused 8 (SQLSTATE XX000)")
	s.Produce(topic, `{"id":9,"code":"42501"}`, `{"id":10,"code":""}`)
	s.Exec("UPDATE pgtee.consumed SET next_offset = 507")
	s.halts(s.args(topic, "t", "--once"), "lacks a privilege: refused 9")
	s.Expect(`SELECT sqlstate || ' ' || reason FROM pgtee.dead_letters ORDER BY "offset"`, dead...)
}

// A consumer sees each change of the table's definition before it writes the next row, and makes no dead letter of what the former definition refused.
func TestConsumeWhileTheTableChanges(t *testing.T) {
	s := newStrangers(t, "CREATE TABLE added (id int, v text); CREATE TABLE kept (id int PRIMARY KEY, v int)")
	topic := s.NewTopic("changing", 1)
	consumers := []*harness.Process{s.process("added", s.args(topic, "added")...), s.process("kept", s.args(topic, "kept", "--key", "id")...)}
	n := 0
	next := func(record string) {
		t.Helper()
		n++
		s.Produce(topic, record)
		s.must(harness.Eventually(20*time.Second, func(context.Context) error {
			if got := s.Query("SELECT (SELECT count(*) FROM added) || ' ' || (SELECT count(*) FROM kept)"); got != fmt.Sprintf("%d %[1]d", n) {
				return fmt.Errorf("the tables have %s rows, want %d", got, n)
			}
			return nil
		}))
	}
	next(`{"id":1,"v":10,"x":"lost"}`)
	s.Exec("ALTER TABLE added ADD COLUMN x text; ALTER TABLE kept ADD COLUMN x text")
	next(`{"id":2,"v":20,"x":"new"}`)
	s.Exec("ALTER TABLE kept ALTER COLUMN v TYPE text, ALTER COLUMN x SET DEFAULT 'initial'")
	next(`{"id":3,"v":"text"}`)
	s.Exec("ALTER TABLE added DROP COLUMN v; ALTER TABLE kept DROP COLUMN v")
	next(`{"id":4,"v":"lost","x":"last"}`)
	s.Expect("SELECT added::text FROM added ORDER BY id", "(1,)", "(2,new)", "(3,)", "(4,last)")
	s.Expect("SELECT kept::text FROM kept ORDER BY id", "(1,)", "(2,new)", "(3,initial)", "(4,last)")
	s.Expect("SELECT reason FROM pgtee.dead_letters")
	for _, p := range consumers {
		s.Stop(p)
	}
}

// Records of one batch that each lack other fields: a record replaces the row, and what it lacks is the column's default.
func TestConsumeManyShapes(t *testing.T) {
	s := newStrangers(t, `CREATE TABLE shaped (k int PRIMARY KEY, n serial, i int GENERATED BY DEFAULT AS IDENTITY (START 100), own int GENERATED ALWAYS AS IDENTITY, a text DEFAULT 'a', b time DEFAULT now(), c varchar(3) DEFAULT 'c', v text);
CREATE TABLE listed (k int, n serial, a text DEFAULT 'a', c varchar(3) DEFAULT 'c')`)
	topic := s.NewTopic("shaped", 1)
	s.Produce(topic, `{"k":1,"v":"x","own":7}`, `{"k":2,"a":"A"}`, `{"k":3,"a":null,"c":"C"}`, `{"k":4,"n":50,"i":60,"b":"10:00"}`, `{"k":5,"c":"too long"}`, `{"k":2,"c":"C"}`)
	s.Consume(topic, "shaped", "--key", "k")
	const rows = "SELECT concat_ws(' ', k, coalesce(a, '-'), c, v) FROM shaped ORDER BY k"
	s.Expect(rows, "1 a c x", "2 a C", "3 - C", "4 a c")
	s.Expect("SELECT concat_ws(' ', n, i, b) FROM shaped WHERE k = 4", "50 60 10:00:00")
	s.Expect("SELECT concat_ws(' ', n < 40, i >= 100, own, b IS NOT NULL) FROM shaped WHERE k = 1", "t t 1 t")
	s.Produce(topic, `{"k":3}`, `{"k":1,"a":"A"}`)
	s.Consume(topic, "shaped", "--key", "k")
	s.Expect(rows, "1 A c", "2 a C", "3 a c", "4 a c")

	s.Consume(topic, "listed")
	s.Expect("SELECT concat_ws(' ', k, coalesce(a, '-'), c) FROM listed ORDER BY k, coalesce(a, '-') COLLATE \"C\"", "1 A c", "1 a c", "2 A c", "2 a C", "3 - C", "3 a c", "4 a c")
	s.Expect("SELECT count(DISTINCT n)::text FROM listed", "7")
	s.Expect("SELECT reason FROM pgtee.dead_letters", "value too long for type character varying(3), column c", "value too long for type character varying(3), column c")
}

func TestConsumeFormats(t *testing.T) {
	s := newStrangers(t, `CREATE TABLE lines (a int DEFAULT 0, b text, made int GENERATED ALWAYS AS (a + 1) STORED, c date); CREATE TABLE body (body bytea, text text, h text, p int);`)
	csv := s.NewTopic("csv", 1)
	s.Produce(csv, `1,"x, ""y""",2024-02-29`, `2,,`, `3,only two`, `4,x,2024-02-30`)
	s.Consume(csv, "lines", "--format", "csv")
	tsv := s.NewTopic("tsv", 1)
	s.Produce(tsv, `5`+"\t"+`a\tb`+"\t"+`\N`)
	s.Consume(tsv, "lines", "--format", "tsv", "--columns", "a,b,c", "--group", "tsv")
	s.Expect("SELECT (a, b, c)::text FROM lines ORDER BY a", `(1,"x, ""y""",2024-02-29)`, "(2,,)", "(5,\"a\tb\",)")
	s.Expect("SELECT reason FROM pgtee.dead_letters ORDER BY 1", "2 fields, and 3 columns for them", `date/time field value out of range: "2024-02-30", column c`)

	s.Exec("CREATE TABLE bolts (id int PRIMARY KEY, name text)")
	keyed := s.NewTopic("keyed", 1)
	s.Produce(keyed, `1,bolt`, `2,nut`, `2=3,screw`)
	s.Consume(keyed, "bolts", "--format", "csv", "--key", "id")
	s.Expect("SELECT id || ' ' || name FROM bolts ORDER BY id", "1 bolt", "2 screw")

	text := s.NewTopic("text", 1)
	s.must(s.kafka.ProduceSync(s.ctx, &kgo.Record{Topic: text, Value: []byte("line\tof \\ text"), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("span")}}}).FirstErr())
	s.Consume(text, "body", "--format", "text", "--map", "text=$", "--header", "h=trace", "--partition", "p")
	raw := s.NewTopic("raw", 1)
	s.Produce(raw, "\x00\xff")
	s.Consume(raw, "body", "--format", "raw", "--map", "body=$", "--group", "raw")
	s.Expect("SELECT b::text FROM body AS b ORDER BY p", "(,\"line\tof \\\\ text\",span,0)", `("\\x00ff",,,)`)

	s.Exec("CREATE TABLE empty (a text DEFAULT 'a', b text DEFAULT 'b')")
	empty := s.NewTopic("empty", 1)
	s.Produce(empty, `{"a":"","b":""}`, `{}`, `{"a":""}`)
	s.Consume(empty, "empty")
	s.Expect("SELECT empty::text FROM empty ORDER BY 1", `("","")`, `("",b)`)
	s.Expect("SELECT reason FROM pgtee.dead_letters WHERE topic LIKE '%.empty'", "no field of it has a column")

	made := s.NewTopic("made", 1)
	s.Produce(made, `1={"name":"x","n":1,"big":1.5,"on":true,"doc":{},"nothing":null,"in":{"deep":9}}`, `2={"name":"y","n":2.5,"nothing":"t"}`, `3={"later":1}`)
	s.Consume(made, "public.made", "--key", "id", "--map", "deep=$.in.deep", "--offset", "at_offset", "--create-table")
	s.Expect("SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'made'::regclass AND attnum > 0 ORDER BY attname COLLATE \"C\"",
		"at_offset bigint", "big numeric", "deep bigint", "doc jsonb", "id bigint", "in jsonb", "later bigint", "n numeric", "name text", "nothing text", "on boolean")
	s.Expect(`SELECT concat_ws(' ', id, name, n, deep, at_offset) FROM made ORDER BY id`, "1 x 1 9 0", "2 y 2.5 1", "3 2")
}

// avroValue is a value in Confluent's wire format.
func avroValue(schema int, fields ...any) []byte {
	value := binary.BigEndian.AppendUint32([]byte{0}, uint32(schema))
	for _, f := range fields {
		switch f := f.(type) {
		case int:
			value = binary.AppendVarint(value, int64(f))
		case string:
			value = append(binary.AppendVarint(value, int64(len(f))), f...)
		}
	}
	return value
}

// register registers an Avro schema and returns its id.
func (s *strangers) register(registry *harness.Registry, subject, schema string) (id int) {
	s.t.Helper()
	answer, err := http.Post(registry.URL()+"/subjects/"+subject+"/versions", "application/vnd.schemaregistry.v1+json", strings.NewReader(fmt.Sprintf(`{"schema":%q}`, schema)))
	s.must(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	s.must(err)
	if _, err := fmt.Sscanf(string(text), `{"id":%d`, &id); err != nil {
		s.t.Fatalf("register: %s", text)
	}
	return id
}

func TestConsumeAvro(t *testing.T) {
	s := newStrangers(t, "")
	registry := must(t, sharedRegistry)
	topic := s.NewTopic("avro", 1)
	id := s.register(registry, topic+"-value", `{"type":"record","name":"r","fields":[{"name":"id","type":"long"},{"name":"name","type":["null","string"]},
{"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"d","type":{"type":"int","logicalType":"date"}},{"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
{"name":"raw","type":"bytes"},{"name":"kind","type":{"type":"enum","name":"k","symbols":["A","B"]}},{"name":"tags","type":{"type":"array","items":"string"}}]}`)
	produce := func(values ...[]byte) {
		for _, value := range values {
			s.must(s.kafka.ProduceSync(s.ctx, &kgo.Record{Topic: topic, Value: value}).FirstErr())
		}
	}
	good := avroValue(id, 1, 1, "na\tme", 1706702400123456, 19753, "\x30\x39", "\x00\xff", 1, 1, "t", 0)
	produce(good, good[:len(good)-2], append(good, 0), avroValue(id+1000, 1), []byte("{}"))
	s.Consume(topic, "public.avro", "--format", "avro", "--schema-registry", registry.URL(), "--create-table")
	s.Expect("SELECT avro::text FROM avro", `(1,"na	me","2024-01-31 12:00:00.123456+00",2024-01-31,123.45,"\\x00ff",B,"[""t""]")`)
	s.Expect(`SELECT reason FROM pgtee.dead_letters ORDER BY "offset"`, "it does not match its Avro schema", "it does not match its Avro schema", "the registry does not have its Avro schema", "it is not in Confluent's Avro wire format")
	produce(avroValue(id, 2, 0, math.MaxInt64, -735160, "\x30\x39", "\x00\xff", 1, 1, "t", 0), avroValue(id, 3, 0, -63517780800000000, 2146033979, "\x30\x39", "\x00\xff", 1, 1, "t", 0))
	s.Consume(topic, "public.avro", "--format", "avro", "--schema-registry", registry.URL())
	s.Expect("SELECT at || ', ' || d FROM avro WHERE id > 1 ORDER BY id", "infinity, 0044-03-15 BC", "0044-03-15 12:00:00+00 BC, infinity")

	produce(avroValue(id+1000, 1)) // alone in its batch
	s.Consume(topic, "public.avro", "--format", "avro", "--schema-registry", registry.URL())
	s.Expect("SELECT count(*)::text FROM pgtee.dead_letters", "5")

	topic = s.NewTopic("foreign", 1) // of another registry
	produce(avroValue(id+1000, 1))
	for _, more := range []string{"--create-table", "--once"} {
		s.halts(s.args(topic, "public.foreign_avro", "--format", "avro", "--schema-registry", registry.URL(), "--once", more), "the registry has no such schema", "check that --schema-registry")
		s.Exec("CREATE TABLE IF NOT EXISTS foreign_avro (id int)")
	}
}

// What makes the place of a group worthless halts it, and the message says what to do.
func TestConsumeHalts(t *testing.T) {
	s := newStrangers(t, "CREATE TABLE t (id int); CREATE TABLE gone (id int)")
	topic := s.NewTopic("t", 2)
	admin := kadm.NewClient(s.kafka)
	s.Produce(topic, `{"id":1}`, `{"id":2}`, `{"id":3}`)
	s.halts(s.args(topic, "t", "--once", "--from", "0:4"), "--from names offset 4 of partition 0, which ends at 3")
	s.Consume(topic, "t", "--from", "0:1")
	s.Expect("SELECT id::text FROM t ORDER BY 1", "2", "3")
	s.Consume(topic, "t", "--from", "end", "--group", "it's late")
	s.Expect("SELECT id::text FROM t ORDER BY 1", "2", "3")
	s.Consume(topic, "t", "--from", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), "--group", "hour")
	s.Expect("SELECT count(*)::text FROM t", "5")

	s.Produce(topic, `{"id":4}`, `{"id":5}`)
	s.Consume(topic, "t", "--from", "end", "--group", "ahead")
	before := kadm.Offsets{}
	before.AddOffset(topic, 0, 4, -1)
	_, err := admin.DeleteRecords(s.ctx, before)
	s.must(err)
	const places = `SELECT concat_ws(' ', "group", next_offset) FROM pgtee.consumed WHERE partition = 0 ORDER BY 1`
	for group, after := range map[string][]string{
		"public.t":  {"ahead 5", "hour 3", "it's late 3", "public.t 4"},
		"it's late": {"ahead 5", "hour 3", "it's late 4", "public.t 3"},
	} {
		out := s.halts(s.args(topic, "t", "--once", "--group", group), "now begins at offset 4: records from offset 3 on were deleted")
		s.Exec(regexp.MustCompile("UPDATE [^;]*").FindString(out))
		s.Expect(places, after...)
		s.Exec(`UPDATE pgtee.consumed SET next_offset = 3 WHERE next_offset = 4`)
	}
	s.Exec(`UPDATE pgtee.consumed SET next_offset = 4, leader_epoch = -1 WHERE "group" = 'public.t' AND partition = 0`)
	s.Consume(topic, "t")
	s.Expect("SELECT max(id)::text FROM t", "5")

	_, err = admin.DeleteTopics(s.ctx, topic)
	s.must(err)
	s.must(harness.Eventually(20*time.Second, func(ctx context.Context) error {
		_, err := admin.CreateTopic(ctx, 2, -1, nil, topic)
		return err
	}))
	again, err := kgo.NewClient(kgo.SeedBrokers(s.broker.Address)) // the other one holds on to the former topic
	s.must(err)
	defer again.Close()
	s.must(again.ProduceSync(s.ctx, pair(topic, `{"id":6}`)).FirstErr())
	out := s.halts(s.args(topic, "t", "--once", "--group", "it's late"), "was re-created")
	s.Exec(regexp.MustCompile("DELETE FROM [^;]*").FindString(out))
	s.Expect(places, "ahead 5", "hour 3", "public.t 5")
	s.Exec("ALTER TABLE pgtee.dead_letters OWNER TO pg_monitor")
	s.halts(s.args(topic, "t", "--once"), "belong to pg_monitor", "--trust-owner")
	s.Consume(topic, "t", "--group", "trusting", "--trust-owner", "pg_monitor")
	s.Exec("ALTER TABLE pgtee.dead_letters OWNER TO postgres")
	s.halts(s.args(topic, "none", "--once"), "table public.none does not exist", "--create-table")
	s.halts(s.args(s.prefix+".none", "t", "--once"), "does not exist", "--topic")
	s.halts(s.args(topic, "gone", "--once", "--key", "id"), "no unique index", "CREATE UNIQUE INDEX")
	s.halts(s.args(topic, "gone", "--once", "--offset", "o"), "has no column o", "add the column")
}

func (s *strangers) halts(args []string, words ...string) (out string) {
	s.t.Helper()
	out, code := s.Pgtee(args...)
	for _, word := range words {
		if code != 3 || !strings.Contains(out, word) {
			s.t.Errorf("%v: exits with %d and does not say %q:\n%s", args, code, word, out)
		}
	}
	return out
}

// The table's own code finds what it names without a schema, as it does for any other client of the role.
func TestConsumeKeepsTheSearchPathOfTriggers(t *testing.T) {
	s := newStrangers(t, `CREATE SCHEMA app; CREATE TABLE app.log (line text); CREATE TABLE app.t (id int PRIMARY KEY, v text CHECK (v <> 'bad'));
CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO log VALUES (NEW.id || ' ' || current_setting('search_path')); RETURN NEW; END$$;
CREATE TRIGGER note AFTER INSERT ON app.t FOR EACH ROW EXECUTE FUNCTION app.note();
DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = app, public', current_database()); END$$`)
	topic := s.NewTopic("t", 1)
	s.Produce(topic, `{"id":1,"v":"good"}`, `{"id":2,"v":"bad"}`)
	s.Consume(topic, "app.t", "--key", "id")
	s.Expect("SELECT line FROM app.log", "1 app, public")
	s.Expect(`SELECT sqlstate FROM pgtee.dead_letters`, "23514")
	s.Exec("ALTER TABLE app.t DROP CONSTRAINT t_v_check")
	if out, code := s.Pgtee(s.args(topic, "app.t", "--key", "id", "--retry-dead")...); code != 0 || !strings.Contains(out, "1 dead letters are in app.t now") {
		t.Errorf("--retry-dead exits with %d: %s", code, out)
	}
	s.Expect("SELECT line FROM app.log ORDER BY 1", "1 app, public", "2 app, public")
}

// Of two runs that retry the dead letters at the same time, one writes a record, also if the other has to write its batch again in parts.
func TestDeadLettersAreRetriedOnce(t *testing.T) {
	s := newStrangers(t, `CREATE TABLE t (id int CONSTRAINT negative CHECK (id < 0));
CREATE SEQUENCE tries;
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF nextval('public.tries') = 2 THEN PERFORM pg_advisory_xact_lock_shared(42); END IF; RETURN NEW; END$$;
CREATE TRIGGER hold BEFORE INSERT ON t FOR EACH ROW WHEN (NEW.id = 1) EXECUTE FUNCTION hold()`)
	topic := s.NewTopic("t", 1)
	s.Produce(topic, `{"id":1}`, `{"id":2}`)
	s.Exec("ALTER TABLE t DISABLE TRIGGER hold")
	s.Consume(topic, "t")
	s.Exec("ALTER TABLE t ENABLE TRIGGER hold, DROP CONSTRAINT negative, ADD CHECK (id <> 2)")
	holder := s.dial(s.URL())
	defer holder.Close(s.ctx)
	_, err := holder.Exec(s.ctx, "SELECT pg_advisory_lock(42)")
	s.must(err)
	first := s.process("retry", s.args(topic, "t", "--retry-dead")...)
	s.must(harness.Eventually(30*time.Second, func(context.Context) error {
		if got := s.Query("SELECT last_value::text FROM tries"); got != "2" {
			return fmt.Errorf("%s tries", got)
		}
		return nil
	}))
	if out, code := s.Pgtee(s.args(topic, "t", "--retry-dead")...); code != 0 || !strings.Contains(out, "0 dead letters are in t now, 0 are still dead") {
		t.Errorf("--retry-dead beside another exits with %d: %s", code, out)
	}
	_, err = holder.Exec(s.ctx, "SELECT pg_advisory_unlock(42)")
	s.must(err)
	if code, err := first.Wait(30 * time.Second); err != nil || code != 0 {
		t.Errorf("--retry-dead exits with %d (%v): %s", code, err, first.Tail(5))
	}
	s.Expect("SELECT id::text FROM t", "1")
	s.Expect(`SELECT "offset" || ' ' || tries FROM pgtee.dead_letters`, "1 2")
}

// Consumers of a group share the partitions, one that dies or hangs leaves them to the others, and each record is there once.
func TestConsumersShare(t *testing.T) {
	s := newStrangers(t, "CREATE TABLE t (id int NOT NULL)")
	topic := s.NewTopic("t", 4)
	produce := func(from, to int) {
		var records []*kgo.Record
		for i := from; i < to; i++ {
			value := fmt.Appendf(nil, `{"id":%d}`, i)
			if i%50 == 0 {
				value = []byte(`{"id":null}`)
			}
			records = append(records, &kgo.Record{Topic: topic, Partition: int32(i % 4), Value: value})
		}
		s.must(s.kafka.ProduceSync(s.ctx, records...).FirstErr())
	}
	first, second := s.process("consume-1", s.args(topic, "t")...), s.process("consume-2", s.args(topic, "t")...)
	shared := func(p *harness.Process) func(context.Context) error {
		return func(context.Context) error {
			lines := strings.Split(p.Log(), "consuming\t")
			if !strings.HasSuffix(strings.TrimSpace(lines[len(lines)-1]), `"partitions": 2, "of": 4}`) {
				return fmt.Errorf("%s does not have two partitions: %s", p.Name, p.Tail(3))
			}
			return nil
		}
	}
	s.must(harness.Eventually(30*time.Second, shared(first)))
	s.must(harness.Eventually(30*time.Second, shared(second)))
	at := 0
	for range 5 {
		produce(at, at+5000)
		at += 5000
		s.Kill(second)
		second = s.process("consume-2", s.args(topic, "t")...)
		produce(at, at+1000)
		at += 1000
	}
	s.must(harness.Eventually(60*time.Second, func(ctx context.Context) error {
		if got := s.Query("SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM pgtee.dead_letters)"); got != fmt.Sprint(at) {
			return fmt.Errorf("%s of %d records are consumed", got, at)
		}
		return nil
	}))
	s.Stop(first)
	s.Stop(second)
	s.Expect("SELECT concat_ws(' ', count(*), count(DISTINCT id), (SELECT count(*) FROM pgtee.dead_letters), (SELECT sum(records) FROM pgtee.consumed), (SELECT sum(dead) FROM pgtee.consumed)) FROM t",
		fmt.Sprintf("%[1]d %[1]d %[2]d %[3]d %[2]d", at-at/50, at/50, at))
}
