package debezium

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math"

	"github.com/pgtee/pgtee/publisher/record"
)

// rawBytes encodes bytea and bit strings. It must be used by one goroutine at a time.
type rawBytes struct {
	mode BinaryMode
	raw  []byte
}

// binary returns the codec of bytea or of a bit string type.
func (c *codecs) binary(oid uint32, typmod int32) codec {
	switch oid {
	case oidBytea:
		return c.bytes(c.raw.bytea)
	case oidBit, oidVarbit:
		found := c.bits(typmod, defaultForms[oid])
		if oid == oidVarbit || typmod < 0 {
			found.lossy = "use the type bit(n)"
		}
		return found
	}
	return codec{}
}

// bytes returns the codec of a type that append encodes as bytes.
func (c *codecs) bytes(append appendFunc) codec {
	found := codec{append: append, schema: schemaOf(c.modes.Binary.schemaType()), zero: `""`, unavailable: c.placeholders.bytes}
	found.unavailableArray = c.placeholders.byteses
	return found
}

// maxInlineBits is the length of a bit string that PostgreSQL never stores out of line, since it is no longer than a TOAST pointer
// (toast_tuple_find_biggest_attribute).
const maxInlineBits = 128

func (c *codecs) bits(typmod int32, defaults defaultForm) codec {
	if typmod == 1 {
		return codec{append: appendBit, schema: schemaOf(record.Boolean), zero: "false", defaults: defaults}
	}
	length := int(typmod)
	if typmod < 0 {
		length = math.MaxInt32
	}
	schema := named(record.Bytes, "io.debezium.data.Bits", parameter("length", length))
	return codec{append: c.raw.bits, schema: schema, zero: `""`, defaults: defaults, detachable: length > maxInlineBits}
}

// schemaType is the schema type that binary.handling.mode gives to bytes.
func (m BinaryMode) schemaType() record.SchemaType {
	if m == BinaryBytes {
		return record.Bytes
	}
	return record.String
}

// append appends raw as a JSON string in the form set by binary.handling.mode.
func (m BinaryMode) append(dst, raw []byte) []byte {
	switch m {
	case BinaryHex:
		dst = hex.AppendEncode(append(dst, '"'), raw)
	case BinaryBase64URL:
		dst = base64.URLEncoding.AppendEncode(append(dst, '"'), raw)
	default:
		return record.AppendJSONBase64(dst, raw)
	}
	return append(dst, '"')
}

// text encodes any text as the bytes it consists of.
func (b *rawBytes) text(dst, text []byte) ([]byte, bool) { return b.mode.append(dst, text), true }

// bytea encodes text printed with bytea_output hex or escape.
func (b *rawBytes) bytea(dst, text []byte) ([]byte, bool) {
	if !bytes.HasPrefix(text, []byte(`\x`)) {
		return b.escaped(dst, text)
	}
	raw, err := hex.AppendDecode(b.raw[:0], text[2:])
	b.raw = raw
	if err != nil {
		return dst, false
	}
	return b.mode.append(dst, raw), true
}

// escaped decodes bytea_output = escape: \\ and \ooo are escapes, every other byte stands for itself.
func (b *rawBytes) escaped(dst, text []byte) ([]byte, bool) {
	b.raw = b.raw[:0]
	for len(text) > 0 {
		switch {
		case text[0] != '\\':
			b.raw = append(b.raw, text[0])
			text = text[1:]
		case len(text) > 1 && text[1] == '\\':
			b.raw = append(b.raw, '\\')
			text = text[2:]
		case len(text) > 3 && octal(text[1]) && text[1] < '4' && octal(text[2]) && octal(text[3]):
			b.raw = append(b.raw, (text[1]-'0')<<6|(text[2]-'0')<<3|(text[3]-'0'))
			text = text[4:]
		default:
			return dst, false
		}
	}
	return b.mode.append(dst, b.raw), true
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// bits encodes bit(n) and varbit as io.debezium.data.Bits: little-endian bytes, the last bit of the text being the least significant, without
// trailing zero bytes.
func (b *rawBytes) bits(dst, text []byte) ([]byte, bool) {
	b.raw = b.raw[:0]
	for i := range text {
		if i%8 == 0 {
			b.raw = append(b.raw, 0)
		}
		switch text[len(text)-1-i] {
		case '1':
			b.raw[i/8] |= 1 << (i % 8)
		case '0':
		default:
			return dst, false
		}
	}
	return record.AppendJSONBase64(dst, bytes.TrimRight(b.raw, "\x00")), true
}

// appendBit encodes bit(1) as a boolean.
func appendBit(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "1":
		return append(dst, "true"...), true
	case "0":
		return append(dst, "false"...), true
	}
	return dst, false
}
