package debezium

import (
	"context"
	"math"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Propagation selects the columns whose PostgreSQL type is added to the parameters of their schemas, as Debezium does. The patterns are those of
// shape.Matches.
type Propagation struct {
	Columns   []string // column.propagate.source.type: matches SCHEMA.TABLE.COLUMN
	Datatypes []string // datatype.propagate.source.type: matches SCHEMA.TABLE.TYPE
}

// unlimited is the length that Debezium reports for types without one, such as text.
const unlimited = math.MaxInt32

// propagate adds the type parameters to the schema that a column has in rows, if the configuration selects the column.
func (e *Encoder) propagate(ctx context.Context, c *column, relation *pgoutput.Relation, i int, defaultExpression string, at record.Place) error {
	p := &e.config.Propagate
	if len(p.Columns)+len(p.Datatypes) == 0 {
		return nil
	}
	from := &relation.Columns[i]
	t, found, err := e.config.Catalog.Type(ctx, from.Type, at)
	if err != nil || !found {
		return err
	}
	name := sourceTypeName(t.Name, defaultExpression)
	table := relation.Schema + "." + relation.Name + "."
	if !shape.MatchesAny(p.Columns, table+from.Name) && !shape.MatchesAny(p.Datatypes, table+name) {
		return nil
	}
	length, scale, err := e.codecs.extent(from.Type, from.TypeMod)
	if err != nil {
		return err
	}
	extended := *c.schema
	for _, parameter := range []record.Parameter{
		{Name: "__debezium.source.column.type", Value: strings.ToUpper(name)},
		{Name: "__debezium.source.column.length", Value: strconv.Itoa(length)},
		{Name: "__debezium.source.column.scale", Value: strconv.Itoa(scale)},
		{Name: "__debezium.source.column.name", Value: from.Name},
	} {
		extended.Parameters = parameters(extended, parameter.Name, parameter.Value)
	}
	c.schema = &extended
	return nil
}

// sourceTypeName is the type's name in PostgreSQL's JDBC driver, which calls an integer whose default is nextval() of a sequence serial.
func sourceTypeName(name, defaultExpression string) string {
	if !strings.Contains(defaultExpression, "nextval(") {
		return name
	}
	switch name {
	case "int2":
		return "smallserial"
	case "int4":
		return "serial"
	case "int8":
		return "bigserial"
	}
	return name
}

// extent returns what PostgreSQL's JDBC driver reports as precision and scale of a type. An array has those of its elements.
func (c *codecs) extent(oid uint32, typmod int32) (length, scale int, err error) {
	if element, ok := arrays[oid]; ok {
		oid = element
	}
	if n, ok := fixedLengths[oid]; ok {
		return n.length, n.scale, nil
	}
	switch oid {
	case oidNumeric:
		if typmod < 0 {
			return 131089, 0, nil
		}
		return int((typmod - 4) >> 16 & 0xFFFF), int((typmod - 4) & 0xFFFF), nil
	case oidBPChar, oidVarchar:
		if typmod < 0 {
			return unlimited, 0, nil
		}
		return int(typmod - 4), 0, nil
	case oidBit, oidVarbit:
		if typmod < 0 {
			return unlimited, 0, nil
		}
		return int(typmod), 0, nil
	case oidTime, oidTimeTZ, oidTimestamp, oidTimestampTZ, oidInterval:
		return clockLength(oid, typmod), fractionDigits(typmod), nil
	}
	t, found, err := c.catalogType(oid)
	switch {
	case err != nil || !found:
		return unlimited, 0, err
	case t.Kind == KindDomain:
		return c.extent(t.Base, t.TypeMod)
	case t.Element != 0:
		return c.extent(t.Element, typmod)
	case typmod > 0 && vectorTypes[t.Name]:
		return int(typmod), 0, nil
	}
	return unlimited, 0, nil
}

var vectorTypes = map[string]bool{"vector": true, "halfvec": true, "sparsevec": true}

var fixedLengths = map[uint32]struct{ length, scale int }{
	oidBool: {1, 0}, oidChar: {1, 0}, oidInt2: {5, 0}, oidInt4: {10, 0}, oidOID: {10, 0}, oidInt8: {19, 0},
	oidFloat4: {8, 8}, oidFloat8: {17, 17}, oidDate: {13, 0},
}

// fractionDigits is the precision of a time type, 6 if none is given. The upper half of an interval's typmod holds its fields.
func fractionDigits(typmod int32) int {
	if typmod < 0 {
		return 6
	}
	return int(typmod & 0xFFFF)
}

// clockLength is the maximum number of characters of a time.
func clockLength(oid uint32, typmod int32) int {
	digits := fractionDigits(typmod)
	switch {
	case oid == oidInterval:
		return 49
	case digits == 1:
		digits = 3
	case digits > 0:
		digits++ // the decimal point
	}
	switch oid {
	case oidTime:
		return len("00:00:00") + digits
	case oidTimeTZ:
		return len("00:00:00+00:00") + digits
	case oidTimestamp:
		return len("0000000-00-00 00:00:00") + digits
	}
	return len("0000000-00-00 00:00:00+00:00") + digits
}
