package avro

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// space skips white space (RFC 8259, section 2).
func (c *cursor) space() {
	for c.at < len(c.in) && (c.in[c.at] == ' ' || c.in[c.at] == '\n' || c.in[c.at] == '\t' || c.in[c.at] == '\r') {
		c.at++
	}
}

// skip skips token, and reports whether the cursor was at token.
func (c *cursor) skip(token string) bool {
	if len(c.in)-c.at < len(token) || string(c.in[c.at:c.at+len(token)]) != token {
		return false
	}
	c.at += len(token)
	return true
}

// next skips white space and then the byte b, and reports whether the cursor was at b.
func (c *cursor) next(b byte) bool {
	c.space()
	if c.at < len(c.in) && c.in[c.at] == b {
		c.at++
		return true
	}
	return false
}

// number skips a JSON number and returns it as a slice of the payload, "" if the cursor is not at a number (RFC 8259, section 6).
func (c *cursor) number() string {
	start := c.at
	c.skip("-")
	whole := c.digits()
	ok := whole == 1 || whole > 1 && c.in[c.at-whole] != '0'
	if ok && c.skip(".") {
		ok = c.digits() > 0
	}
	if ok && (c.skip("e") || c.skip("E")) {
		_ = c.skip("+") || c.skip("-")
		ok = c.digits() > 0
	}
	if !ok {
		c.at = start
	}
	number := c.in[start:c.at]
	return unsafe.String(unsafe.SliceData(number), len(number))
}

// digits skips digits and returns their number.
func (c *cursor) digits() int {
	start := c.at
	for c.at < len(c.in) && c.in[c.at] >= '0' && c.in[c.at] <= '9' {
		c.at++
	}
	return c.at - start
}

// quoted skips a string and returns the text between its quotes, as a slice of the payload. The text is valid UTF-8 without control characters; its
// escapes are not checked.
func (c *cursor) quoted() (raw []byte, escaped, ok bool) {
	if !c.skip(`"`) {
		return nil, false, false
	}
	for start := c.at; c.at < len(c.in); c.at++ {
		switch b := c.in[c.at]; {
		case b == '"':
			raw = c.in[start:c.at]
			c.at++
			return raw, escaped, utf8.Valid(raw)
		case b == '\\':
			escaped = true
			c.at++ // an escaped character never ends the string
		case b < ' ':
			return nil, false, false
		}
	}
	return nil, false, false
}

// unescape appends the value of the text between a string's quotes (RFC 8259, section 7). It fails on an unknown escape and on half a surrogate pair.
func unescape(dst, raw []byte) ([]byte, bool) {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...), true
		}
		dst = append(dst, raw[:i]...)
		r, n := escape(raw[i:])
		if n == 0 {
			return dst, false
		}
		dst = utf8.AppendRune(dst, r)
		raw = raw[i+n:]
	}
}

// escape decodes the escape at the start of raw. n is the length of the escape, 0 if there is none.
func escape(raw []byte) (r rune, n int) {
	if len(raw) < 2 {
		return 0, 0
	}
	if raw[1] == 'u' {
		return unicodeEscape(raw)
	}
	i := bytes.IndexByte([]byte(`"\/bfnrt`), raw[1])
	if i < 0 {
		return 0, 0
	}
	return rune("\"\\/\b\f\n\r\t"[i]), 2
}

func unicodeEscape(raw []byte) (r rune, n int) {
	unit, ok := codeUnit(raw)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(unit) {
		return unit, 6
	}
	low, ok := codeUnit(raw[6:])
	if r = utf16.DecodeRune(unit, low); !ok || r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// codeUnit reads \uXXXX.
func codeUnit(raw []byte) (rune, bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(raw[2:6]), 16, 16)
	return rune(unit), err == nil && raw[2] != '+' && raw[2] != '-'
}
