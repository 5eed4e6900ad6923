package debezium

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// appendExpanded appends a JSON object or array, given as text, without white space, unless keepNulls is set without fields that are null, and if
// dropEmpty is set without fields that are empty arrays. It returns false for any other text, which stays a string. Debezium derives a schema from the
// document, so it cannot expand arrays of mixed types; here they are kept.
func appendExpanded(dst, text []byte, keepNulls, dropEmpty bool) ([]byte, bool) {
	if len(text) == 0 || text[0] != '{' && text[0] != '[' || !utf8.Valid(text) || !json.Valid(text) {
		return dst, false
	}
	x := expander{text: text, keepNulls: keepNulls, dropEmpty: dropEmpty}
	return x.value(dst), true
}

// expander traverses JSON that is known to be valid.
type expander struct {
	text      []byte
	at        int
	keepNulls bool
	dropEmpty bool
}

// next skips white space and returns the next byte.
func (x *expander) next() byte {
	for {
		switch c := x.text[x.at]; c {
		case ' ', '\t', '\n', '\r':
			x.at++
		default:
			return c
		}
	}
}

func (x *expander) value(dst []byte) []byte {
	switch x.next() {
	case '{':
		return x.object(dst)
	case '[':
		return x.array(dst)
	case '"':
		return x.string(dst)
	}
	start := x.at
	for x.at < len(x.text) && !ends(x.text[x.at]) {
		x.at++
	}
	return appendExpandedNumber(dst, x.text[start:x.at])
}

// doubleDigits is the number of digits that any decimal number keeps as a double.
const doubleDigits = 15

// appendExpandedNumber appends a number, true, false or null. Debezium makes a double of a number with a fraction or an exponent; one that a double
// cannot hold stays as it is here.
func appendExpandedNumber(dst, text []byte) []byte {
	mantissa, _, _ := bytes.Cut(bytes.ToLower(text), []byte("e"))
	if text[0] >= 'a' || len(mantissa) == len(text) && bytes.IndexByte(text, '.') < 0 {
		return append(dst, text...)
	}
	significant := bytes.Trim(bytes.ReplaceAll(bytes.TrimPrefix(mantissa, []byte("-")), []byte("."), nil), "0")
	f, err := strconv.ParseFloat(string(text), 64)
	const smallestNormal = 0x1p-1022
	if err != nil || len(significant) > doubleDigits || math.Abs(f) < smallestNormal && len(significant) > 0 {
		return append(dst, text...)
	}
	return appendJavaFloat(dst, f, 64)
}

// ends reports whether c can follow a number, true, false or null.
func ends(c byte) bool {
	switch c {
	case ',', ']', '}', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

func (x *expander) object(dst []byte) []byte {
	dst = append(dst, '{')
	empty := true
	for x.at++; x.next() != '}'; {
		if x.text[x.at] == ',' {
			x.at++
			continue
		}
		before := len(dst)
		if !empty {
			dst = append(dst, ',')
		}
		dst = x.string(dst)
		x.next()
		x.at++ // colon
		if x.next() == 'n' && !x.keepNulls {
			x.at += len("null")
			dst = dst[:before]
			continue
		}
		start := len(dst) + 1
		dst = x.value(append(dst, ':'))
		if x.dropEmpty && string(dst[start:]) == "[]" {
			dst = dst[:before]
			continue
		}
		empty = false
	}
	x.at++
	return append(dst, '}')
}

func (x *expander) array(dst []byte) []byte {
	dst = append(dst, '[')
	for x.at++; x.next() != ']'; {
		if x.text[x.at] == ',' {
			dst = append(dst, ',')
			x.at++
			continue
		}
		dst = x.value(dst)
	}
	x.at++
	return append(dst, ']')
}

func (x *expander) string(dst []byte) []byte {
	start := x.at
	for x.at++; x.text[x.at] != '"'; x.at++ {
		if x.text[x.at] == '\\' {
			x.at++
		}
	}
	x.at++
	return append(dst, x.text[start:x.at]...)
}
