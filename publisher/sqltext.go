package publisher

import (
	"fmt"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// SQLText says how much of a statement's SQL is published.
type SQLText uint8

const (
	Normalised SQLText = iota // literals replaced, credentials redacted
	Full                      // as the client sent it, credentials redacted
	Off                       // no text: only the fingerprint remains
)

// maxAuditTextBytes is the longest text of an audit or DDL record; a longer text is cut. Rows use DefaultSQLTextBytes, since every row of a statement
// carries its text.
const maxAuditTextBytes = 64 << 10

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

// plain says how to read SQL whose session's settings are not known.
var plain = parser.Lexis{StandardConformingStrings: true}

// lexisOf returns the settings of the session that sent a note's SQL.
func lexisOf(flags note.Flags) parser.Lexis {
	return parser.Lexis{
		StandardConformingStrings: flags&note.FlagBackslash == 0,
		MultiByte:                 flags&note.FlagMultiByte != 0,
	}
}

// appendText appends the part of a note's SQL that is published. It never contains credentials.
func (n *notes) appendText(dst []byte, note *note.Note) []byte {
	if n.text == Off || len(note.SQL) == 0 {
		return dst
	}
	lexis := lexisOf(note.Flags)
	if n.text == Full {
		dst, _ = parser.Redact(dst, note.SQL, lexis)
		return dst
	}
	n.clean, _ = parser.Redact(n.clean[:0], note.SQL, lexis)
	return parser.Normalize(dst, n.clean, lexis)
}

// redact appends sql without its credentials.
func redact(dst, sql []byte) []byte {
	dst, _ = parser.Redact(dst, sql, plain)
	return dst
}
