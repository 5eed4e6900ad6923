package avro

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/pgtee/pgtee/publisher/record"
)

// TestCapturedRecords frames every record that Debezium published, reads it back by the schema that stands in the
// registry under the id in the record, and compares it with its JSON.
func TestCapturedRecords(t *testing.T) {
	registry := srfake.New()
	t.Cleanup(registry.Close)
	framing := NewFraming(openRegistry(t, registry, RegistryConfig{}), TopicName, Underscore)
	schemas := map[string]*record.Schema{}
	texts := map[uint32]string{}
	var compared int
	for _, r := range capturedRecords(t) {
		for _, part := range []record.Part{record.KeyPart, record.ValuePart} {
			c := r.part(part)
			if c == nil {
				continue
			}
			schema := schemas[string(c.Schema)]
			if schema == nil {
				schema = parseSchema(t, c.Schema)
				schemas[string(c.Schema)] = schema
			}
			framed, err := framing.Append(t.Context(), nil, part, r.Topic, schema, c.Payload)
			if err != nil {
				t.Fatal(err)
			}
			id := binary.BigEndian.Uint32(framed[1:])
			if texts[id] == "" {
				texts[id] = registeredText(t, registry, id)
			}
			got, err := decode(texts[id], framed[headerBytes:])
			if err != nil {
				t.Fatalf("topic %s: %v\nschema %s", r.Topic, err, texts[id])
			}
			if want := numbers(t, c.Payload); framed[0] != 0 || !same(got, want) {
				t.Fatalf("topic %s:\n got %v\nwant %v", r.Topic, got, want)
			}
			compared++
		}
	}
	if compared < 400 {
		t.Errorf("only %d keys and values compared", compared)
	}
}

// openRegistry returns a client of the fake.
func openRegistry(t testing.TB, fake *srfake.Registry, cfg RegistryConfig) *Registry {
	t.Helper()
	cfg.URLs = append(cfg.URLs, fake.URL())
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// registeredText asks the registry, past the code under test, for a schema.
func registeredText(t testing.TB, fake *srfake.Registry, id uint32) string {
	t.Helper()
	client, err := sr.NewClient(sr.URLs(fake.URL()))
	if err != nil {
		t.Fatal(err)
	}
	text, err := client.SchemaByID(context.Background(), int(id))
	if err != nil {
		t.Fatal(err)
	}
	return text.Schema
}

// numbers reads JSON without loss.
func numbers(t testing.TB, payload []byte) (value any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// same compares what decode returned with what numbers did.
func same(got, want any) bool {
	switch want := want.(type) {
	case json.Number:
		switch got := got.(type) {
		case int64:
			n, err := want.Int64()
			return err == nil && n == got
		case float64:
			f, err := want.Float64()
			return err == nil && (got == f || float32(got) == float32(f))
		}
		return false
	case []any:
		got, ok := got.([]any)
		for i := range want {
			ok = ok && len(got) == len(want) && same(got[i], want[i])
		}
		return ok && len(got) == len(want)
	case map[string]any:
		got, ok := got.(map[string]any)
		for name := range want {
			value, there := got[name]
			ok = ok && there && same(value, want[name])
		}
		return ok && len(got) == len(want)
	}
	return reflect.DeepEqual(got, want)
}
