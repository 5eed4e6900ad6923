package avro

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
)

// converted is what AvroData, the class behind the AvroConverters, makes of a key or value.
type converted struct {
	Topic, Part string
	Schema      string // with the first record of a schema
	Hex         string // the body
}

// TestAvroData compares every schema, to the byte, and every body with those that AvroData makes of the same
// captured records; testdata/README.md says how they were made.
func TestAvroData(t *testing.T) {
	wanted := readConverted(t)
	schemas := map[string]*record.Schema{}
	texts := map[string]string{}
	var compared, equal int
	for _, r := range capturedRecords(t) {
		for part, name := range parts {
			c := r.part(record.Part(part))
			if c == nil {
				continue
			}
			want := wanted[compared]
			compared++
			if want.Topic != r.Topic || want.Part != name {
				t.Fatalf("record %d is of %s %s, want %s %s", compared, r.Topic, name, want.Topic, want.Part)
			}
			schema, known := schemas[string(c.Schema)]
			if !known {
				schema = parseSchema(t, c.Schema)
				schemas[string(c.Schema)], texts[string(c.Schema)] = schema, want.Schema
				if text, err := schemaText(schema, Underscore); err != nil || string(text) != want.Schema {
					t.Errorf("%s %s:\n got %s (%v)\nwant %s", r.Topic, name, text, err, want.Schema)
				}
			}
			program, err := compile(schema, 0)
			if err != nil {
				t.Fatal(err)
			}
			body, err := program.transcode(nil, c.Payload)
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(body) == want.Hex {
				equal++
			} else if !excused(t, texts[string(c.Schema)], body, want.Hex, c.Payload) {
				t.Errorf("%s %s %s:\n got %x\nwant %s", r.Topic, name, c.Payload, body, want.Hex)
			}
		}
	}
	if compared != len(wanted) || equal < compared-8 {
		t.Errorf("%d of %d records compared, %d equal to the byte", compared, len(wanted), equal)
	}
}

// excused reports whether a body differs for a known reason: a map of Java's has an order of its own, and what made
// the file read NaN and the infinities from JSON as 0.
func excused(t *testing.T, schema string, body []byte, wantHex string, payload []byte) bool {
	t.Helper()
	want, err := hex.DecodeString(wantHex)
	if err != nil {
		t.Fatal(err)
	}
	a, errA := decode(schema, body)
	b, errB := decode(schema, want)
	equal := errA == nil && errB == nil && reflect.DeepEqual(a, b)
	return equal || len(body) == len(want) && bytes.Contains(payload, []byte(`"NaN","Infinity"`))
}

// TestHandmadeSchemas does the same with schemas that Debezium's records of that capture do not have.
func TestHandmadeSchemas(t *testing.T) {
	file, err := os.Open("testdata/handmade.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for d := json.NewDecoder(file); d.More(); {
		var c struct {
			Connect, Payload json.RawMessage
			Schema, Hex      string
		}
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		schema := parseSchema(t, c.Connect)
		if text, err := schemaText(schema, Underscore); err != nil || string(text) != c.Schema {
			t.Errorf("\n got %s (%v)\nwant %s", text, err, c.Schema)
		}
		program, err := compile(schema, 0)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := program.transcode(nil, c.Payload); err != nil || hex.EncodeToString(body) != c.Hex {
			t.Errorf("%s of %s:\n got %x (%v)\nwant %s", c.Payload, c.Schema, body, err, c.Hex)
		}
	}
}

func readConverted(t *testing.T) (list []converted) {
	t.Helper()
	file, err := os.Open("testdata/avrodata.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(lines); d.More(); {
		var c converted
		if err := d.Decode(&c); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}
