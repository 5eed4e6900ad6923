package consume

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/pgtee/pgtee/subscriber/decode"
)

// schemaHint remembers the schema of the last record, since the next record usually has the same one.
type schemaHint struct {
	text []byte
	root *schema
}

// schema is what a Connect schema adds to a value of JSON: that a number is a date, or that text is bytes. nil adds nothing.
type schema struct {
	logical decode.Logical
	unknown decode.UnknownSchema // of a number; "": none
	bytes   bool
	fields  map[string]*schema // of a struct
	items   *schema            // of an array, or the values of a map
}

// connectSchema is the schema that Kafka Connect's JsonConverter adds to a payload.
type connectSchema struct {
	Type       string            `json:"type"`
	Name       string            `json:"name"`
	Field      string            `json:"field"`
	Parameters map[string]string `json:"parameters"`
	Fields     []connectSchema   `json:"fields"`
	Items      *connectSchema    `json:"items"`
	Values     *connectSchema    `json:"values"`
}

// schema returns nil if nothing of the value needs to be converted.
func (c *connectSchema) schema() *schema {
	if c == nil {
		return nil
	}
	scale, _ := strconv.Atoi(c.Parameters["scale"])
	if l, known := decode.LogicalOf(c.Name, scale); known {
		return &schema{logical: l, bytes: c.Type == "bytes"}
	}
	switch c.Type {
	case "bytes":
		return &schema{bytes: true}
	case "int8", "int16", "int32", "int64":
		if decode.IsUnknown(c.Name) {
			return &schema{unknown: decode.UnknownSchema(c.Name)}
		}
	}
	s := &schema{fields: map[string]*schema{}, items: cmp.Or(c.Items, c.Values).schema()}
	for i := range c.Fields {
		if field := c.Fields[i].schema(); field != nil {
			s.fields[c.Fields[i].Field] = field
		}
	}
	if s.items == nil && len(s.fields) == 0 {
		return nil
	}
	return s
}

// field returns the schema of a field of a struct, or of a value of a map.
func (s *schema) field(name string) *schema {
	if s == nil {
		return nil
	}
	return cmp.Or(s.fields[name], s.items)
}

// at returns the schema of the value at a path.
func (s *schema) at(p path) *schema {
	for _, step := range p {
		s = s.field(step.name) // of an index it is "", which no field has
	}
	return s
}

// column returns the type for a value; "" if the schema does not determine it.
func (s *schema) column() string {
	switch {
	case s == nil:
		return ""
	case s.logical != (decode.Logical{}):
		return s.logical.Type()
	case s.bytes:
		return "bytea"
	}
	return ""
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
func (h *schemaHint) of(text []byte) (*schema, error) {
	if h.text != nil && bytes.Equal(text, h.text) {
		return h.root, nil
	}
	var parsed connectSchema
	if err := json.Unmarshal(text, &parsed); err != nil {
		return nil, badRecord("a schema beside the payload that is none of Kafka Connect's")
	}
	h.text, h.root = bytes.Clone(text), parsed.schema()
	return h.root, nil
}

// cell returns the cell of a value, converted according to its schema.
func (d *decoder) cell(value []byte, s *schema) (cell, error) {
	switch {
	case string(value) == "null":
		return cell{form: null}, nil
	case s != nil && s.unknown != "":
		return cell{}, badRecord(s.unknown.Error())
	case s.column() == "":
		return cell{asJSON, value}, nil
	case s.bytes:
		return d.bytesCell(value, s)
	case s.logical.IsVariableDecimal():
		return d.variableCell(value)
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return cell{}, badRecord("a field whose schema says that it is a number of days, or of a second's parts, and that is none")
	}
	start := len(d.text)
	d.text = s.logical.AppendNumber(d.text, n)
	return cell{asText, d.text[start:len(d.text):len(d.text)]}, nil
}

// variableCell returns the cell of a decimal with its own scale.
func (d *decoder) variableCell(value []byte) (c cell, err error) {
	start := len(d.text)
	if d.text, err = decode.AppendVariableDecimal(d.text, value); err != nil {
		return cell{}, badRecord("a field that its schema declares as a decimal with a scale, and that is not one")
	}
	return cell{asText, d.text[start:len(d.text):len(d.text)]}, nil
}

// bytesCell returns the cell of bytes, in base64, or of a decimal, which JsonConverter also writes as a number (decimal.format=NUMERIC).
func (d *decoder) bytesCell(value []byte, s *schema) (cell, error) {
	decimal, quoted := s.logical.IsDecimal(), value[0] == '"'
	if decimal && !quoted {
		return cell{asJSON, value}, nil
	}
	raw, err := base64.StdEncoding.DecodeString(decode.Unquoted(value))
	if err != nil || !quoted {
		return cell{}, badRecord("a field that its schema declares as bytes, and that is not base64")
	}
	if !decimal {
		return cell{asBytes, raw}, nil
	}
	start := len(d.text)
	if d.text, err = decode.AppendDecimal(d.text, raw, s.logical.Scale); err != nil {
		return cell{}, badRecord("a decimal with a scale that numeric cannot have")
	}
	return cell{asText, d.text[start:len(d.text):len(d.text)]}, nil
}
