package publisher

import (
	"fmt"
	"unicode/utf8"

	"github.com/pgtee/pgtee/parser"
)

// SQLText says how much of the SQL of a statement is published.
type SQLText uint8

const (
	Normalised SQLText = iota // literals replaced, credentials redacted
	Full                      // as the client sent it, credentials redacted
	Off                       // none: the fingerprint remains
)

// Longer texts are cut: every row of a statement carries its text.
const (
	maxRowTextBytes   = 4 << 10
	maxAuditTextBytes = 64 << 10
)

// ParseSQLText reads "normalised", "full" or "off".
func ParseSQLText(s string) (SQLText, error) {
	switch s {
	case "normalised":
		return Normalised, nil
	case "full":
		return Full, nil
	case "off":
		return Off, nil
	}
	return Off, fmt.Errorf("SQL text %q: want normalised, full or off", s)
}

// lexis is how SQL is read that comes without its session's settings.
var lexis = parser.Lexis{StandardConformingStrings: true}

// appendText appends what is published of sql. It never holds credentials.
func (n *notes) appendText(dst, sql []byte) []byte {
	if n.text == Off || len(sql) == 0 {
		return dst
	}
	if n.text == Full {
		return redact(dst, sql)
	}
	n.clean = redact(n.clean[:0], sql)
	return parser.Normalize(dst, n.clean, lexis)
}

// redact appends sql without its credentials.
func redact(dst, sql []byte) []byte {
	dst, _ = parser.Redact(dst, sql, lexis)
	return dst
}

// cut returns the first maxBytes of text, less if a character would be split.
func cut(text []byte, maxBytes int) []byte {
	if len(text) <= maxBytes {
		return text
	}
	for maxBytes > 0 && !utf8.RuneStart(text[maxBytes]) {
		maxBytes--
	}
	return text[:maxBytes]
}
