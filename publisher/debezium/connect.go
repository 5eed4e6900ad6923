package debezium

import (
	"strconv"

	"github.com/pgtee/pgtee/publisher"
)

// Names of Debezium's and Kafka Connect's semantic types that several types of PostgreSQL have.
const (
	nameJSON    = "io.debezium.data.Json"
	nameDecimal = "org.apache.kafka.connect.data.Decimal"
)

// schemaOf is the schema of a required value of a type that has no semantic name.
func schemaOf(t publisher.SchemaType) publisher.Schema { return publisher.Schema{Type: t} }

// named is the same with a semantic name, in its first version.
func named(t publisher.SchemaType, name string, parameters ...publisher.Parameter) publisher.Schema {
	return publisher.Schema{Type: t, Name: name, Version: 1, Parameters: parameters}
}

// structOf is the schema of a struct with a semantic name.
func structOf(name, doc string, fields ...publisher.Field) publisher.Schema {
	s := named(publisher.Struct, name)
	s.Doc, s.Fields = doc, fields
	return s
}

// optional returns s for a value that may be null.
func optional(s publisher.Schema) publisher.Schema {
	s.Optional = true
	return s
}

func member(name string, s publisher.Schema) publisher.Field {
	return publisher.Field{Name: name, Schema: &s}
}

func arrayOf(item publisher.Schema) publisher.Schema {
	return publisher.Schema{Type: publisher.Array, Items: &item}
}

func mapOf(key, value publisher.Schema) publisher.Schema {
	return publisher.Schema{Type: publisher.Map, Keys: &key, Values: &value}
}

func parameter(name string, value int) publisher.Parameter {
	return publisher.Parameter{Name: name, Value: strconv.Itoa(value)}
}

// Structs that Debezium puts values into.
var (
	schemaVariableDecimal = structOf("io.debezium.data.VariableScaleDecimal", "Variable scaled decimal",
		member("scale", schemaOf(publisher.Int32)), member("value", schemaOf(publisher.Bytes)))

	schemaPoint = structOf("io.debezium.data.geometry.Point", "Geometry (POINT)",
		member("x", schemaOf(publisher.Double)), member("y", schemaOf(publisher.Double)),
		member("wkb", optional(schemaOf(publisher.Bytes))), member("srid", optional(schemaOf(publisher.Int32))))

	// The others of io.debezium.data.geometry are optional even in a column that is NOT NULL.
	schemaGeometry = func() publisher.Schema {
		s := optional(structOf("io.debezium.data.geometry.Geometry", "Geometry",
			member("wkb", schemaOf(publisher.Bytes)), member("srid", optional(schemaOf(publisher.Int32))),
			member("extensions", optional(mapOf(schemaOf(publisher.String), schemaOf(publisher.String))))))
		s.Version = 2
		return s
	}()
	schemaLine = optional(structOf("io.debezium.data.geometry.Line", "Geometry (LINE)",
		member("a", schemaOf(publisher.Double)), member("b", schemaOf(publisher.Double)), member("c", schemaOf(publisher.Double))))
	schemaCircle = optional(structOf("io.debezium.data.geometry.Circle", "Geometry (CIRCLE)",
		member("center", schemaPoint), member("radius", schemaOf(publisher.Double))))
	schemaGeography = structOf("io.debezium.data.geometry.Geography", "Geography",
		member("wkb", schemaOf(publisher.Bytes)), member("srid", optional(schemaOf(publisher.Int32))))
)
