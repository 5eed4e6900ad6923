package avro

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	"github.com/pgtee/pgtee/publisher/record"
)

// maxDepth bounds the nesting of schemas: Debezium's have five levels.
const maxDepth = 32

const (
	decimalName      = "org.apache.kafka.connect.data.Decimal"
	decimalPrecision = 64 // precision of a Decimal without the parameter connect.decimal.precision

	anonymousNamespace = "io.confluent.connect.avro"
	anonymousName      = "ConnectDefault" // the second one is ConnectDefault2
)

// logicalTypes are the Avro names of Kafka Connect's logical types.
var logicalTypes = map[string]string{
	decimalName:                               "decimal",
	"org.apache.kafka.connect.data.Date":      "date",
	"org.apache.kafka.connect.data.Time":      "time-millis",
	"org.apache.kafka.connect.data.Timestamp": "timestamp-millis",
}

var primitives = map[record.SchemaType]string{
	record.Int8: "int", record.Int16: "int", record.Int32: "int", record.Int64: "long",
	record.Float: "float", record.Double: "double", record.Boolean: "boolean",
	record.String: "string", record.Bytes: "bytes",
}

// schemaText returns the Avro schema of s as Avro's Schema.toString prints it. It is identical to the schema that Confluent's AvroConverter registers
// for the same Connect schema (AvroData.fromConnectSchema, all defaults), including the order of properties, because registries compare the text.
func schemaText(s *record.Schema, names NameAdjustment) ([]byte, error) {
	t := translator{names: names, records: map[string]*record.Schema{}}
	return t.append(nil, s, "", 0)
}

// recordName returns the full name of the Avro record of s, "" if s has none.
func recordName(s *record.Schema, names NameAdjustment) string {
	if s.Type != record.Struct || s.Name == "" {
		return ""
	}
	return names.fullName(s.Name)
}

// translator writes one Avro schema.
type translator struct {
	names     NameAdjustment
	records   map[string]*record.Schema // records written so far, by full name: Avro defines a record once and then refers to its name
	anonymous []*record.Schema
}

// append writes s inside a record with the given namespace.
func (t *translator) append(b []byte, s *record.Schema, namespace string, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("the schema nests deeper than %d levels", maxDepth)
	}
	if !s.Optional {
		return t.appendType(b, s, namespace, depth)
	}
	def, err := defaultOf(s)
	if err != nil {
		return nil, err
	}
	if def == nil {
		b = append(b, `["null",`...)
	} else {
		b = append(b, '[')
	}
	if b, err = t.appendType(b, s, namespace, depth); err != nil {
		return nil, err
	}
	if def != nil {
		b = append(b, `,"null"`...)
	}
	return append(b, ']'), nil
}

// appendType writes s as if it were required.
func (t *translator) appendType(b []byte, s *record.Schema, namespace string, depth int) ([]byte, error) {
	switch s.Type {
	case record.Struct:
		return t.appendRecord(b, s, namespace, depth)
	case record.Array:
		return t.appendContainer(b, s, `{"type":"array","items":`, s.Items, namespace, depth)
	case record.Map:
		if !hasTextKeys(s) {
			entry, err := entryOf(s)
			if err != nil {
				return nil, err
			}
			return t.appendContainer(b, s, `{"type":"array","items":`, entry, namespace, depth)
		}
		return t.appendContainer(b, s, `{"type":"map","values":`, s.Values, namespace, depth)
	}
	name, known := primitives[s.Type]
	if !known {
		return nil, fmt.Errorf("unknown schema type %q", s.Type)
	}
	properties, err := appendPrimitiveProperties(nil, s)
	if err != nil {
		return nil, err
	}
	if len(properties) == 0 {
		return appendQuoted(b, name), nil
	}
	b = appendQuoted(append(b, `{"type":`...), name)
	return append(append(b, properties...), '}'), nil
}

// mapEntry is the record into which AvroData of Confluent's converter puts each entry of a map whose keys are not required strings; the map is an array.
const mapEntry = "io.confluent.connect.avro.MapEntry"

func hasTextKeys(s *record.Schema) bool {
	return s.Keys != nil && s.Keys.Type == record.String && !s.Keys.Optional
}

func entryOf(s *record.Schema) (*record.Schema, error) {
	if s.Keys == nil || s.Values == nil {
		return nil, fmt.Errorf("a schema of type %s has no schema of its keys or values", s.Type)
	}
	return &record.Schema{Type: record.Struct, Name: mapEntry, Fields: []record.Field{{Name: "key", Schema: s.Keys}, {Name: "value", Schema: s.Values}}}, nil
}

func (t *translator) appendContainer(b []byte, s *record.Schema, start string, of *record.Schema, namespace string, depth int) ([]byte, error) {
	if of == nil {
		return nil, fmt.Errorf("a schema of type %s has no schema of its items", s.Type)
	}
	b, err := t.append(append(b, start...), of, namespace, depth+1)
	if err != nil {
		return nil, err
	}
	if b, err = appendProperties(b, s); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

// appendRecord writes a struct, or only its name if it was written before.
func (t *translator) appendRecord(b []byte, s *record.Schema, namespace string, depth int) ([]byte, error) {
	full, seen, err := t.define(s)
	if err != nil {
		return nil, err
	}
	space, name := splitName(full)
	if seen && space == namespace {
		return appendQuoted(b, name), nil
	}
	if seen {
		return appendQuoted(b, full), nil
	}
	b = appendQuoted(append(b, `{"type":"record","name":`...), name)
	if space != namespace {
		b = appendQuoted(append(b, `,"namespace":`...), space)
	}
	b = append(b, `,"fields":[`...)
	if b, err = t.appendFields(b, s, space, depth); err != nil {
		return nil, err
	}
	b = append(b, ']')
	if full != mapEntry { // AvroData gives this record of its own no connect.name
		b, err = appendProperties(b, t.named(s))
	}
	return append(b, '}'), err
}

// named returns s under its adjusted name, which is also its connect.name.
func (t *translator) named(s *record.Schema) *record.Schema {
	renamed := *s
	renamed.Name = recordName(s, t.names)
	return &renamed
}

// define returns the full name of a struct, and whether it was written before.
func (t *translator) define(s *record.Schema) (full string, seen bool, err error) {
	full = recordName(s, t.names)
	if full == "" {
		return t.defineAnonymous(s)
	}
	before, seen := t.records[full]
	if seen && (before.Name != s.Name || !reflect.DeepEqual(before.Fields, s.Fields)) {
		return "", false, fmt.Errorf("two different structs, %s and %s, would be the Avro record %s", before.Name, s.Name, full)
	}
	t.records[full] = s
	return full, seen, nil
}

func (t *translator) defineAnonymous(s *record.Schema) (full string, seen bool, err error) {
	number := 0
	for i, before := range t.anonymous {
		if reflect.DeepEqual(before.Fields, s.Fields) {
			number, seen = i+1, true
		}
	}
	if !seen {
		t.anonymous = append(t.anonymous, s)
		number = len(t.anonymous)
	}
	full = anonymousNamespace + "." + anonymousName
	if number > 1 {
		full += strconv.Itoa(number)
	}
	return full, seen, nil
}

func (t *translator) appendFields(b []byte, s *record.Schema, namespace string, depth int) ([]byte, error) {
	names := t.names.fieldNames(s)
	for i, f := range s.Fields {
		name := names[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendQuoted(append(b, `{"name":`...), name)
		var err error
		if b, err = t.append(append(b, `,"type":`...), f.Schema, namespace, depth+1); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		if b, err = appendFieldDefault(b, f.Schema); err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		b = append(b, '}')
	}
	return b, nil
}

func appendFieldDefault(b []byte, s *record.Schema) ([]byte, error) {
	def, err := defaultOf(s)
	if err != nil {
		return nil, err
	}
	if def == nil && s.Optional {
		def = []byte("null")
	}
	if def == nil {
		return b, nil
	}
	return append(append(b, `,"default":`...), def...), nil
}

// appendPrimitiveProperties writes the properties of a primitive type.
func appendPrimitiveProperties(b []byte, s *record.Schema) ([]byte, error) {
	logical := logicalTypes[s.Name]
	if s.Name == decimalName {
		scale, err := intParameter(s, "scale", 0)
		if err != nil {
			return nil, err
		}
		precision, err := intParameter(s, "connect.decimal.precision", decimalPrecision)
		if err != nil {
			return nil, err
		}
		b = fmt.Appendf(b, `,"scale":%d,"precision":%d`, scale, precision)
		if scale < 0 || scale > precision {
			logical = "" // numeric(2,-3), numeric(2,4): not valid Avro decimals. AvroData writes them anyway, but fastavro refuses such a schema
		}
	}
	b, err := appendProperties(b, s)
	if err != nil {
		return nil, err
	}
	if s.Type == record.Int8 || s.Type == record.Int16 {
		b = appendQuoted(append(b, `,"connect.type":`...), string(s.Type))
	}
	if logical != "" {
		b = appendQuoted(append(b, `,"logicalType":`...), logical)
	}
	return b, nil
}

// appendProperties writes the connect.* properties, for what Avro itself cannot express.
func appendProperties(b []byte, s *record.Schema) ([]byte, error) {
	if s.Doc != "" {
		b = appendQuoted(append(b, `,"connect.doc":`...), s.Doc)
	}
	if s.Version != 0 {
		b = strconv.AppendInt(append(b, `,"connect.version":`...), int64(s.Version), 10)
	}
	for i, p := range s.Parameters {
		if i == 0 {
			b = append(b, `,"connect.parameters":{`...)
		} else {
			b = append(b, ',')
		}
		b = appendQuoted(append(appendQuoted(b, p.Name), ':'), p.Value)
	}
	if len(s.Parameters) > 0 {
		b = append(b, '}')
	}
	def, err := defaultOf(s)
	if err != nil {
		return nil, err
	}
	if def != nil {
		b = append(append(b, `,"connect.default":`...), def...)
	}
	if s.Name != "" {
		b = appendQuoted(append(b, `,"connect.name":`...), s.Name)
	}
	return b, nil
}

func intParameter(s *record.Schema, name string, missing int) (int, error) {
	for _, p := range s.Parameters {
		if p.Name != name {
			continue
		}
		n, err := strconv.Atoi(p.Value)
		if err != nil {
			return 0, fmt.Errorf("parameter %s of %s is not a number", name, s.Name)
		}
		return n, nil
	}
	return missing, nil
}

// appendQuoted writes a JSON string as Avro's Jackson does: <, > and & are not escaped.
func appendQuoted(b []byte, text string) []byte {
	var quoted bytes.Buffer
	encoder := json.NewEncoder(&quoted)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // encoding a string into a buffer cannot fail
	return append(b, bytes.TrimSuffix(quoted.Bytes(), []byte("\n"))...)
}
