package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/decode"
)

// tableOf is one with columns NAME or NAME:KIND; those of keys come first, optional ones end with ?.
func tableOf(t *testing.T, m Mapping, columns ...string) *table {
	t.Helper()
	from, keys, err := m.origins()
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]kind{"json": document, "list": list, "documents": documents, "bytea": binary}
	made := &table{name: "t", keys: len(keys)}
	for _, text := range columns {
		name, k, _ := strings.Cut(strings.TrimSuffix(text, "?"), ":")
		o, explicit := from[name]
		if !explicit && len(m.Columns) > 0 {
			o = origin{kind: byLine}
		}
		if o.kind == byLine || o.kind == byKey {
			o.line = slices.Index(m.Columns, name) + 1
		}
		made.columns = append(made.columns, column{name: name, quoted: name, kind: kinds[k], origin: o})
		if !strings.HasSuffix(text, "?") {
			made.always = len(made.columns)
		}
	}
	return made
}

// one decodes a record and returns its line, without what is for the stage, or DEAD and the reason.
func one(t *testing.T, d *decoder, record *kgo.Record) string {
	t.Helper()
	b := newBatch()
	if err := d.add(context.Background(), b, record); err != nil {
		t.Fatal(err)
	}
	r := b.rows[0]
	if r.dead != "" {
		return "DEAD " + r.dead
	}
	end := "\n"
	if d.table.keys > 0 {
		end = fmt.Sprintf("\t0\t%v\n", r.deletes)
	}
	line, ok := strings.CutSuffix(string(b.line(&r)), end)
	if !ok {
		t.Errorf("%q does not end with %q", line, end)
	}
	if r.deletes {
		return "DELETE " + line
	}
	return line
}

func bytesOf(text string) []byte {
	if text == "<nil>" {
		return nil
	}
	return []byte(text)
}

// nested returns an array in an array, and so on.
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// debeziumSchema adds a schema to a payload.
func debeziumSchema(payload string) string {
	return `{"schema":{"type":"struct","fields":[{"type":"int64","name":"io.debezium.time.MicroDuration","field":"i"},
{"type":"struct","name":"io.debezium.data.VariableScaleDecimal","field":"n","fields":[{"type":"int32","field":"scale"},{"type":"bytes","field":"value"}]},
{"type":"int32","name":"io.debezium.time.Year","field":"y"},{"type":"int64","name":"io.debezium.time.Unheard","field":"u"}]},"payload":` + payload + `}`
}

func TestDecode(t *testing.T) {
	at := time.Date(2025, 1, 31, 12, 0, 0, 123_000_000, time.UTC)
	type record struct{ key, value, want string }
	for name, test := range map[string]struct {
		format  Format
		mapping Mapping
		columns []string
		records []record
	}{
		"names": {JSON, Mapping{}, []string{"id", "name", "doc:json", "tags:list", "docs:documents", "raw:bytea"}, []record{
			{"", `{"id":1,"name":"a\tb\\c\n\u00e4\ud83d\ude00","doc":{"x":[1,null]},"tags":["a","b\"c",null,[1,2]],"docs":[{"a":1},[2]],"raw":"\\x00ff","other":1}`,
				`1` + "\t" + `a\tb\\c\nä😀` + "\t" + `{"x":[1,null]}` + "\t" + `{"a","b\\"c",NULL,{"1","2"}}` + "\t" + `{"{\\"a\\":1}","[2]"}` + "\t" + `\\x00ff`},
			{"", ` { "name" : null , "id" : -1.5e3 } `, `-1.5e3` + "\t" + `\N` + "\t" + `\N` + "\t" + `\N` + "\t" + `\N` + "\t" + `\N`},
			{"", `{"id":true,"name":{"a":1},"doc":"text","tags":"{1,2}"}`, `true` + "\t" + `{"a":1}` + "\t" + `"text"` + "\t" + `{1,2}` + "\t" + `\N` + "\t" + `\N`},
			{"", `{"id":1,"id":2,"n\u0061me":"escaped"}`, `2` + "\t" + `escaped` + "\t" + `\N` + "\t" + `\N` + "\t" + `\N` + "\t" + `\N`},
			{"", `{"name":"a\u0000b"}`, "DEAD a NUL byte, which no text of PostgreSQL can hold"},
			{"", `{"name":"a`, "DEAD it is not valid JSON"},
			{"", ``, "DEAD it is not valid JSON"},
			{"", `{"id":1} x`, "DEAD it is not valid JSON"},
			{"", `{"id":abc}`, "DEAD it is not valid JSON"},
			{"", "{\"name\":\"\xff\"}", "DEAD it is not valid UTF-8"},
			{"", `{"name":"a\ud83d"}`, "DEAD half of a surrogate pair, which is not a character"},
			{"", `{"name":"\ude00\ud83d"}`, "DEAD half of a surrogate pair, which is not a character"},
			{"", `{"tags":["\ud83dx"]}`, "DEAD half of a surrogate pair, which is not a character"},
			{"", `{"id":1,"doc":` + nested(9999) + `}`, "1\t\\N\t" + nested(9999) + "\t\\N\t\\N\t\\N"},
			{"", `{"id":1,"doc":` + nested(10000) + `}`, "DEAD it is not valid JSON"},
			{"", `{"tags":` + nested(7) + `}`, "DEAD an array of more dimensions than PostgreSQL supports"},
			{"", `[1]`, "DEAD the value is not a JSON object: --map COLUMN=$ takes a value as a whole"},
			{"", `null`, "DEAD the value is null"},
			{"", `<nil>`, "DEAD a tombstone, and no --key says which row it deletes"},
		}},
		"paths": {JSON, Mapping{Paths: map[string]string{"city": "$.customer.address['city name']", "first": "$.lines[0].sku", "all": "$", "lines": "$.lines"}, Headers: map[string]string{"h": "trace"},
			Offset: "o", Partition: "p", Timestamp: "at"}, []string{"city", "first", "all:json", "lines:json", "h", "o", "p", "at"}, []record{
			{"", `{"customer":{"address":{"city name":"Graz"}},"lines":[{"sku":"A"},{"sku":"B"}]}`,
				"Graz\tA\t" + `{"customer":{"address":{"city name":"Graz"}},"lines":[{"sku":"A"},{"sku":"B"}]}` + "\t" + `[{"sku":"A"},{"sku":"B"}]` + "\tspan\t42\t3\t2025-01-31T12:00:00.123Z"},
			{"", `{"customer":"none","lines":[]}`, `\N` + "\t" + `\N` + "\t" + `{"customer":"none","lines":[]}` + "\t[]\tspan\t42\t3\t2025-01-31T12:00:00.123Z"},
		}},
		"keys": {JSON, Mapping{Keys: []string{"id"}}, []string{"id", "v"}, []record{
			{`{"id":7}`, `{"id":8,"v":1}`, "7\t1"},
			{`7`, `{"v":1}`, "7\t1"},
			{`"x"`, `{"v":1}`, "x\t1"},
			{`plain text`, `{"v":1}`, "plain text\t1"},
			{`<nil>`, `{"id":8,"v":1}`, "8\t1"},
			{`{"id":7}`, `<nil>`, "DELETE 7"},
			{`<nil>`, `<nil>`, "DEAD a tombstone whose key says nothing for column id"},
			{`{"x":7}`, `<nil>`, "DEAD a tombstone whose key says nothing for column id"},
			{`{"x":7}`, `{"v":1}`, "DEAD no value for column id, which --key names"},
			{`null`, `{"id":null}`, "DEAD no value for column id, which --key names"},
		}},
		"two keys": {JSON, Mapping{Keys: []string{"a=$.k.a", "b"}}, []string{"a", "b", "v"}, []record{
			{`{"k":{"a":1},"b":2}`, `{"v":1}`, "1\t2\t1"},
			{`{"k":{"a":1},"b":2}`, `<nil>`, "DELETE 1\t2"},
			{`x`, `{"v":1}`, "DEAD the key is not a JSON object, and --key has several columns"},
		}},
		"optional": {JSON, Mapping{}, []string{"a", "b?", "c?"}, []record{
			{"", `{"a":1,"c":3}`, "1\t3"}, {"", `{"b":null}`, `\N` + "\t" + `\N`}, {"", `{}`, `\N`},
		}},
		"only optional": {JSON, Mapping{}, []string{"a?", "b?"}, []record{{"", `{"a":"","b":""}`, "\t"}, {"", `{"a":""}`, ""}, {"", `{}`, "DEAD no field of it has a column"}}},
		"connect": {JSON, Mapping{Keys: []string{"id"}}, []string{"id", "d", "n", "b:bytea", "ts"}, []record{
			{`{"schema":{"type":"struct","fields":[{"type":"int32","field":"id"}]},"payload":{"id":5}}`,
				`{"schema":{"type":"struct","fields":[{"type":"int32","name":"io.debezium.time.Date","field":"d"},{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"n"},{"type":"bytes","field":"b"},{"type":"int64","name":"org.apache.kafka.connect.data.Timestamp","field":"ts"}]},"payload":{"d":19753,"n":"MDk=","b":"AP8=","ts":1706702400123}}`,
				"5\t2024-01-31\t123.45\t" + `\\x00ff` + "\t2024-01-31T12:00:00.123Z"},
		}},
		"connect, numeric": {JSON, Mapping{}, []string{"n", "b:bytea"}, []record{
			{"", `{"schema":{"type":"struct","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"n"},{"type":"bytes","field":"b"}]},"payload":{"n":1234,"b":null}}`, "1234\t" + `\N`},
			{"", `{"schema":{"type":"struct","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"n"},{"type":"bytes","field":"b"}]},"payload":{"n":-0.01,"b":"AP\/8"}}`, "-0.01\t" + `\\x00fffc`},
			{"", `{"schema":{"type":"struct","fields":[{"type":"bytes","field":"b"}]},"payload":{"b":1234}}`, "DEAD a field that its schema declares as bytes, and that is not base64"},
		}},
		"connect, debezium": {JSON, Mapping{}, []string{"i", "n", "y", "u"}, []record{
			{"", debeziumSchema(`{"i":90000000,"n":{"scale":2,"value":"MDk="},"y":2024,"u":null}`), "00:01:30\t123.45\t2024\t" + `\N`},
			{"", debeziumSchema(`{"i":null,"n":null}`), `\N` + "\t" + `\N` + "\t" + `\N` + "\t" + `\N`},
			{"", debeziumSchema(`{"n":1.5}`), "DEAD a field that its schema declares as a decimal with a scale, and that is not one"},
			{"", debeziumSchema(`{"u":7}`), "DEAD a number of schema io.debezium.time.Unheard, which is not known"},
		}},
		"connect, paths": {JSON, Mapping{Keys: []string{"k=$.id.n"}, Paths: map[string]string{"p": "$.after.price", "d": "$.after.days[1]", "m": "$.after.by['a b']", "root": "$", "none": "$.after.none.x"}}, []string{"k", "p", "d", "m", "root:json", "none"}, []record{
			{`{"schema":{"type":"struct","fields":[{"type":"struct","field":"id","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"1"},"field":"n"}]}]},"payload":{"id":{"n":"MDk="}}}`,
				`{"schema":{"type":"struct","fields":[{"type":"struct","field":"after","fields":[{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2"},"field":"price"},{"type":"array","items":{"type":"int32","name":"org.apache.kafka.connect.data.Date"},"field":"days"},{"type":"map","keys":{"type":"string"},"values":{"type":"int64","name":"io.debezium.time.Timestamp"},"field":"by"}]}]},"payload":{"after":{"price":"MDk=","days":[0,1],"by":{"a b":0}}}}`,
				"1234.5\t123.45\t1970-01-02\t1970-01-01T00:00:00\t" + `{"after":{"price":"MDk=","days":[0,1],"by":{"a b":0}}}` + "\t" + `\N`},
		}},
		"connect, plain": {JSON, Mapping{Paths: map[string]string{"b": "$"}}, []string{"b:bytea"}, []record{
			{"", `{"schema":{"type":"bytes","optional":false},"payload":"AP8="}`, `\\x00ff`},
		}},
		"connect, plain key": {JSON, Mapping{Keys: []string{"id"}}, []string{"id", "v"}, []record{
			{`{"schema":{"type":"int32","name":"io.debezium.time.Date"},"payload":1}`, `{"v":1}`, "1970-01-02\t1"},
		}},
		"connect, spaced": {JSON, Mapping{}, []string{"d", "schema"}, []record{
			{"", `{ "schema": {"fields": [{"field": "d", "type": "int32", "name": "io.debezium.time.Date"}]}, "payload": {"d": 1} }`, "1970-01-02\t" + `\N`},
			{"", `{"schema":"s","d":1}`, "1\ts"},
			{"", `{"schema":[],"payload":{"d":1}}`, "DEAD a schema beside the payload that is none of Kafka Connect's"},
		}},
		"csv": {CSV, Mapping{Columns: []string{"a", "b", "c"}}, []string{"a", "b", "c"}, []record{
			{"", `1,"x, ""y""",` + "\r\n", "1\t" + `x, "y"` + "\t" + `\N`},
			{"", `,"",z`, `\N` + "\t\tz"},
			{"", `"","",z`, "\t\tz"},
			{"", `1,2`, "DEAD 2 fields, and 3 columns for them"},
			{"", `1,"2,3`, "DEAD a quoted field without an end"},
			{"", `1,"2"x,3`, "DEAD text behind a quoted field"},
			{"", "1,2,3\n4,5,6", "DEAD a quote or a line break inside a field without quotes"},
		}},
		"csv, key": {CSV, Mapping{Columns: []string{"v", "id"}, Keys: []string{"id"}}, []string{"id", "v"}, []record{
			{"<nil>", `bolt,1`, "1\tbolt"},
			{"7", `bolt,1`, "7\tbolt"},
			{"<nil>", `bolt,`, "DEAD no value for column id, which --key names"},
			{"7", "<nil>", "DELETE 7"},
		}},
		"csv, key only in the key": {CSV, Mapping{Columns: []string{"v"}, Keys: []string{"id"}}, []string{"id", "v"}, []record{{"7", `bolt`, "7\tbolt"}, {"7", `bolt,1`, "DEAD 2 fields, and 1 columns for them"}}},
		"tsv": {TSV, Mapping{Columns: []string{"a", "b"}}, []string{"b", "a"}, []record{
			{"", `x\ty\\` + "\t" + `\N` + "\n", `\N` + "\t" + `x\ty\\`},
			{"", `\x41\x4a1\xg` + "\t" + `\101\1019\7z\18`, "AA9\az\x018" + "\t" + "AJ1xg"},
			{"", `\xc3\xa4` + "\t" + `\303\244`, "ä\tä"},
			{"", "a\\\tb\t\\", `\\` + "\t" + `a\tb`},
			{"", `\xff` + "\tb", "DEAD a value that is not valid UTF-8"},
			{"", `\0` + "\tb", "DEAD a NUL byte, which no text of PostgreSQL can hold"},
			{"", "a\tb\nc\td", "DEAD more than one line"},
		}},
		"text": {Text, Mapping{Paths: map[string]string{"body": "$"}}, []string{"body"}, []record{
			{"", "any\ttext", `any\ttext`}, {"", "", ""}, {"", "\xff", "DEAD the value is not valid UTF-8"},
		}},
		"raw": {Raw, Mapping{Paths: map[string]string{"body": "$"}}, []string{"body:bytea"}, []record{{"", "\x00\xff", `\\x00ff`}}},
	} {
		t.Run(name, func(t *testing.T) {
			config := &Config{Format: test.format, Mapping: test.mapping}
			d := config.newDecoder(tableOf(t, test.mapping, test.columns...))
			for _, r := range test.records {
				record := &kgo.Record{Offset: 42, Partition: 3, Timestamp: at, Key: bytesOf(r.key), Value: bytesOf(r.value), Headers: []kgo.RecordHeader{{Key: "trace", Value: []byte("span")}}}
				if r.key == "" {
					record.Key = nil
				}
				if got := one(t, d, record); got != r.want {
					t.Errorf("%s: got %q, want %q", r.value, got, r.want)
				}
			}
		})
	}
}

// If no schema can be read, the registry may be the wrong one: that is no fault of the records. If others can, it is.
func TestSchemasThatCannotBeRead(t *testing.T) {
	good, absent, unreadable := []byte("\x00\x00\x00\x00\x01x"), []byte("\x00\x00\x00\x00\x02x"), []byte("\x00\x00\x00\x00\x03x")
	cfg := &Config{Format: Avro, Avro: func(_ context.Context, framed []byte) ([]byte, error) {
		switch framed[4] {
		case 1:
			return []byte(`{"id":1}`), nil
		case 2:
			return nil, fmt.Errorf("schema 2 of the registry: %w", decode.ErrNoSchema)
		}
		return nil, decode.SchemaError{ID: 3, Err: errors.New("it is PROTOBUF, not Avro")}
	}}
	for _, value := range [][]byte{absent, unreadable} {
		d, b := cfg.newDecoder(tableOf(t, Mapping{}, "id")), newBatch()
		add := func(value []byte) {
			t.Helper()
			if err := d.add(t.Context(), b, &kgo.Record{Value: value}); err != nil {
				t.Fatal(err)
			}
		}
		add(value)
		if err := new(target).settle(t.Context(), b, false); !isHalt(err) || !strings.Contains(err.Error(), "--schema-registry") {
			t.Errorf("no schema can be read: %v", err)
		}
		add(good)
		if b.doubt != nil || b.rows[0].dead == "" || b.rows[1].dead != "" {
			t.Errorf("of two records one has a schema: %v, %+v", b.doubt, b.rows)
		}
		b.reset()
		add(value)
		if b.doubt != nil || b.rows[0].dead == "" {
			t.Errorf("another record had a schema before: %v, %+v", b.doubt, b.rows)
		}
	}
}

// The line of a good record does not allocate.
func TestDecodeAllocatesNothing(t *testing.T) {
	d := (&Config{Format: JSON}).newDecoder(tableOf(t, Mapping{}, "id", "name", "n"))
	b := newBatch()
	record := &kgo.Record{Value: []byte(`{"id":17,"name":"some\nname","n":12.5}`)}
	ctx := context.Background()
	for range 100 {
		if err := d.add(ctx, b, record); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		b.rows, b.arena = b.rows[:0], b.arena[:0]
		if err := d.add(ctx, b, record); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func TestPaths(t *testing.T) {
	for text, want := range map[string]string{
		"$": `{"a":{"b c":[1,[2,3]]},"x.y":0}`, "$.a['b c'][1][0]": "2", "$.a['b c'][2]": "", `$["x.y"]`: "0", "$.none": "", "$.a.b": "",
	} {
		p, err := parsePath(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := p.find([]byte(`{"a":{"b c":[1,[2,3]]},"x.y":0}`)); string(got) != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"", "a", "$.", "$..a", "$a", "$[", "$[x]", "$['a", "$[-1]", "$.a[", "$['']"} {
		if _, err := parsePath(text); err == nil {
			t.Errorf("%s is taken for a path", text)
		}
	}
}

func TestStart(t *testing.T) {
	for _, text := range []string{"beginning", "end", "2025-01-31T12:00:00Z", "10m", "0:5", "0:5,3:0"} {
		if err := new(Start).UnmarshalText([]byte(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"", "x", "0:", ":1", "-1:2", "1:-2", "0:1,"} {
		if err := new(Start).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for a start", text)
		}
	}
}

// FuzzDecode: whatever a record holds, it becomes one line or a dead letter.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{`{"id":1,"tags":["a",[1]]}`, `{"schema":{"fields":[{"field":"id","type":"bytes"}]},"payload":{"id":"AA=="}}`, `1,"a""b",`, `\N` + "\ta", "\t\t", `{"id":1,"x":` + nested(600) + `}`} {
		f.Add(text, text)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		for _, format := range []Format{JSON, CSV, TSV, Text, Raw} {
			m := Mapping{Keys: []string{"id"}, Paths: map[string]string{"all": "$"}}
			if format == CSV || format == TSV {
				m = Mapping{Columns: []string{"id", "tags", "all"}}
			}
			d := (&Config{Format: format, Mapping: m}).newDecoder(tableOf(t, m, "id", "tags:list", "all:bytea"))
			if line := one(t, d, &kgo.Record{Key: []byte(key), Value: []byte(value)}); !strings.HasPrefix(line, "DEAD ") && strings.Count(line, "\t") != 2 {
				t.Errorf("%s: %q is not a line of three columns", format, line)
			}
		}
	})
}
