package debezium

import (
	"context"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// appendFunc appends a value, given as PostgreSQL's text, as JSON. It returns false if it does not recognize the text, or if Debezium's type cannot
// represent the value (NaN in a decimal); the bytes after len(dst) are undefined then.
type appendFunc func(dst, text []byte) ([]byte, bool)

// codec says how the values of one type become JSON.
type codec struct {
	append appendFunc
	schema record.Schema // of a NOT NULL column without a default

	// zero is what Debezium writes for a NOT NULL column whose value is not in the WAL.
	zero string
	// unavailable is written for an unchanged TOAST value, unavailableArray for an unchanged array of this type. "" means null, since Debezium has no
	// placeholder for these types.
	unavailable      string
	unavailableArray string

	defaults    defaultForm // reads the default of a column as Debezium does
	strictItems bool        // Debezium's schema allows no NULL element in an array of this type
	detachable  bool        // values may be stored out of line, and there is no placeholder: the field is optional, so that null can stand for them
	omitted     bool        // has no field in rows
	lossy       string      // how to avoid that different values look the same; "": they never do, apart from the lower bounds of arrays
	short       bool        // values are never stored out of line, although there is a placeholder for those of the schema's type
}

// codecs chooses codecs and owns the buffers that they share. All codecs of one value must be used by one goroutine at a time.
type codecs struct {
	catalog      Catalog
	modes        Modes
	ctx          context.Context  // of the plan that is being made
	at           record.Place     // place of the change whose table is being planned
	column       *pgoutput.Column // column being planned
	typed        bool             // values must fit their schema: arrays have one dimension, and elements of the element type
	placeholders placeholders

	numerics   numerics
	raw        rawBytes
	hstores    hstores
	geometries geometries
	vectors    vectors
	unescaped  []byte
}

func newCodecs(config *Config) codecs {
	return codecs{
		catalog:      config.Catalog,
		modes:        config.Modes,
		typed:        config.Framing != nil,
		placeholders: config.Modes.placeholders(),
		raw:          rawBytes{mode: config.Binary},
	}
}

// of returns the codec of a column as it was at a place in the WAL.
func (c *codecs) of(ctx context.Context, column *pgoutput.Column, at record.Place) (codec, error) {
	c.ctx, c.column, c.at = ctx, column, at
	return c.find(column.Type, column.TypeMod)
}

// find returns the codec of a column type, or of the base or element type of one.
func (c *codecs) find(oid uint32, typmod int32) (codec, error) {
	if name, ok := texts[oid]; ok {
		return c.text(oid, name), nil
	}
	if unknownTypes[oid] {
		return c.unknown(), nil
	}
	if element, ok := arrays[oid]; ok {
		return c.array(element, typmod, delimiterOf(element))
	}
	for _, family := range [...]func(uint32, int32) codec{c.number, c.binary, c.temporal, c.geometric} {
		if found := family(oid, typmod); found.append != nil {
			return found, nil
		}
	}
	return c.lookUp(oid, typmod)
}

// text returns a codec that publishes PostgreSQL's text as a JSON string.
func (c *codecs) text(oid uint32, name string) codec {
	found := codec{
		append: appendText, schema: schemaOf(record.String), zero: `""`,
		unavailable: c.placeholders.text, unavailableArray: c.placeholders.texts,
		defaults: defaultForms[oid], strictItems: oid == oidTSVector, short: shortTexts[oid],
	}
	if name != "" {
		found.schema = named(record.String, name)
	}
	if oid == oidChar {
		found.append = appendChar
	}
	if oid == oidUUID {
		found.unavailableArray = c.placeholders.uuids
	}
	return found
}

func appendText(dst, text []byte) ([]byte, bool) { return record.AppendJSONString(dst, text), true }

// unknown returns the codec of types that Debezium cannot represent.
func (c *codecs) unknown() codec {
	if c.modes.Unknown == UnknownBytes {
		found := c.bytes(c.raw.text)
		found.strictItems = true
		return found
	}
	found := c.text(0, "")
	found.omitted = c.modes.Unknown == UnknownOmit
	return found
}

func (c *codecs) number(oid uint32, typmod int32) codec {
	integer := func(bits int, t record.SchemaType, unavailableArray string) codec {
		return codec{append: appendInteger(bits), schema: schemaOf(t), zero: "0", unavailableArray: unavailableArray, defaults: defaultForms[oid]}
	}
	switch oid {
	case oidBool:
		return codec{append: appendBool, schema: schemaOf(record.Boolean), zero: "false", defaults: defaultForms[oid]}
	case oidInt2:
		return integer(16, record.Int16, "")
	case oidInt4:
		return integer(32, record.Int32, c.placeholders.codes)
	case oidInt8:
		return integer(64, record.Int64, c.placeholders.codes)
	case oidOID:
		return integer(64, record.Int64, "")
	case oidFloat4:
		return codec{append: appendFloat4, schema: schemaOf(record.Float), zero: "0.0", defaults: defaultForms[oid]}
	case oidFloat8:
		return codec{append: appendFloat8, schema: schemaOf(record.Double), zero: "0.0", defaults: defaultForms[oid]}
	case oidNumeric:
		return c.numeric(typmod)
	case oidMoney:
		return c.money()
	}
	return codec{}
}

// geometric returns the codec of a geometric type. Its zero value is a valid shape, the one that Debezium uses.
func (c *codecs) geometric(oid uint32, _ int32) codec {
	g := &c.geometries
	switch oid {
	case oidPoint:
		return codecOf(schemaPoint, g.point, "(0,0)")
	case oidLseg:
		return codecOf(schemaGeometry, g.lseg, "[(0,0),(1,0)]")
	case oidPath:
		return codecOf(schemaGeometry, g.path, "[(0,0),(1,0)]")
	case oidBox:
		return codecOf(schemaGeometry, g.box, "(0,0),(1,1)")
	case oidPolygon:
		return codecOf(schemaGeometry, g.polygon, "((0,0),(1,0),(0,1))")
	case oidLine:
		return codecOf(schemaLine, g.line, "{0,1,0}")
	case oidCircle:
		return codecOf(schemaCircle, g.circle, "<(0,0),0>")
	}
	return codec{}
}

// codecOf returns the codec of a schema; text is what a NOT NULL column gets if its value is not in the WAL.
func codecOf(schema record.Schema, append appendFunc, text string) codec {
	zero, _ := append(nil, []byte(text))
	return codec{append: append, schema: schema, zero: string(zero)}
}

func delimiterOf(element uint32) byte {
	if element == oidBox {
		return ';'
	}
	return ','
}

func (c *codecs) array(element uint32, typmod int32, delimiter byte) (codec, error) {
	item, err := c.item(element, typmod)
	if err != nil {
		return codec{}, err
	}
	a := &array{item.append, delimiter, &c.unescaped, c.typed, c.typed && item.strictItems}
	if !item.strictItems {
		item.schema.Optional = true
	}
	return codec{
		append: a.append, schema: arrayOf(item.schema), zero: "[]", omitted: item.omitted, lossy: item.lossy,
		unavailable: item.unavailableArray, detachable: item.unavailableArray == "",
	}, nil
}

// item returns the codec of the elements of an array. Debezium does not support arrays of domains, nor arrays of a few types that it supports
// otherwise.
func (c *codecs) item(oid uint32, typmod int32) (codec, error) {
	found, err := c.find(oid, typmod)
	if err != nil {
		return codec{}, err
	}
	t, known, err := c.catalogType(oid)
	if err != nil {
		return codec{}, err
	}
	if known && t.Kind == KindDomain && c.modes.Unknown != UnknownText {
		return c.unknown(), nil
	}
	if c.modes.Unknown == UnknownOmit && notInArrays[oid] {
		found.omitted = true
	}
	return found, nil
}

// firstUserOID is PostgreSQL's FirstNormalObjectId: built-in objects have smaller OIDs.
const firstUserOID = 16384

func (c *codecs) catalogType(oid uint32) (Type, bool, error) {
	if oid < firstUserOID {
		return Type{}, false, nil
	}
	return c.catalog.Type(c.ctx, oid, c.at)
}

// lookUp asks the catalog for a type that is not built in. For a type that no longer exists it falls back to the name in pgoutput.
func (c *codecs) lookUp(oid uint32, typmod int32) (codec, error) {
	t, ok, err := c.catalog.Type(c.ctx, oid, c.at)
	switch {
	case err != nil:
		return codec{}, err
	case !ok && c.column != nil && c.column.Type == oid:
		return c.named(c.column.TypeSchema, c.column.TypeName)
	case !ok:
		return c.text(0, ""), nil
	case t.Kind == KindDomain:
		found, err := c.find(t.Base, t.TypeMod)
		found.defaults = nil
		return found, err
	case t.Kind == KindEnum:
		return c.enum(t), nil
	case t.Element != 0:
		return c.array(t.Element, typmod, t.Delimiter)
	case t.Kind == KindBase:
		found, _ := c.extension(t.Name)
		return found, nil
	}
	return c.unknown(), nil
}

// named derives a codec from a type name: pgoutput names the base type of a domain, and the element type of an array with a leading _. Values of any
// other type become text.
func (c *codecs) named(schema, name string) (codec, error) {
	element, isArray := strings.CutPrefix(name, "_")
	if oid := builtins[element]; (schema == "" || schema == "pg_catalog") && oid != 0 { // pgoutput leaves out the name pg_catalog
		if isArray {
			return c.array(oid, -1, delimiterOf(oid))
		}
		return c.find(oid, -1)
	}
	if isArray {
		return c.array(oidText, -1, ',') // for instance the labels of an enum
	}
	if found, known := c.extension(name); known {
		return found, nil
	}
	return c.text(0, ""), nil
}

func (c *codecs) enum(t Type) codec {
	found := c.text(0, "")
	found.schema = named(record.String, "io.debezium.data.Enum", record.Parameter{Name: "allowed", Value: t.Labels})
	found.defaults, found.strictItems, found.short = enumDefault, true, true
	return found
}

// extension returns the codec of a type of an extension, which it recognizes by name, as Debezium does.
func (c *codecs) extension(name string) (found codec, known bool) {
	switch name {
	case "citext", "isbn":
		found = c.text(0, "")
		found.strictItems = name == "isbn"
		return found, true
	case "ltree":
		return c.text(0, "io.debezium.data.Ltree"), true
	case "hstore":
		return c.hstore(), true
	case "vector":
		return codec{append: c.vectors.double, schema: arrayNamed("io.debezium.data.DoubleVector", record.Double), zero: "[]", strictItems: true, detachable: true}, true
	case "halfvec":
		return codec{append: c.vectors.float, schema: arrayNamed("io.debezium.data.FloatVector", record.Float), zero: "[]", strictItems: true, detachable: true}, true
	case "sparsevec":
		return codec{append: c.vectors.sparse, schema: schemaSparseVector, zero: `{"dimensions":0,"vector":[]}`, strictItems: true, detachable: true}, true
	case "geometry":
		return codecOf(schemaGeometry, c.geometries.postgisGeometry, emptyEWKB), true
	case "geography":
		found = codecOf(schemaGeography, c.geometries.postgisGeography, emptyEWKB)
		found.detachable = true
		return found, true
	}
	return c.unknown(), false
}
