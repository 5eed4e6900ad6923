package record

// Schema says what a JSON payload holds, as a Kafka Connect schema does (org.apache.kafka.connect.data.Schema).
// It is made once for each version of a table and never changed afterwards: framings may remember what they
// derived from it by its pointer.
type Schema struct {
	Type       SchemaType
	Optional   bool
	Name       string // "io.debezium.time.Date"; "": none
	Version    int    // 0: none
	Parameters []Parameter
	Default    []byte  // JSON of the default value; nil: none
	Doc        string  // "": none
	Fields     []Field // of a struct, in the order of the payload
	Sparse     bool    // a struct: optional fields may be left out of the payload
	Items      *Schema // of an array
	Keys       *Schema // of a map
	Values     *Schema // of a map
}

// Field is a field of a struct.
type Field struct {
	Name   string
	Schema *Schema
}

// Parameter is a parameter of a named schema: {"scale", "2"}.
type Parameter struct{ Name, Value string }

// SchemaType is the name of a type in the JSON of Kafka Connect's JsonConverter. In a payload, bytes are
// base64, a map with string keys is an object (with other keys an array of pairs), float and double may be "NaN", "Infinity" or "-Infinity".
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

// Part says which half of a record is framed.
type Part byte

const (
	KeyPart Part = iota
	ValuePart
)

// Framing turns the JSON payload of a key or value into the bytes that stand in Kafka: with its schema
// beside it, as Avro, as a CloudEvent. No Framing at all leaves the bare payload.
//
// It is used by one goroutine at a time. An error stops the publisher before anything of the transaction is
// published; one with a method Temporary() bool that returns true is tried again.
type Framing interface {
	// Append appends the framed payload to dst. The payload holds all fields of the schema, but for those that a
	// sparse struct leaves out, in its order, and nothing else; it is valid during the call only.
	Append(dst []byte, part Part, topic string, schema *Schema, payload []byte) ([]byte, error)
}

// Required and Nullable return the schema of a bare type.
func Required(t SchemaType) *Schema { return &Schema{Type: t} }
func Nullable(t SchemaType) *Schema { return &Schema{Type: t, Optional: true} }
