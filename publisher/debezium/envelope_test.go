package debezium

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
)

// TestEnvelopes is what records look like in the envelopes beside Debezium's own, byte for byte.
func TestEnvelopes(t *testing.T) {
	fields, err := ParseFlatFields([]string{"op", "table", "source.ts_ms", "lsn:position", "id", "pgtee"}, flatFieldPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"flat": func(c *Config) { c.Envelope = Flat },
		"flat-rewrite": func(c *Config) {
			c.Envelope, c.Flat = Flat, FlatConfig{Deletes: DeleteRewriteWithTombstone, Fields: fields}
		},
		"plain":              func(c *Config) { c.Envelope = Plain },
		"cloudevents":        func(c *Config) { c.Envelope, c.TransactionMetadata = CloudEventStructured, true },
		"cloudevents-binary": func(c *Config) { c.Envelope = CloudEventBinary },
		"cloudevents-avro":   func(c *Config) { c.Envelope, c.Framing = CloudEventStructured, upperFraming{} },
		"connect":            func(c *Config) { c.Framing = &record.ConnectJSON{} },
		"connect-flat":       func(c *Config) { c.Envelope, c.Flat.Fields, c.Framing = Flat, fields, &record.ConnectJSON{} },
	} {
		t.Run(name, func(t *testing.T) {
			config := sampleConfig()
			change(&config)
			matchGolden(t, "testdata/envelopes/"+name+".txt", sampleRecords(t, New(config)))
		})
	}
}

// upperFraming makes something that is not JSON.
type upperFraming struct{}

func (upperFraming) ContentType() string { return "application/avro" }

func (upperFraming) Append(_ context.Context, dst []byte, _ record.Part, _ string, schema *record.Schema, payload []byte) ([]byte, error) {
	return append(append(dst, schema.Name...), bytes.ToUpper(payload[:min(len(payload), 20)])...), nil
}

// sampleRecords encodes the sample transaction and prints its records.
func sampleRecords(t *testing.T, e *Encoder) []byte {
	batch := testBatch()
	if err := encodeAll(t.Context(), e, &batch, sampleTransaction()); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, r := range batch.Records() {
		fmt.Fprintf(&got, "%s\nkey %s\nvalue %s\n", r.Topic, orNull(r.Key), orNull(r.Value))
		for _, h := range r.Headers {
			fmt.Fprintf(&got, "%s: %s\n", h.Key, h.Value)
		}
		got.WriteByte('\n')
	}
	return got.Bytes()
}

func matchGolden(t *testing.T, file string, got []byte) {
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("records differ from %s (-update writes it):\n%s", file, got)
	}
}

// checkedFraming checks that each payload holds all fields of its schema, but for what a sparse struct leaves out, in its order,
// and nothing else.
type checkedFraming struct {
	*testing.T
	payloads int
}

func (f *checkedFraming) Append(_ context.Context, dst []byte, _ record.Part, topic string, schema *record.Schema, payload []byte) ([]byte, error) {
	f.payloads++
	n, err := parseJSON(payload)
	if err != nil {
		f.Fatal(err)
	}
	if err := conforms(n, schema, topic); err != nil {
		f.Errorf("%v in %.1000s", err, payload)
	}
	return append(dst, payload...), nil
}

func conforms(n *node, s *record.Schema, path string) error {
	if n.scalar == "null" {
		if !s.Optional {
			return fmt.Errorf("%s: null", path)
		}
		return nil
	}
	switch s.Type {
	case record.Struct:
		return structConforms(n, s, path)
	case record.Array:
		return itemsConform(n, '[', s.Items, path)
	case record.Map:
		return itemsConform(n, '{', s.Values, path)
	}
	quoted := strings.HasPrefix(n.scalar, `"`)
	switch s.Type {
	case record.String, record.Bytes:
		if !quoted {
			return fmt.Errorf("%s: %s is not a string", path, n)
		}
	case record.Boolean:
		if n.scalar != "true" && n.scalar != "false" {
			return fmt.Errorf("%s: %s is not a boolean", path, n)
		}
	default:
		special := s.Type == record.Float || s.Type == record.Double
		if n.kind != 0 || quoted && !special || strings.ContainsAny(n.scalar, ".E") && !special {
			return fmt.Errorf("%s: %s is not of type %s", path, n, s.Type)
		}
	}
	return nil
}

func structConforms(n *node, s *record.Schema, path string) error {
	if n.kind != '{' {
		return fmt.Errorf("%s: %s is not an object", path, n)
	}
	rest := n.fields
	for _, f := range s.Fields {
		if len(rest) == 0 || rest[0].name != f.Name {
			if s.Sparse && f.Schema.Optional {
				continue
			}
			return fmt.Errorf("%s: no field %s in its place", path, f.Name)
		}
		if err := conforms(rest[0].node, f.Schema, path+"."+f.Name); err != nil {
			return err
		}
		rest = rest[1:]
	}
	if len(rest) > 0 {
		return fmt.Errorf("%s: field %s is not in the schema", path, rest[0].name)
	}
	return nil
}

func itemsConform(n *node, kind byte, items *record.Schema, path string) error {
	if n.kind != kind {
		return fmt.Errorf("%s: %s is not a %c", path, n, kind)
	}
	for _, f := range n.fields {
		if err := conforms(f.node, items, path+"[]"); err != nil {
			return err
		}
	}
	return nil
}

// TestPayloads: what framings are given holds to its schema, in every envelope that has one.
func TestPayloads(t *testing.T) {
	fields, err := ParseFlatFields([]string{"op", "source.txId", "total_order", "pgtee"}, flatFieldPrefix)
	if err != nil {
		t.Fatal(err)
	}
	for _, envelope := range []Envelope{Change, Flat, CloudEventStructured, CloudEventBinary} {
		framing := &checkedFraming{T: t}
		config := sampleConfig()
		config.Envelope, config.Framing, config.TransactionMetadata = envelope, framing, true
		config.Flat = FlatConfig{Deletes: DeleteRewrite, Fields: fields}
		sampleRecords(t, New(config))
		if framing.payloads < 10 {
			t.Errorf("%s: %d payloads", envelopes[envelope], framing.payloads)
		}
	}
}

func TestParseEnvelopes(t *testing.T) {
	for i, name := range envelopes {
		if e, err := ParseEnvelope(name); err != nil || e != Envelope(i) {
			t.Errorf("%s: %d, %v", name, e, err)
		}
	}
	_, unknown := ParseEnvelope("avro")
	_, mode := ParseDeleteMode("never")
	_, field := ParseFlatFields([]string{"source.shoe_size"}, flatFieldPrefix)
	for _, err := range []error{unknown, mode, field} {
		if err == nil {
			t.Error("no error")
		}
	}
}

// TestCapturedPayloads: so does every row of the captured log, in every mode.
func TestCapturedPayloads(t *testing.T) {
	for _, file := range (capture{"testdata/golden"}).files(t) {
		for _, unknown := range []UnknownMode{UnknownText, UnknownBytes, UnknownOmit} {
			t.Run(fmt.Sprintf("%s/%s", file.name, unknown), func(t *testing.T) {
				framing := &checkedFraming{T: t}
				config := file.config(t)
				config.Framing, config.Envelope, config.Unknown, config.Outboxes = framing, Change, unknown, nil
				encoder := New(config)
				batch := testBatch()
				for _, tx := range file.transactions(t) {
					batch.Reset()
					if err := encodeAll(t.Context(), encoder, &batch, tx); err != nil {
						t.Error(err)
					}
				}
				if framing.payloads == 0 {
					t.Error("no payloads")
				}
			})
		}
	}
}
