package avro

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
)

// capturedSchema is a schema in the JSON of Kafka Connect's JsonConverter.
type capturedSchema struct {
	Type       record.SchemaType `json:"type"`
	Optional   bool              `json:"optional"`
	Name       string            `json:"name"`
	Version    int               `json:"version"`
	Doc        string            `json:"doc"`
	Default    json.RawMessage   `json:"default"`
	Parameters json.RawMessage   `json:"parameters"`
	Field      string            `json:"field"`
	Fields     []capturedSchema  `json:"fields"`
	Items      *capturedSchema   `json:"items"`
	Keys       *capturedSchema   `json:"keys"`
	Values     *capturedSchema   `json:"values"`
}

func (c *capturedSchema) schema() *record.Schema {
	if c == nil {
		return nil
	}
	s := &record.Schema{Type: c.Type, Optional: c.Optional, Name: c.Name, Version: c.Version, Doc: c.Doc,
		Items: c.Items.schema(), Keys: c.Keys.schema(), Values: c.Values.schema(), Parameters: parameters(c.Parameters)}
	if len(c.Default) > 0 {
		s.Default = c.Default
	}
	for i := range c.Fields {
		s.Fields = append(s.Fields, record.Field{Name: c.Fields[i].Field, Schema: c.Fields[i].schema()})
	}
	return s
}

// parameters keeps the order, which a Go map would lose.
func parameters(object json.RawMessage) (list []record.Parameter) {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil {
		return nil
	}
	for d.More() {
		name, _ := d.Token()
		value, _ := d.Token()
		list = append(list, record.Parameter{Name: fmt.Sprint(name), Value: fmt.Sprint(value)})
	}
	return list
}

// captured is a key or value as Debezium publishes it with schemas.enable=true.
type captured struct {
	Schema  json.RawMessage `json:"schema"`
	Payload json.RawMessage `json:"payload"`
}

// parseSchema reads a schema of JsonConverter.
func parseSchema(t testing.TB, text []byte) *record.Schema {
	t.Helper()
	var c capturedSchema
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c.schema()
}

// capturedRecord is one line of the captured files.
type capturedRecord struct {
	Topic string    `json:"topic"`
	Key   *captured `json:"key"`
	Value *captured `json:"value"`
}

// part returns the key or value; nil: the record has none.
func (r *capturedRecord) part(p record.Part) *captured {
	if p == record.KeyPart {
		return r.Key
	}
	return r.Value
}

// capturedRecords are the records that Debezium published with its schemas.
func capturedRecords(t testing.TB) (list []capturedRecord) {
	t.Helper()
	file, err := os.Open("../debezium/testdata/golden/schemas_small.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(lines); d.More(); {
		var r capturedRecord
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	return list
}
