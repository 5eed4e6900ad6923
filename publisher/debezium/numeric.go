package debezium

import (
	"encoding/base64"
	"math/bits"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/publisher/record"
)

// numerics encodes decimal text. It must be used by one goroutine at a time.
type numerics struct {
	limbs []uint64 // the unscaled number, least significant limb first
	bytes []byte   // the same number as big-endian two's complement
	plain []byte   // money without currency symbol and separators
}

// numeric returns the codec of numeric(p,s), or of numeric without a scale, whose values each have their own scale.
func (c *codecs) numeric(typmod int32) codec {
	precision, scale := numericPrecision(typmod)
	switch c.modes.Decimals {
	case DecimalDouble:
		found := codec{append: appendDecimalDouble, schema: schemaOf(record.Double), zero: "0.0", defaults: defaultForms[oidNumeric]}
		if typmod < 0 || precision > doubleDigits {
			found.lossy = exactDecimals
		}
		return found
	case DecimalString:
		return codec{
			append: decimalString(scale), schema: schemaOf(record.String), zero: zeroDecimal(scale),
			unavailable: c.placeholders.text, defaults: defaultForms[oidNumeric],
		}
	}
	if typmod < 0 {
		return codec{append: c.numerics.variable, schema: schemaVariableDecimal, zero: `{"scale":0,"value":"AA=="}`}
	}
	schema := named(record.Bytes, nameDecimal, parameter("scale", scale), parameter("connect.decimal.precision", precision))
	return codec{append: c.numerics.decimal(scale), schema: schema, zero: `"AA=="`, defaults: defaultForms[oidNumeric]}
}

// exactDecimals is how to avoid decimals that are rounded to doubles.
const exactDecimals = "use --decimal-handling-mode precise or string"

// numericPrecision reads the precision (16 bits) and the scale (11 bits, signed) from the typmod of numeric(p,s), which is offset by VARHDRSZ
// (numeric.c, numeric_typmod_scale). Without a typmod both are 0.
func numericPrecision(typmod int32) (precision, scale int) {
	if typmod < 0 {
		return 0, 0
	}
	return int((typmod - 4) >> 16 & 0xFFFF), int((typmod-4)&0x7FF^1024) - 1024
}

// zeroDecimal is 0 with scale digits after the decimal point, as a JSON string.
func zeroDecimal(scale int) string {
	if scale <= 0 {
		return `"0"`
	}
	return `"0.` + strings.Repeat("0", scale) + `"`
}

// appendDecimalDouble appends the nearest double. It refuses a number that is too large for a double.
func appendDecimalDouble(dst, text []byte) ([]byte, bool) { return appendFloat(dst, text, 64) }

// decimalString returns the encoder of decimal.handling.mode=string: PostgreSQL's digits with at least scale of them after the decimal point (an old
// default may have fewer), and Debezium's names for NaN and the infinities.
func decimalString(scale int) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		switch string(text) {
		case "NaN":
			return append(dst, `"NAN"`...), true
		case "Infinity":
			return append(dst, `"POSITIVE_INFINITY"`...), true
		case "-Infinity":
			return append(dst, `"NEGATIVE_INFINITY"`...), true
		}
		d, ok := parseDecimal(text)
		if !ok {
			return dst, false
		}
		dst = append(append(dst, '"'), text...)
		if missing := scale - len(d.fraction); missing > 0 {
			if len(d.fraction) == 0 {
				dst = append(dst, '.')
			}
			for range missing {
				dst = append(dst, '0')
			}
		}
		return append(dst, '"'), true
	}
}

// decimal returns the encoder of numeric(p, scale) for decimal.handling.mode=precise: base64 of value * 10^scale as big-endian two's complement
// (org.apache.kafka.connect.data.Decimal). A negative scale (PostgreSQL 15) divides.
func (n *numerics) decimal(scale int) appendFunc {
	return func(dst, text []byte) ([]byte, bool) {
		d, ok := parseDecimal(text)
		if !ok || !n.load(d, scale) {
			return dst, false
		}
		return n.appendBase64(dst, d.negative), true
	}
}

// variable encodes numeric without a scale as io.debezium.data.VariableScaleDecimal, {"scale":2,"value":"ew=="}, without trailing zeros after the
// decimal point.
func (n *numerics) variable(dst, text []byte) ([]byte, bool) {
	d, ok := parseDecimal(text)
	if !ok {
		return dst, false
	}
	for len(d.fraction) > 0 && d.fraction[len(d.fraction)-1] == '0' {
		d.fraction = d.fraction[:len(d.fraction)-1]
	}
	if !n.load(d, len(d.fraction)) {
		return dst, false
	}
	dst = append(dst, `{"scale":`...)
	dst = strconv.AppendInt(dst, int64(len(d.fraction)), 10)
	dst = append(dst, `,"value":`...)
	return append(n.appendBase64(dst, d.negative), '}'), true
}

// decimal is the text of a number, split into its parts.
type decimal struct {
	negative        bool
	whole, fraction []byte // digits
}

func parseDecimal(text []byte) (d decimal, ok bool) {
	if len(text) > 0 && text[0] == '-' {
		d.negative, text = true, text[1:]
	}
	d.whole = text[:digits(text)]
	text = text[len(d.whole):]
	if len(text) > 0 && text[0] == '.' {
		d.fraction = text[1 : 1+digits(text[1:])]
		text = text[1+len(d.fraction):]
	}
	return d, len(text) == 0 && len(d.whole) > 0
}

// digits returns the number of decimal digits at the start of text.
func digits(text []byte) int {
	for i, c := range text {
		if c < '0' || c > '9' {
			return i
		}
	}
	return len(text)
}

// load sets n.limbs to the absolute value of d * 10^scale. It returns false if that is not an integer.
func (n *numerics) load(d decimal, scale int) bool {
	n.limbs = n.limbs[:0]
	whole := d.whole
	if scale < 0 {
		cut := max(0, len(whole)+scale)
		if !zeros(whole[cut:]) || !zeros(d.fraction) {
			return false
		}
		n.multiplyAdd(whole[:cut])
		return true
	}
	kept := min(scale, len(d.fraction))
	if !zeros(d.fraction[kept:]) {
		return false
	}
	n.multiplyAdd(whole)
	n.multiplyAdd(d.fraction[:kept])
	n.shift(scale - kept)
	return true
}

func zeros(text []byte) bool {
	for _, c := range text {
		if c != '0' {
			return false
		}
	}
	return true
}

// chunkDigits is the number of decimal digits that fit into one limb.
const chunkDigits = 19

// multiplyAdd appends decimal digits to the number, as if they were written after its last digit.
func (n *numerics) multiplyAdd(text []byte) {
	for len(text) > 0 {
		size := min(len(text), chunkDigits)
		var chunk uint64
		for _, c := range text[:size] {
			chunk = chunk*10 + uint64(c-'0')
		}
		n.step(powersOfTen[size], chunk)
		text = text[size:]
	}
}

// shift multiplies the number by 10^digits.
func (n *numerics) shift(digits int) {
	for digits > 0 && len(n.limbs) > 0 {
		size := min(digits, chunkDigits)
		n.step(powersOfTen[size], 0)
		digits -= size
	}
}

// step sets the number to number*factor + carry.
func (n *numerics) step(factor, carry uint64) {
	for i, limb := range n.limbs {
		high, low := bits.Mul64(limb, factor)
		low, more := bits.Add64(low, carry, 0)
		n.limbs[i], carry = low, high+more
	}
	if carry > 0 {
		n.limbs = append(n.limbs, carry)
	}
}

var powersOfTen = func() (p [chunkDigits + 1]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

// appendBase64 appends the number as java.math.BigInteger.toByteArray does: big-endian two's complement in as few bytes as possible.
func (n *numerics) appendBase64(dst []byte, negative bool) []byte {
	raw := append(n.bytes[:0], 0)
	for i := len(n.limbs) - 1; i >= 0; i-- {
		for shift := 56; shift >= 0; shift -= 8 {
			raw = append(raw, byte(n.limbs[i]>>shift))
		}
	}
	n.bytes = raw
	if negative {
		negate(raw)
	}
	for len(raw) > 1 && (raw[0] == 0 && raw[1] < 0x80 || raw[0] == 0xFF && raw[1] >= 0x80) {
		raw = raw[1:]
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, raw)
	return append(dst, '"')
}

// negate replaces raw by its two's complement.
func negate(raw []byte) {
	carry := byte(1)
	for i := len(raw) - 1; i >= 0; i-- {
		raw[i] = ^raw[i] + carry
		if raw[i] != 0 {
			carry = 0
		}
	}
}
