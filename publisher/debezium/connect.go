package debezium

import (
	"strconv"

	"github.com/pgtee/pgtee/publisher/record"
)

// Semantic type names of Debezium and Kafka Connect that several PostgreSQL types share.
const (
	nameJSON    = "io.debezium.data.Json"
	nameDecimal = "org.apache.kafka.connect.data.Decimal"
)

// schemaOf returns the schema of a required value that has no semantic name.
func schemaOf(t record.SchemaType) record.Schema { return record.Schema{Type: t} }

// named returns the schema of a required value with a semantic name, in version 1.
func named(t record.SchemaType, name string, parameters ...record.Parameter) record.Schema {
	return record.Schema{Type: t, Name: name, Version: 1, Parameters: parameters}
}

// structOf returns the schema of a struct with a semantic name.
func structOf(name, doc string, fields ...record.Field) record.Schema {
	s := named(record.Struct, name)
	s.Doc, s.Fields = doc, fields
	return s
}

// optional returns s with null allowed.
func optional(s record.Schema) record.Schema {
	s.Optional = true
	return s
}

func member(name string, s record.Schema) record.Field {
	return record.Field{Name: name, Schema: &s}
}

func arrayOf(item record.Schema) record.Schema {
	return record.Schema{Type: record.Array, Items: &item}
}

func mapOf(key, value record.Schema) record.Schema {
	return record.Schema{Type: record.Map, Keys: &key, Values: &value}
}

func parameter(name string, value int) record.Parameter {
	return record.Parameter{Name: name, Value: strconv.Itoa(value)}
}

// Schemas of the structs that Debezium uses as values.
var (
	schemaVariableDecimal = structOf("io.debezium.data.VariableScaleDecimal", "Variable scaled decimal",
		member("scale", schemaOf(record.Int32)), member("value", schemaOf(record.Bytes)))

	schemaPoint = structOf("io.debezium.data.geometry.Point", "Geometry (POINT)",
		member("x", schemaOf(record.Double)), member("y", schemaOf(record.Double)),
		member("wkb", optional(schemaOf(record.Bytes))), member("srid", optional(schemaOf(record.Int32))))

	// The other schemas of io.debezium.data.geometry are optional even for a NOT NULL column.
	schemaGeometry = func() record.Schema {
		s := optional(structOf("io.debezium.data.geometry.Geometry", "Geometry",
			member("wkb", schemaOf(record.Bytes)), member("srid", optional(schemaOf(record.Int32))),
			member("extensions", optional(mapOf(schemaOf(record.String), schemaOf(record.String))))))
		s.Version = 2
		return s
	}()
	schemaLine = optional(structOf("io.debezium.data.geometry.Line", "Geometry (LINE)",
		member("a", schemaOf(record.Double)), member("b", schemaOf(record.Double)), member("c", schemaOf(record.Double))))
	schemaCircle = optional(structOf("io.debezium.data.geometry.Circle", "Geometry (CIRCLE)",
		member("center", schemaPoint), member("radius", schemaOf(record.Double))))
	schemaGeography = structOf("io.debezium.data.geometry.Geography", "Geography",
		member("wkb", schemaOf(record.Bytes)), member("srid", optional(schemaOf(record.Int32))))
)
