package consume

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/pgtee/pgtee/subscriber/decode"
)

// logical is what a Connect schema adds to the JSON of a field: that a number is a date, or that text is bytes.
type logical struct {
	decode.Logical
	bytes bool
}

// schemaHint remembers the schema of the last record, since the next record usually has the same one.
type schemaHint struct {
	text  []byte
	types map[string]logical
}

// connectSchema is the schema that Kafka Connect's JsonConverter adds to a payload.
type connectSchema struct {
	Type       string            `json:"type"`
	Name       string            `json:"name"`
	Field      string            `json:"field"`
	Parameters map[string]string `json:"parameters"`
	Fields     []connectSchema   `json:"fields"`
}

// splitSchema splits an object that has exactly a schema and a payload; payload is nil for any other value.
func splitSchema(value []byte) (schema, payload []byte) {
	s := decode.Scanner{Text: value}
	if !s.Take('{') {
		return nil, nil
	}
	for range 2 {
		name, err := s.Quoted()
		if err != nil || string(name) != `"schema"` && string(name) != `"payload"` || !s.Take(':') {
			return nil, nil
		}
		field, err := s.Value()
		if err != nil {
			return nil, nil
		}
		if len(name) == len(`"schema"`) {
			schema = field
		} else {
			payload = field
		}
		s.Take(',')
	}
	if schema == nil || payload == nil || !s.Take('}') {
		return nil, nil
	}
	return schema, payload
}

// of parses a schema; null means none.
func (h *schemaHint) of(text []byte) (map[string]logical, error) {
	if h.text != nil && bytes.Equal(text, h.text) {
		return h.types, nil
	}
	var schema connectSchema
	if err := json.Unmarshal(text, &schema); err != nil {
		return nil, badRecord("a schema beside the payload that is none of Kafka Connect's")
	}
	h.text, h.types = bytes.Clone(text), map[string]logical{}
	for _, f := range schema.Fields {
		scale, _ := strconv.Atoi(f.Parameters["scale"])
		l, known := decode.LogicalOf(f.Name, scale)
		if known || f.Type == "bytes" {
			h.types[f.Field] = logical{l, f.Type == "bytes"}
		}
	}
	return h.types, nil
}

// convert converts a cell of JSON according to its schema.
func (d *decoder) convert(c *cell, l logical) error {
	start := len(d.text)
	if !l.bytes {
		n, err := strconv.ParseInt(string(c.text), 10, 64)
		if err != nil {
			return badRecord("a field whose schema says that it is a number of days, or of a second's parts, and that is none")
		}
		d.text = l.AppendNumber(d.text, n)
		*c = cell{asText, d.text[start:len(d.text):len(d.text)]}
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(string(bytes.Trim(c.text, `"`)))
	if err != nil {
		return badRecord("a field whose schema says that it is bytes, and that is no base64")
	}
	if !l.IsDecimal() {
		*c = cell{asBytes, raw}
		return nil
	}
	if d.text, err = decode.AppendDecimal(d.text, raw, l.Scale); err != nil {
		return badRecord("a decimal with a scale that numeric cannot have")
	}
	*c = cell{asText, d.text[start:len(d.text):len(d.text)]}
	return nil
}
