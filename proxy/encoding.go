package proxy

import (
	"bytes"
	"strings"
)

// encoding is the client's character encoding, as far as it is needed to count characters, and to cut a text between two of them. Names: "Character Set
// Support", PostgreSQL documentation 24.3; lengths as in PostgreSQL's wchar.c.
type encoding byte

// utf8Name is the server's name of UTF-8.
const utf8Name = "UTF8"

const (
	singleByte encoding = iota
	utf8
	euc   // EUC_KR, EUC_CN: a first byte above 0x7F starts two bytes
	eucJP // EUC_JP, EUC_JIS_2004: 0x8F starts three bytes
	eucTW // EUC_TW: 0x8E starts four bytes, 0x8F three
	sjis
	sjis2004 // SHIFT_JIS_2004: lengths as in SJIS
	big5     // BIG5, GBK, UHC
	gb18030  // two or four bytes
	johab    // lengths as in EUC_JP
)

func encodingOf(name string) encoding {
	switch strings.ToUpper(name) {
	case utf8Name, "UNICODE":
		return utf8
	case "EUC_KR", "EUC_CN":
		return euc
	case "EUC_JP", "EUC_JIS_2004":
		return eucJP
	case "EUC_TW":
		return eucTW
	case "SJIS", "MSKANJI", "SHIFTJIS":
		return sjis
	case "SHIFT_JIS_2004":
		return sjis2004
	case "BIG5", "GBK", "UHC":
		return big5
	case "GB18030":
		return gb18030
	case "JOHAB":
		return johab
	}
	return singleByte
}

// unsafe reports whether the second or a later byte of a character may look like ASCII.
func (e encoding) unsafe() bool { return e >= sjis }

// lexable returns text, or a copy of it in which every later byte of a character has its high bit set, so that none looks like ASCII. PostgreSQL's lexer
// sees no such bytes either, because the text is converted first. Offsets do not change. In SHIFT_JIS_2004 two characters are converted to a backslash and
// to ~, which mean something to the lexer: they become zero bytes, so that the text is unreadable.
func (e encoding) lexable(text []byte) []byte {
	if !e.unsafe() {
		return text
	}
	text = bytes.Clone(text)
	for rest := text; len(rest) > 0; {
		n := e.size(rest)
		for i := 1; i < n; i++ {
			rest[i] |= 0x80
		}
		if e == sjis2004 && n == 2 && rest[0] == 0x81 && (rest[1] == 0x5F|0x80 || rest[1] == 0xB0) {
			clear(rest[:n])
		}
		rest = rest[n:]
	}
	return text
}

// lexableAnywhere returns a copy of text in which every byte that may be the second of a character, in some encoding, has its high bit set: a letter, a
// digit, or one of @ [ \ ] ^ _ ` { | } ~ behind a byte that is not ASCII.
func lexableAnywhere(text []byte) []byte {
	masked := bytes.Clone(text)
	for i := 1; i < len(text); i++ {
		if c := text[i]; text[i-1] >= 0x80 && (c >= '0' && c <= '9' || c >= '@' && c <= '~') {
			masked[i] |= 0x80
		}
	}
	return masked
}

// lexable2004 returns a copy of such a text in which the two bytes that are a backslash in SHIFT_JIS_2004, or ~, end in that.
func lexable2004(masked []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(masked, []byte("\x81\xdf"), []byte("\x81\\")), []byte("\x81\xb0"), []byte("\x81~"))
}

// size returns the length in bytes of the first character of text, which must not be empty.
func (e encoding) size(text []byte) int {
	n, c := 1, text[0]
	switch {
	case c < 0x80 || e == singleByte:
	case e == utf8:
		n = utf8Size(c)
	case (e == sjis || e == sjis2004) && c >= 0xA1 && c <= 0xDF: // half-width kana
	case (e == eucJP || e == johab || e == eucTW) && c == 0x8F:
		n = 3
	case e == eucTW && c == 0x8E:
		n = 4
	case e == gb18030 && len(text) > 1 && text[1] >= '0' && text[1] <= '9':
		n = 4
	default:
		n = 2
	}
	return min(n, len(text))
}

func utf8Size(first byte) int {
	switch {
	case first&0xE0 == 0xC0:
		return 2
	case first&0xF0 == 0xE0:
		return 3
	case first&0xF8 == 0xF0:
		return 4
	}
	return 1
}

// count returns the number of characters in text.
func (e encoding) count(text []byte) (n int) {
	if e == singleByte {
		return len(text)
	}
	for ; len(text) > 0; n++ {
		text = text[e.size(text):]
	}
	return n
}

// cut returns as many whole characters of text as fit into limit bytes.
func (e encoding) cut(text []byte, limit int) []byte {
	if len(text) <= limit {
		return text
	}
	n := 0
	for n < limit {
		size := e.size(text[n:])
		if n+size > limit {
			break
		}
		n += size
	}
	return text[:n]
}
