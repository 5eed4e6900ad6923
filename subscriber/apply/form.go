package apply

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"

	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/subscriber/decode"
)

// form says how the JSON of a column is converted to the text that its type's input function in PostgreSQL reads. It is determined by the type and
// the publisher's modes, as documented in package debezium.
type form struct {
	read        func(f *form, dst, json []byte) ([]byte, error)
	unit        int64 // units per second of times and timestamps
	scale       int   // of a decimal
	length      int   // of a bit string; 0: not known
	items       *form // of an array
	delimiter   byte  // between items, if this is the item type of an array
	list        bool  // even a single value is a JSON array
	placeholder debezium.Placeholders
}

// isUnavailable reports whether a value looks like the placeholder for one that is not in the WAL.
func (f *form) isUnavailable(json []byte) bool { return f.placeholder.Include(json) }

// forms chooses the form of each column according to the publisher's modes.
type forms struct {
	modes        debezium.Modes
	placeholders debezium.Placeholders
}

func newForms(modes debezium.Modes) *forms { return &forms{modes, modes.Placeholders()} }

// of returns the form of a type with a type modifier.
func (f *forms) of(t *pgType, typmod int32) *form {
	found := f.choose(t, typmod)
	found.delimiter = t.delimiter
	found.placeholder = f.placeholders
	return found
}

func (f *forms) choose(t *pgType, typmod int32) *form {
	switch {
	case t.base != nil:
		if t.typmod >= 0 {
			typmod = t.typmod
		}
		return f.of(t.base, typmod)
	case t.element != nil:
		return &form{read: readArray, items: f.of(t.element, typmod)}
	}
	switch t.name {
	case "bytea":
		return f.binary()
	case "bit", "varbit":
		if typmod == 1 {
			return &form{read: readBit}
		}
		length := 0
		if t.name == "bit" && typmod > 0 {
			length = int(typmod)
		}
		return &form{read: readBits, length: length}
	case "numeric":
		return f.numeric(typmod)
	case "money":
		return f.money()
	case "date", "time", "timestamp":
		return f.temporal(t.name, typmod)
	case "timestamptz":
		return &form{read: readZoned}
	case "interval":
		if f.modes.Intervals == debezium.IntervalNumeric {
			return &form{read: readDuration}
		}
	case "point":
		return &form{read: readPoint}
	case "line":
		return &form{read: readLine}
	case "circle":
		return &form{read: readCircle}
	case "lseg", "path", "box", "polygon":
		return &form{read: readGeometry}
	case "hstore":
		return &form{read: readHstore}
	case "geometry", "geography":
		return &form{read: readPostGIS}
	case "vector", "halfvec":
		return &form{read: readVector, list: true}
	case "sparsevec":
		return &form{read: readSparse}
	}
	return &form{read: readText}
}

func (f *forms) binary() *form {
	switch f.modes.Binary {
	case debezium.BinaryHex:
		return &form{read: readHex}
	case debezium.BinaryBase64URL:
		return &form{read: readBase64URL}
	}
	return &form{read: readBase64}
}

// numeric reads the scale from the type modifier, as packed by numeric.c.
func (f *forms) numeric(typmod int32) *form {
	if f.modes.Decimals != debezium.DecimalPrecise {
		return &form{read: readDecimalText}
	}
	if typmod < 0 {
		return &form{read: readVariable}
	}
	return &form{read: readDecimal, scale: int((typmod-4)&0x7FF^1024) - 1024}
}

func (f *forms) money() *form {
	if f.modes.Decimals != debezium.DecimalPrecise {
		return &form{read: readDecimalText}
	}
	digits := 2
	if n := f.modes.MoneyFractionDigits; n != nil {
		digits = *n
	}
	return &form{read: readDecimal, scale: digits}
}

func (f *forms) temporal(name string, typmod int32) *form {
	coarse := typmod >= 0 && typmod <= 3
	mode := f.modes.Times
	unit := int64(decode.Micro)
	switch {
	case mode == debezium.TimeISOString:
		switch name {
		case "date":
			return &form{read: readISODate}
		case "time":
			return &form{read: readText}
		}
		return &form{read: readISOTimestamp}
	case mode == debezium.TimeConnect:
		unit = decode.Milli
	case mode == debezium.TimeNanoseconds:
		unit = decode.Nano
	case coarse && (mode == debezium.TimeAdaptive || mode == debezium.TimeAdaptiveMicroseconds && name == "timestamp"):
		unit = decode.Milli
	}
	switch name {
	case "date":
		return &form{read: readDate}
	case "time":
		return &form{read: readTime, unit: unit}
	}
	return &form{read: readTimestamp, unit: unit}
}

// readText reads a string as its text, and any other JSON as it is written: a number, true, a document.
func readText(_ *form, dst, json []byte) ([]byte, error) {
	if json[0] == '"' {
		return decode.AppendUnquoted(dst, json)
	}
	return append(dst, json...), nil
}

// readArray writes an array literal; nested arrays are further dimensions.
func readArray(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '[' {
		return readText(f, dst, json)
	}
	s := decode.Scanner{Text: json, At: 1}
	dst = append(dst, '{')
	if s.Take(']') {
		return append(dst, '}'), nil
	}
	for {
		item, err := s.Value()
		if err != nil {
			return dst, err
		}
		if dst, err = f.appendArrayItem(dst, item); err != nil {
			return dst, err
		}
		if s.Take(']') {
			return append(dst, '}'), nil
		}
		if !s.Take(',') {
			return dst, decode.ErrJSON
		}
		dst = append(dst, f.items.delimiter)
	}
}

func (f *form) appendArrayItem(dst, item []byte) ([]byte, error) {
	switch {
	case string(item) == "null":
		return append(dst, "NULL"...), nil
	case item[0] == '[' && f.items.items == nil && !f.items.list:
		return readArray(f, dst, item)
	}
	start := len(dst)
	dst, err := f.items.read(f.items, dst, item)
	if err != nil {
		return dst, err
	}
	text := append([]byte(nil), dst[start:]...)
	dst = append(dst[:start], '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"'), nil
}

func readBase64(f *form, dst, json []byte) ([]byte, error) {
	return decodeBytes(base64.StdEncoding, dst, json)
}
func readBase64URL(f *form, dst, json []byte) ([]byte, error) {
	return decodeBytes(base64.URLEncoding, dst, json)
}

func decodeBytes(encoding *base64.Encoding, dst, json []byte) ([]byte, error) {
	raw, err := encoding.AppendDecode(nil, bytes.Trim(json, `"`))
	if err != nil {
		return dst, fmt.Errorf("bytes: %w: is --binary-handling-mode that of the publisher?", err)
	}
	return hex.AppendEncode(append(dst, '\\', 'x'), raw), nil
}

func readHex(_ *form, dst, json []byte) ([]byte, error) {
	return append(append(dst, '\\', 'x'), bytes.Trim(json, `"`)...), nil
}

func readBit(f *form, dst, json []byte) ([]byte, error) {
	switch string(json) {
	case "true":
		return append(dst, '1'), nil
	case "false":
		return append(dst, '0'), nil
	}
	return readText(f, dst, json)
}

// readBits reads little-endian bytes.
func readBits(f *form, dst, json []byte) ([]byte, error) {
	raw, err := base64.StdEncoding.AppendDecode(nil, bytes.Trim(json, `"`))
	if err != nil {
		return dst, fmt.Errorf("bits: %w", err)
	}
	length := f.length
	if length == 0 { // leading zeros before the first byte are not known
		length = 8 * len(raw)
	}
	for i := length - 1; i >= 0; i-- {
		bit := byte(0)
		if i/8 < len(raw) {
			bit = raw[i/8] >> (i % 8) & 1
		}
		dst = append(dst, '0'+bit)
	}
	return dst, nil
}

// readDecimalText reads the forms of the modes double and string.
func readDecimalText(f *form, dst, json []byte) ([]byte, error) {
	switch string(json) {
	case `"NAN"`:
		return append(dst, "NaN"...), nil
	case `"POSITIVE_INFINITY"`:
		return append(dst, "Infinity"...), nil
	case `"NEGATIVE_INFINITY"`:
		return append(dst, "-Infinity"...), nil
	}
	return readText(f, dst, json)
}

func readDecimal(f *form, dst, json []byte) ([]byte, error) {
	if string(json) == `"NaN"` { // not base64, which has at least four characters
		return append(dst, "NaN"...), nil
	}
	if json[0] != '"' {
		return append(dst, json...), nil
	}
	return appendDecimal(dst, json, f.scale)
}

func readVariable(f *form, dst, json []byte) ([]byte, error) {
	if json[0] != '{' {
		return readText(f, dst, json)
	}
	scale, err := strconv.Atoi(string(decode.Field(json, "scale")))
	if err != nil {
		return dst, fmt.Errorf("decimal: scale: %w", err)
	}
	return appendDecimal(dst, decode.Field(json, "value"), scale)
}

// appendDecimal reads the base64 of Kafka Connect's Decimal.
func appendDecimal(dst, json []byte, scale int) ([]byte, error) {
	var buffer [64]byte
	raw, err := base64.StdEncoding.AppendDecode(buffer[:0], bytes.Trim(json, `"`))
	if err != nil {
		return dst, fmt.Errorf("decimal: %w: is --decimal-handling-mode that of the publisher?", err)
	}
	return decode.AppendDecimal(dst, raw, scale)
}

// readDuration reads microseconds.
func readDuration(f *form, dst, json []byte) ([]byte, error) {
	if json[0] == '"' {
		return readText(f, dst, json)
	}
	n, err := strconv.ParseInt(string(json), 10, 64)
	switch {
	case err != nil:
		return dst, fmt.Errorf("interval: %w", err)
	case n == math.MaxInt64:
		return append(dst, "infinity"...), nil
	case n == math.MinInt64:
		return append(dst, "-infinity"...), nil
	}
	return append(append(dst, json...), " microseconds"...), nil
}
