package debezium

import (
	"bytes"
	"encoding/hex"

	"github.com/pgtee/pgtee/publisher"
)

// rawBytes encodes bytea and bit strings. It is used by one goroutine at a time.
type rawBytes struct{ raw []byte }

// bytea encodes as base64 (binary.handling.mode=bytes); text is of bytea_output hex or escape.
func (b *rawBytes) bytea(dst, text []byte) ([]byte, bool) {
	if !bytes.HasPrefix(text, []byte(`\x`)) {
		return b.escaped(dst, text)
	}
	raw, err := hex.AppendDecode(b.raw[:0], text[2:])
	b.raw = raw
	if err != nil {
		return dst, false
	}
	return publisher.AppendJSONBase64(dst, raw), true
}

// escaped reads bytea_output = escape: \\ and \ooo, everything else as it is.
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
	return publisher.AppendJSONBase64(dst, b.raw), true
}

func octal(c byte) bool { return c >= '0' && c <= '7' }

// bits encodes bit(n) and varbit as io.debezium.data.Bits: little-endian bytes, the last bit of the
// text lowest, without zero bytes at the end.
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
	return publisher.AppendJSONBase64(dst, bytes.TrimRight(b.raw, "\x00")), true
}

// appendBit encodes bit(1), a boolean.
func appendBit(dst, text []byte) ([]byte, bool) {
	switch string(text) {
	case "1":
		return append(dst, "true"...), true
	case "0":
		return append(dst, "false"...), true
	}
	return dst, false
}
