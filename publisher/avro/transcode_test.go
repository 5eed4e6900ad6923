package avro

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/pgtee/pgtee/publisher/record"
)

// everything has a field of each type, some of them twice.
var everything = &record.Schema{Type: record.Struct, Name: "p.s.t.Value", Fields: []record.Field{
	{Name: "i8", Schema: &record.Schema{Type: record.Int8}},
	{Name: "i64", Schema: &record.Schema{Type: record.Int64}},
	{Name: "f", Schema: &record.Schema{Type: record.Float}},
	{Name: "d", Schema: &record.Schema{Type: record.Double, Optional: true}},
	{Name: "b", Schema: &record.Schema{Type: record.Boolean}},
	{Name: "Straße", Schema: &record.Schema{Type: record.String, Optional: true, Default: []byte(`"x"`)}},
	{Name: "y", Schema: &record.Schema{Type: record.Bytes}},
	{Name: "a", Schema: &record.Schema{Type: record.Array, Items: &record.Schema{Type: record.Int32, Optional: true}}},
	{Name: "m", Schema: &record.Schema{Type: record.Map, Keys: &record.Schema{Type: record.String}, Values: &record.Schema{Type: record.String}}},
}}

const everythingPayload = `{"i8":-128,"i64":9223372036854775807,"f":1.5,"d":null,"b":true,"Straße":"a\"\\\/\b\f\n\r\té\ud83d\ude00é","y":"AP8=","a":[1,null],"m":{"k\u0000":"v"}}`

func compiled(t testing.TB, s *record.Schema) *node {
	t.Helper()
	program, err := compile(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func TestTranscode(t *testing.T) {
	want := "ff01" + "feffffffffffffffff01" + "0000c03f" + "00" + "01" +
		"00" + "22" + hex.EncodeToString([]byte("a\"\\/\b\f\n\r\té😀é")) + "0400ff" + "04020200" + "00" + "0204" + "6b00" + "0276" + "00"
	program := compiled(t, everything)
	for _, payload := range []string{
		everythingPayload,
		strings.NewReplacer(`,"`, " ,\n\t\"", `":`, "\" :\r ", "[1,null]", "[ 1 , null ] ").Replace(everythingPayload) + "\n",
		strings.Replace(everythingPayload, `"Straße":`, `"Stra\u00DFe":`, 1),
	} {
		got, err := program.transcode([]byte("dst"), []byte(payload))
		if err != nil || string(got[:3]) != "dst" || hex.EncodeToString(got[3:]) != want {
			t.Errorf("%s:\n got %x (%v)\nwant %s", payload, got, err, want)
		}
	}
}

// A sparse struct leaves optional fields out, and no others.
func TestTranscodeSparse(t *testing.T) {
	program := compiled(t, &record.Schema{Type: record.Struct, Sparse: true, Fields: []record.Field{
		{Name: "a", Schema: record.Nullable(record.Int32)},
		{Name: "b", Schema: record.Required(record.Int32)},
		{Name: "c", Schema: record.Nullable(record.Int32)},
		{Name: "d", Schema: record.Nullable(record.Int32)},
	}})
	for payload, want := range map[string]string{
		`{"a":1,"b":2,"c":3,"d":4}`: "0202" + "04" + "0206" + "0208",
		`{"b":2}`:                   "00" + "04" + "00" + "00",
		` { "b" : 2 , "d" : 4 } `:   "00" + "04" + "00" + "0208",
		`{"a":1,"b":2,"d":null}`:    "0202" + "04" + "00" + "00",
		`{"a":1}`:                   "", `{}`: "", `{"b":2,}`: "", `{"b":2,"a":1}`: "", `{"b":2,"e":1}`: "", `{"b":2"d":4}`: "", `{,"b":2}`: "",
	} {
		got, err := program.transcode(nil, []byte(payload))
		if hex.EncodeToString(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %x (%v), want %s", payload, got, err, want)
		}
	}
}

// AvroData of Confluent's converter writes a map whose keys are not required strings as an array of records. Debezium's sparsevec has such a map.
func TestMapOfOtherKeys(t *testing.T) {
	number, float := record.Required(record.Int16), record.Required(record.Double)
	s := &record.Schema{Type: record.Struct, Name: "p.V", Fields: []record.Field{
		{Name: "a", Schema: &record.Schema{Type: record.Map, Keys: number, Values: float}},
		{Name: "b", Schema: &record.Schema{Type: record.Map, Keys: number, Values: float, Optional: true}},
	}}
	text, err := schemaText(s, Underscore)
	entry := `"type":"record","name":"MapEntry","namespace":"io.confluent.connect.avro","fields":[{"name":"key","type":{"type":"int","connect.type":"int16"}},{"name":"value","type":"double"}]}`
	if err != nil || !strings.Contains(string(text), `{"name":"a","type":{"type":"array","items":{`+entry) ||
		!strings.Contains(string(text), `"items":"io.confluent.connect.avro.MapEntry"`) {
		t.Errorf("%s, %v", text, err)
	}
	program := compiled(t, s)
	for payload, want := range map[string]string{
		`{"a":[[1,1.5],[3,2.0]],"b":null}`: "04" + "02" + "000000000000f83f" + "06" + "0000000000000040" + "00" + "00",
		`{"a":[],"b":[ [ 1 , 1.5 ] ]}`:     "00" + "02" + "02" + "02" + "000000000000f83f" + "00",
		`{"a":{"1":1.5},"b":null}`:         "", `{"a":[[1]],"b":null}`: "", `{"a":[[1,1.5,2]],"b":null}`: "", `{"a":[[1,1.5],"b":null}`: "",
	} {
		got, err := program.transcode(nil, []byte(payload))
		if hex.EncodeToString(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %x (%v), want %s", payload, got, err, want)
		}
	}
}

// A payload that does not follow its schema is refused, and the error names the field and quotes nothing of it.
func TestTranscodeRefuses(t *testing.T) {
	program := compiled(t, everything)
	for _, c := range []struct{ old, new, path string }{
		{`-128`, `-129`, "i8"}, {`-128`, `"secret"`, "i8"}, {`-128`, `1.0`, "i8"}, {`-128`, `01`, "i8"}, {`-128`, `+1`, "i8"}, {`-128`, ``, "i8"}, {`-128`, `null`, "i8"},
		{`9223372036854775807`, `9223372036854775808`, "i64"}, {`9223372036854775807`, `1e3`, "i64"},
		{`1.5`, `1e39`, "f"}, {`1.5`, `1.`, "f"}, {`1.5`, `.5`, "f"}, {`1.5`, `"nan"`, "f"}, {`1.5`, `0x1p1`, "f"}, {`1.5`, `1_0`, "f"},
		{`true`, `1`, "b"}, {`true`, `tru`, "b"}, {`true`, `truely`, "Straße"},
		{`\ud83d\ude00`, `\ud83d`, "Straße"}, {`\ud83d\ude00`, `\ude00\ud83d`, "Straße"}, {`\b`, `\a`, "Straße"}, {`\b`, "\b", "Straße"}, {`é\`, "\xff\\", "Straße"},
		{`"AP8="`, `"AP8"`, "y"}, {`"AP8="`, `"AP9="`, "y"}, {`"AP8="`, `"A-8="`, "y"}, {`"AP8="`, `"A\n8="`, "y"},
		{`[1,null]`, `[1,null`, "a"}, {`[1,null]`, `[1,]`, "a"}, {`[1,null]`, `[,1]`, "a"}, {`[1,null]`, `{}`, "a"}, {`[1,null]`, `[1 null]`, "a"},
		{`{"k\u0000":"v"}`, `{"k"}`, "m"}, {`{"k\u0000":"v"}`, `{1:"v"}`, "m"}, {`{"k\u0000":"v"}`, `{"k":null}`, "m"},
		{`"i8":-128,`, ``, "the payload"}, {`"i8":-128,`, `"i8":-128,"secret":1,`, "the payload"}, {`"b":true,`, `"b":true`, "the payload"},
		{`"v"}}`, `"v"}`, "the payload"}, {`"v"}}`, `"v"}}}`, "the payload"}, {`"v"}}`, `"v"},"secret":1}`, "the payload"},
	} {
		payload := strings.Replace(everythingPayload, c.old, c.new, 1)
		if payload == everythingPayload {
			t.Fatalf("%s is not in the payload", c.old)
		}
		got, err := program.transcode([]byte("dst"), []byte(payload))
		if err == nil || string(got) != "dst" || !strings.Contains(err.Error(), c.path) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s in place of %s: %q, error %v", c.new, c.old, got, err)
		}
	}
	for end := range everythingPayload {
		if _, err := program.transcode(nil, []byte(everythingPayload[:end])); err == nil {
			t.Errorf("the first %d bytes are taken for a payload", end)
		}
	}
}

func TestNestedErrorNamesThePath(t *testing.T) {
	envelope := &record.Schema{Type: record.Struct, Name: "E", Fields: []record.Field{{Name: "after", Schema: everything}}}
	_, err := compiled(t, envelope).transcode(nil, []byte(`{"after":{"i8":300}}`))
	if want := "field after.i8 does not follow its schema: want an int8 at byte 15"; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Kafka Connect's converters put the default where a value is null; here null stays null.
func TestNullStaysNullBesideADefault(t *testing.T) {
	s := &record.Schema{Type: record.Int32, Optional: true, Default: []byte("7")}
	if got, err := compiled(t, s).transcode(nil, []byte("null")); err != nil || !bytes.Equal(got, []byte{2}) {
		t.Errorf("%x, error %v, want the second branch", got, err)
	}
}

func TestManyItemsStandInOneBlock(t *testing.T) {
	s := &record.Schema{Type: record.Array, Items: &record.Schema{Type: record.Boolean}}
	for _, n := range []int{0, 1, 63, 64, 8191, 8192} {
		payload := "[" + strings.TrimSuffix(strings.Repeat("true,", n), ",") + "]"
		body, err := compiled(t, s).transcode(nil, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		value, err := decode(`{"type":"array","items":"boolean"}`, body)
		if list, ok := value.([]any); err != nil || !ok || len(list) != n {
			t.Errorf("%d items: %d are read (%v)", n, len(list), err)
		}
	}
}

func TestFramingAllocatesNothing(t *testing.T) {
	framing, schema, payload := benchmarked(t)
	dst := make([]byte, 0, 1<<16)
	allocations := testing.AllocsPerRun(100, func() {
		if _, err := framing.Append(t.Context(), dst, record.ValuePart, "t", schema, payload); err != nil {
			t.Fatal(err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations for each record", allocations)
	}
}

func BenchmarkFraming(b *testing.B) {
	framing, schema, payload := benchmarked(b)
	dst := make([]byte, 0, 1<<16)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := framing.Append(b.Context(), dst, record.ValuePart, "t", schema, payload); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarked is a Framing with the schema of an envelope that has every type in it.
func benchmarked(t testing.TB) (*Framing, *record.Schema, []byte) {
	fake := srfake.New()
	t.Cleanup(fake.Close)
	optional := *everything
	optional.Optional = true
	schema := &record.Schema{Type: record.Struct, Name: "p.s.t.Envelope", Fields: []record.Field{
		{Name: "before", Schema: &optional}, {Name: "after", Schema: &optional}}}
	items := "[1" + strings.Repeat(",-2147483648", 100) + "]"
	payload := fmt.Appendf(nil, `{"before":%s,"after":%s}`, everythingPayload, strings.Replace(everythingPayload, "[1,null]", items, 1))
	return NewFraming(openRegistry(t, fake, RegistryConfig{}), TopicName, Underscore), schema, payload
}

// Whatever the payload is, the result is an error or a body from which the same JSON is read.
func FuzzTranscode(f *testing.F) {
	f.Add([]byte(everythingPayload))
	f.Add([]byte(strings.ReplaceAll(everythingPayload, "null", `"NaN"`)))
	program := compiled(f, everything)
	schema, err := schemaText(everything, Unicode)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		body, err := program.transcode(nil, payload)
		if err != nil {
			return
		}
		if !json.Valid(payload) {
			t.Fatalf("no JSON is accepted: %s", payload)
		}
		got, err := decode(string(schema), body)
		if err != nil {
			t.Fatalf("%s: %v", payload, err)
		}
		want := numbers(t, payload).(map[string]any)
		fields := got.(map[string]any)
		fields["Straße"] = fields[Unicode.name("Straße")]
		delete(fields, Unicode.name("Straße"))
		if !same(fields, want) {
			t.Fatalf("%s:\n got %v\nwant %v", payload, fields, want)
		}
	})
}
