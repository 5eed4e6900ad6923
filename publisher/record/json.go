package record

import (
	"encoding/base64"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a quoted JSON string. A byte that is not part of valid UTF-8 becomes a private-use character, U+F700 plus the byte,
// so the result is valid JSON for any input. <, > and & are not escaped.
func AppendJSONString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			size := runeLength(s, i)
			if size == 0 {
				dst = utf8.AppendRune(append(dst, s[from:i]...), 0xF700+rune(c))
				i++
				from = i
				continue
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = appendEscape(append(dst, s[from:i]...), c)
		i++
		from = i
	}
	return append(append(dst, s[from:]...), '"')
}

// runeLength returns the number of bytes of the character at s[i:], or 0 if they are not valid UTF-8.
func runeLength[T string | []byte](s T, i int) int {
	var head [utf8.UTFMax]byte
	n := copy(head[:], s[i:])
	r, size := utf8.DecodeRune(head[:n])
	if r == utf8.RuneError && size <= 1 {
		return 0
	}
	return size
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, `\n`...)
	case '\r':
		return append(dst, `\r`...)
	case '\t':
		return append(dst, `\t`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// AppendJSONBase64 appends raw as a JSON string of standard base64, as Debezium encodes bytes.
func AppendJSONBase64(dst, raw []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, raw)
	return append(dst, '"')
}

// AppendJSONTime appends t as a JSON string in UTC with microseconds: "2025-01-31T12:00:00.000000Z".
func AppendJSONTime(dst []byte, t time.Time) []byte {
	dst = append(dst, '"')
	dst = t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z07:00")
	return append(dst, '"')
}

// AppendHex16 appends v as 16 hexadecimal digits, without quotes.
func AppendHex16(dst []byte, v uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// Cut returns the first maxBytes bytes of text, or fewer if a character would be split.
func Cut(text []byte, maxBytes int) []byte {
	if len(text) <= maxBytes {
		return text
	}
	for maxBytes > 0 && !utf8.RuneStart(text[maxBytes]) {
		maxBytes--
	}
	return text[:maxBytes]
}
