package record

import "context"

// Schema describes a JSON payload, as a Kafka Connect schema does (org.apache.kafka.connect.data.Schema). It is created once for each version of a
// table and never modified afterwards: framings may cache what they derive from it by its pointer.
type Schema struct {
	Type       SchemaType
	Optional   bool
	Name       string // "io.debezium.time.Date"; "": none
	Version    int    // 0: none
	Parameters []Parameter
	Default    []byte  // JSON of the default value; nil: no default
	Doc        string  // "": none
	Fields     []Field // for a struct, in the order of the payload
	Sparse     bool    // for a struct: optional fields may be missing from the payload
	Items      *Schema // for an array
	Keys       *Schema // for a map
	Values     *Schema // for a map
}

// Field is a field of a struct.
type Field struct {
	Name   string
	Schema *Schema
}

// Parameter is a parameter of a named schema: {"scale", "2"}.
type Parameter struct{ Name, Value string }

// SchemaType is the name of a type in the JSON of Kafka Connect's JsonConverter. In a payload, bytes are base64, a map with string keys is an object
// (with other keys an array of pairs), and float and double may be "NaN", "Infinity" or "-Infinity".
type SchemaType string

const (
	Int8    SchemaType = "int8"
	Int16   SchemaType = "int16"
	Int32   SchemaType = "int32"
	Int64   SchemaType = "int64"
	Float   SchemaType = "float"  // 32 bits
	Double  SchemaType = "double" // 64 bits
	Boolean SchemaType = "boolean"
	String  SchemaType = "string"
	Bytes   SchemaType = "bytes"
	Array   SchemaType = "array"
	Map     SchemaType = "map"
	Struct  SchemaType = "struct"
)

// Part says which part of a record is framed.
type Part byte

const (
	KeyPart Part = iota
	ValuePart
)

// Framing turns the JSON payload of a key or value into the bytes that are sent to Kafka: with the schema beside it, as Avro, or as a CloudEvent.
// Without a Framing the payload is sent as it is.
//
// A Framing is used by one goroutine at a time. An error stops the publisher before any part of the transaction is published; an error with a method
// Temporary() bool that returns true is retried.
type Framing interface {
	// Append appends the framed payload to dst. The payload contains all fields of the schema in its order, except for those missing from a sparse
	// struct, and nothing else; it is valid only during the call.
	Append(ctx context.Context, dst []byte, part Part, topic string, schema *Schema, payload []byte) ([]byte, error)
}

// Required and Nullable return the schema of a type without a name.
func Required(t SchemaType) *Schema { return &Schema{Type: t} }
func Nullable(t SchemaType) *Schema { return &Schema{Type: t, Optional: true} }
