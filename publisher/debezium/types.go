package debezium

import (
	"github.com/pgtee/pgtee/publisher"
)

// appendFunc appends the JSON of a value that PostgreSQL printed as text. It is false if the text is
// not what it expects, or has no form in the type that Debezium uses (NaN in a decimal); the bytes
// after len(dst) mean nothing then, and the value is published as a JSON string of its text.
type appendFunc func(dst, text []byte) ([]byte, bool)

// codec is how the values of one type become JSON.
type codec struct {
	append appendFunc

	// zero is what Debezium writes for a NOT NULL column whose value is not in the log.
	zero string
	// unavailable is written for an unchanged TOAST value, unavailableArray for an unchanged array
	// of this type; "" is null, as Debezium has no sign for these types.
	unavailable      string
	unavailableArray string

	schema *publisher.Schema // of a value that is not null; nil: a string
}

// Debezium's unavailable.value.placeholder as text, bytes, UTF-8 codes and name-based UUID.
const (
	placeholder      = "__debezium_unavailable_value"
	placeholderText  = `"` + placeholder + `"`
	placeholderBytes = `"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="`
	placeholderCodes = "[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]"
	placeholderUUID  = `["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]`
	placeholderPair  = `"{\"` + placeholder + `\":\"` + placeholder + `\"}"`
)

// OIDs of built-in types, from PostgreSQL's pg_type.dat.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidOID         = 26
	oidPoint       = 600
	oidLseg        = 601
	oidPath        = 602
	oidBox         = 603
	oidPolygon     = 604
	oidLine        = 628
	oidFloat4      = 700
	oidFloat8      = 701
	oidCircle      = 718
	oidMoney       = 790
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestampTZ = 1184
	oidInterval    = 1186
	oidTimeTZ      = 1266
	oidBit         = 1560
	oidVarbit      = 1562
	oidNumeric     = 1700
	oidUUID        = 2950
)

// plain are built-in types that are published as their text: Debezium's string types, and types that
// it leaves out of its records.
var plain = map[uint32]bool{
	18: true, 19: true, 25: true, 1042: true, 1043: true, // "char", name, text, bpchar, varchar
	114: true, 142: true, 3802: true, 4072: true, // json, xml, jsonb, jsonpath
	650: true, 774: true, 829: true, 869: true, // cidr, macaddr8, macaddr, inet
	3614: true, 3615: true, // tsvector, tsquery
	3904: true, 3906: true, 3908: true, 3910: true, 3912: true, 3926: true, // ranges
	4451: true, 4532: true, 4533: true, 4534: true, 4535: true, 4536: true, // multiranges
	22: true, 24: true, 27: true, 28: true, 29: true, 30: true, // int2vector, regproc, tid, xid, cid, oidvector
	2202: true, 2205: true, 2206: true, 4089: true, 4096: true, // regprocedure, regclass, regtype, regnamespace, regrole
	2970: true, 3220: true, 5038: true, 5069: true, // txid_snapshot, pg_lsn, pg_snapshot, xid8
}

// arrays maps built-in array types to the types of their elements.
var arrays = map[uint32]uint32{
	1000: oidBool, 1001: oidBytea, 1005: oidInt2, 1007: oidInt4, 1016: oidInt8, 1028: oidOID,
	1002: 18, 1003: 19, 1009: 25, 1014: 1042, 1015: 1043,
	1021: oidFloat4, 1022: oidFloat8, 1231: oidNumeric, 791: oidMoney,
	1182: oidDate, 1183: oidTime, 1270: oidTimeTZ, 1115: oidTimestamp, 1185: oidTimestampTZ, 1187: oidInterval,
	199: 114, 3807: 3802, 4073: 4072, 143: 142, 2951: oidUUID, 1561: oidBit, 1563: oidVarbit,
	651: 650, 775: 774, 1040: 829, 1041: 869, 3643: 3614, 3645: 3615,
	1017: oidPoint, 1018: oidLseg, 1019: oidPath, 1020: oidBox, 1027: oidPolygon, 629: oidLine, 719: oidCircle,
	3905: 3904, 3907: 3906, 3909: 3908, 3911: 3910, 3913: 3912, 3927: 3926,
	6150: 4451, 6151: 4532, 6152: 4533, 6153: 4534, 6155: 4535, 6157: 4536,
	1011: 28, 271: 5069, 3221: 3220, 2210: 2205, 2211: 2206,
}

// codecs chooses codecs and owns the buffers that they work in. The codecs of one codecs are used by
// one goroutine at a time.
type codecs struct {
	catalog    Catalog
	numerics   numerics
	raw        rawBytes
	hstores    hstores
	geometries geometries
	unescaped  []byte
}

// find returns the codec of a column type, or of a type that one is made of.
func (c *codecs) find(oid uint32, typmod int32) (codec, error) {
	if plain[oid] {
		return text, nil
	}
	if element, ok := arrays[oid]; ok {
		return c.array(element, typmod, delimiterOf(element))
	}
	if found := c.number(oid, typmod); found.append != nil {
		return found, nil
	}
	if found := c.builtin(oid, typmod); found.append != nil {
		return found, nil
	}
	return c.look(oid, typmod)
}

// text publishes PostgreSQL's text as a JSON string.
var text = codec{append: appendText, zero: `""`, unavailable: placeholderText, unavailableArray: "[" + placeholderText + "]"}

func appendText(dst, text []byte) ([]byte, bool) { return publisher.AppendJSONString(dst, text), true }

func (c *codecs) number(oid uint32, typmod int32) codec {
	switch oid {
	case oidInt2, oidOID:
		return codec{append: appendInteger, zero: "0"}
	case oidInt4, oidInt8:
		return codec{append: appendInteger, zero: "0", unavailableArray: placeholderCodes}
	case oidFloat4:
		return codec{append: appendFloat4, zero: "0.0"}
	case oidFloat8:
		return codec{append: appendFloat8, zero: "0.0"}
	case oidNumeric:
		if typmod < 0 {
			return codec{append: c.numerics.variable, zero: `{"scale":0,"value":"AA=="}`}
		}
		return codec{append: c.numerics.decimal(numericScale(typmod)), zero: `"AA=="`}
	case oidMoney:
		return codec{append: c.numerics.money, zero: `"AA=="`}
	}
	return codec{}
}

// numericScale reads the scale in the typmod of numeric(p,s): 11 bits with a sign, after VARHDRSZ
// (numeric.c, numeric_typmod_scale).
func numericScale(typmod int32) int { return int((typmod-4)&0x7FF^1024) - 1024 }

func (c *codecs) builtin(oid uint32, typmod int32) codec {
	switch oid {
	case oidBool:
		return codec{append: appendBool, zero: "false"}
	case oidBytea:
		return codec{append: c.raw.bytea, zero: `""`, unavailable: placeholderBytes}
	case oidBit, oidVarbit:
		if typmod == 1 {
			return codec{append: appendBit, zero: "false"}
		}
		return codec{append: c.raw.bits, zero: `""`}
	case oidUUID:
		return codec{append: appendText, zero: `""`, unavailable: placeholderText, unavailableArray: placeholderUUID}
	case oidDate:
		return codec{append: appendDate, zero: "0"}
	case oidTime:
		return codec{append: timeOfDay(typmod), zero: "0"}
	case oidTimeTZ:
		return codec{append: appendTimeZone, zero: `"00:00:00Z"`}
	case oidTimestamp:
		return codec{append: timestamp(typmod), zero: "0"}
	case oidTimestampTZ:
		return codec{append: timestampZone(typmod), zero: `"1970-01-01T00:00:00Z"`}
	case oidInterval:
		return codec{append: appendInterval, zero: "0"}
	}
	return c.geometry(oid)
}

// geometry has zeros that are valid shapes, the ones that Debezium uses.
func (c *codecs) geometry(oid uint32) codec {
	g := &c.geometries
	switch oid {
	case oidPoint:
		return withZero(g.point, "(0,0)")
	case oidLseg:
		return withZero(g.lseg, "[(0,0),(1,0)]")
	case oidPath:
		return withZero(g.path, "[(0,0),(1,0)]")
	case oidBox:
		return withZero(g.box, "(0,0),(1,1)")
	case oidPolygon:
		return withZero(g.polygon, "((0,0),(1,0),(0,1))")
	case oidLine:
		return withZero(g.line, "{0,1,0}")
	case oidCircle:
		return withZero(g.circle, "<(0,0),0>")
	}
	return codec{}
}

func withZero(append appendFunc, text string) codec {
	zero, _ := append(nil, []byte(text))
	return codec{append: append, zero: string(zero)}
}

func delimiterOf(element uint32) byte {
	if element == oidBox {
		return ';'
	}
	return ','
}

func (c *codecs) array(element uint32, typmod int32, delimiter byte) (codec, error) {
	item, err := c.find(element, typmod)
	if err != nil {
		return codec{}, err
	}
	a := &array{item.append, delimiter, &c.unescaped}
	return codec{append: a.append, zero: "[]", unavailable: item.unavailableArray}, nil
}

// look asks the catalog about a type that is not built in. What Debezium leaves out (composite types)
// and what the catalog no longer knows is published as text.
func (c *codecs) look(oid uint32, typmod int32) (codec, error) {
	t, ok, err := c.catalog.Type(oid)
	switch {
	case err != nil:
		return codec{}, err
	case !ok:
		return text, nil
	case t.Kind == KindDomain:
		return c.find(t.Base, t.TypeMod)
	case t.Element != 0:
		return c.array(t.Element, typmod, t.Delimiter)
	case t.Kind == KindBase && t.Name == "hstore":
		return codec{append: c.hstores.append, zero: `"{}"`, unavailable: placeholderPair}, nil
	}
	return text, nil
}
