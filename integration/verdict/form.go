package verdict

// Form says how a reader of a topic interprets the JSON of a column: by the name of its Connect schema, which Debezium's documentation gives for each
// PostgreSQL type.
type Form struct {
	name      string // "io.debezium.time.Date"; "": the JSON value as it is
	scale     int    // for a Decimal
	length    int    // for Bits; 0: unknown
	items     *Form  // for an array
	delimiter byte   // between its items, as PostgreSQL writes an array
}

// Names of forms: those of schemas, and short ones for forms that a reader knows from the catalog or the mode.
const (
	formBytes         = "bytes"
	formHstore        = "hstore"
	formArray         = "array"
	formBit           = "bit"          // of a single bit: its schema is boolean
	formHex           = "hex"          // with binary.handling.mode
	formDecimalText   = "decimal text" // with decimal.handling.mode=string
	formBits          = "io.debezium.data.Bits"
	formDecimal       = "org.apache.kafka.connect.data.Decimal"
	formVariable      = "io.debezium.data.VariableScaleDecimal"
	formDate          = "io.debezium.time.Date"
	formTime          = "io.debezium.time.Time"
	formMicroTime     = "io.debezium.time.MicroTime"
	formTimestamp     = "io.debezium.time.Timestamp"
	formMicroStamp    = "io.debezium.time.MicroTimestamp"
	formZonedStamp    = "io.debezium.time.ZonedTimestamp"
	formISODate       = "io.debezium.time.IsoDate"
	formISOStamp      = "io.debezium.time.IsoTimestamp"
	formMicroDuration = "io.debezium.time.MicroDuration"
	formPoint         = "io.debezium.data.geometry.Point"
	formLine          = "io.debezium.data.geometry.Line"
	formCircle        = "io.debezium.data.geometry.Circle"
	formGeometry      = "io.debezium.data.geometry.Geometry"
)

// FormOf returns the form of a type that is neither an array nor a domain, at the default settings. It has the name in pg_type; typmod is the type
// modifier, -1 if there is none.
func FormOf(name string, typmod int32) *Form {
	coarse := typmod >= 0 && typmod <= 3
	switch name {
	case "bytea":
		return &Form{name: formBytes}
	case "bit", "varbit":
		return bitForm(name, typmod)
	case "numeric":
		return numericForm(typmod)
	case "money":
		return &Form{name: formDecimal, scale: 2}
	case "date":
		return &Form{name: formDate}
	case "time":
		return choose(coarse, formTime, formMicroTime)
	case "timestamp":
		return choose(coarse, formTimestamp, formMicroStamp)
	case "timestamptz":
		return &Form{name: formZonedStamp}
	case "interval":
		return &Form{name: formMicroDuration}
	case "point":
		return &Form{name: formPoint}
	case "line":
		return &Form{name: formLine}
	case "circle":
		return &Form{name: formCircle}
	case "lseg", "path", "box", "polygon":
		return &Form{name: formGeometry}
	case "hstore":
		return &Form{name: formHstore}
	}
	return &Form{}
}

// ArrayOf returns the form of an array of items, which delimiter separates when PostgreSQL writes it.
func ArrayOf(items *Form, delimiter byte) *Form {
	return &Form{name: formArray, items: items, delimiter: delimiter}
}

func choose(coarse bool, millis, micros string) *Form {
	if coarse {
		return &Form{name: millis}
	}
	return &Form{name: micros}
}

// bitForm: one bit is a boolean, a bit string of fixed length has all of its bits.
func bitForm(name string, typmod int32) *Form {
	switch {
	case typmod == 1:
		return &Form{name: formBit}
	case name == "bit" && typmod > 0:
		return &Form{name: formBits, length: int(typmod)}
	}
	return &Form{name: formBits}
}

// numericForm extracts the scale from the modifier, as numeric.c packs it: 4 is the size of a header, the scale has 11 bits with a sign.
func numericForm(typmod int32) *Form {
	if typmod < 0 {
		return &Form{name: formVariable}
	}
	scale := int((typmod - 4) & 0x7ff)
	if scale >= 1024 {
		scale -= 2048
	}
	return &Form{name: formDecimal, scale: scale}
}

// AsText returns the form in the modes that write text instead of numbers: decimals, intervals and times as strings, bytes in hexadecimal, hstore as
// a map.
func (f *Form) AsText() *Form {
	switch f.name {
	case formArray:
		return &Form{name: formArray, items: f.items.AsText(), delimiter: f.delimiter}
	case formBytes:
		return &Form{name: formHex}
	case formDecimal, formVariable:
		return &Form{name: formDecimalText}
	case formDate:
		return &Form{name: formISODate}
	case formTimestamp, formMicroStamp:
		return &Form{name: formISOStamp}
	case formTime, formMicroTime, formMicroDuration:
		return &Form{}
	}
	return f
}
