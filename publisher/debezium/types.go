package debezium

import (
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
)

// appendFunc appends the JSON of a value that PostgreSQL printed as text. It is false if the text is
// not what it expects, or has no form in the type that Debezium uses (NaN in a decimal); the bytes
// after len(dst) mean nothing then.
type appendFunc func(dst, text []byte) ([]byte, bool)

// codec is how the values of one type become JSON.
type codec struct {
	append appendFunc
	schema record.Schema // of a column that is NOT NULL, without default

	// zero is what Debezium writes for a NOT NULL column whose value is not in the log.
	zero string
	// unavailable is written for an unchanged TOAST value, unavailableArray for an unchanged array
	// of this type; "" is null, as Debezium has no sign for these types.
	unavailable      string
	unavailableArray string

	defaults    defaultForm // how Debezium reads the default of a column
	strictItems bool        // in Debezium's schema no element of an array of this type can be NULL
	omitted     bool        // no field in rows
}

// codecs chooses codecs and owns the buffers that they work in. The codecs of one codecs are used by
// one goroutine at a time.
type codecs struct {
	catalog      Catalog
	modes        Modes
	at           record.Place     // of the change whose table is planned
	column       *pgoutput.Column // that is planned
	typed        bool             // values must fit their schema: arrays have one dimension, elements the type
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

// of returns the codec of a column as it was at a place of the log.
func (c *codecs) of(column *pgoutput.Column, at record.Place) (codec, error) {
	c.column, c.at = column, at
	return c.find(column.Type, column.TypeMod)
}

// find returns the codec of a column type, or of a type that one is made of.
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
	return c.look(oid, typmod)
}

// text publishes PostgreSQL's text as a JSON string.
func (c *codecs) text(oid uint32, name string) codec {
	found := codec{
		append: appendText, schema: schemaOf(record.String), zero: `""`,
		unavailable: c.placeholders.text, unavailableArray: c.placeholders.texts,
		defaults: defaultForms[oid], strictItems: oid == oidTSVector,
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

// unknown is for types that Debezium has no form for.
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

// geometric has zeros that are valid shapes, the ones that Debezium uses.
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

// codecOf makes the codec of a schema; text is the value that NOT NULL columns without one have.
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
	return codec{append: a.append, schema: arrayOf(item.schema), zero: "[]", unavailable: item.unavailableArray, omitted: item.omitted}, nil
}

// item is the codec of the elements of an array. Debezium does not know arrays of domains, and has no
// form for arrays of a few types whose values it knows.
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

// firstUserOID is PostgreSQL's FirstNormalObjectId: what is built in has a smaller OID.
const firstUserOID = 16384

func (c *codecs) catalogType(oid uint32) (Type, bool, error) {
	if oid < firstUserOID {
		return Type{}, false, nil
	}
	return c.catalog.Type(oid, c.at)
}

// look asks the catalog about a type that is not built in. Of one that it no longer knows there is the name that the log has.
func (c *codecs) look(oid uint32, typmod int32) (codec, error) {
	t, ok, err := c.catalog.Type(oid, c.at)
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

// named makes the best of a name: of a domain the log names the base type, of an array its elements by a _ in front. What says nothing is text.
func (c *codecs) named(schema, name string) (codec, error) {
	element, isArray := strings.CutPrefix(name, "_")
	if oid := builtins[element]; (schema == "" || schema == "pg_catalog") && oid != 0 { // the log leaves the name of pg_catalog out
		if isArray {
			return c.array(oid, -1, delimiterOf(oid))
		}
		return c.find(oid, -1)
	}
	if isArray {
		return c.array(oidText, -1, ',') // such as of an enum's labels
	}
	if found, known := c.extension(name); known {
		return found, nil
	}
	return c.text(0, ""), nil
}

func (c *codecs) enum(t Type) codec {
	found := c.text(0, "")
	found.schema = named(record.String, "io.debezium.data.Enum", record.Parameter{Name: "allowed", Value: t.Labels})
	found.defaults, found.strictItems = enumDefault, true
	return found
}

// extension knows types of extensions by their names, as Debezium does; false: it does not.
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
		return codec{append: c.vectors.double, schema: arrayNamed("io.debezium.data.DoubleVector", record.Double), zero: "[]", strictItems: true}, true
	case "halfvec":
		return codec{append: c.vectors.float, schema: arrayNamed("io.debezium.data.FloatVector", record.Float), zero: "[]", strictItems: true}, true
	case "sparsevec":
		return codec{append: c.vectors.sparse, schema: schemaSparseVector, zero: `{"dimensions":0,"vector":[]}`, strictItems: true}, true
	case "geometry":
		return codecOf(schemaGeometry, c.geometries.postgisGeometry, emptyEWKB), true
	case "geography":
		return codecOf(schemaGeography, c.geometries.postgisGeography, emptyEWKB), true
	}
	return c.unknown(), false
}
