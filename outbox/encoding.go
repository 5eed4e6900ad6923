package outbox

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/text/encoding/charmap"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Encoding converts the text of a database to UTF-8, which all callers of this package use. nil means that the server already sends UTF-8, or that the
// encoding has not been declared.
//
// Different texts stay different. A byte that is not a character becomes a lone surrogate, 0xDC00 plus the byte (as in PEP 383), so that the result
// is not UTF-8 and the record is refused. If the operator has declared the encoding, the byte becomes a private use character instead, 0xF700 plus
// the byte, as in the encoding x-user-defined (WHATWG Encoding Standard, section 14.5).
type Encoding struct {
	runes    *[128]rune    // characters of the bytes from 0x80 on, utf8.RuneError for none; nil: the text is UTF-8
	bytes    map[rune]byte // the reverse mapping
	declared bool          // by --source-encoding
	ascii    bool          // the server reports SQL_ASCII, so text from its functions is not UTF-8 either
}

// ErrSourceEncoding means that --source-encoding does not fit the database.
var ErrSourceEncoding = errors.New("--source-encoding does not fit the database")

const (
	utf8Name  = "UTF8"
	asciiName = "SQL_ASCII"

	privateUse = 0xF700 // private use character for byte 0; used from 0xF780 on
)

// charmaps has PostgreSQL's single-byte encodings ("Character Set Support" in its documentation).
var charmaps = map[string]*charmap.Charmap{
	"LATIN1": charmap.ISO8859_1, "LATIN2": charmap.ISO8859_2, "LATIN3": charmap.ISO8859_3, "LATIN4": charmap.ISO8859_4,
	"LATIN5": charmap.ISO8859_9, "LATIN6": charmap.ISO8859_10, "LATIN7": charmap.ISO8859_13, "LATIN8": charmap.ISO8859_14,
	"LATIN9": charmap.ISO8859_15, "LATIN10": charmap.ISO8859_16,
	"ISO_8859_5": charmap.ISO8859_5, "ISO_8859_6": charmap.ISO8859_6, "ISO_8859_7": charmap.ISO8859_7, "ISO_8859_8": charmap.ISO8859_8,
	"WIN866": charmap.CodePage866, "WIN874": charmap.Windows874, "WIN1250": charmap.Windows1250, "WIN1251": charmap.Windows1251,
	"WIN1252": charmap.Windows1252, "WIN1253": charmap.Windows1253, "WIN1254": charmap.Windows1254, "WIN1255": charmap.Windows1255,
	"WIN1256": charmap.Windows1256, "WIN1257": charmap.Windows1257, "WIN1258": charmap.Windows1258,
	"KOI8R": charmap.KOI8R, "KOI8U": charmap.KOI8U,
}

// exceptions has the characters for which PostgreSQL differs from charmaps.
var exceptions = map[string]map[byte]rune{"KOI8U": {0xAE: '╝', 0xBE: '╬'}, "WIN1255": {0xCA: utf8.RuneError}}

// SourceEncodings returns the names of the single-byte encodings.
func SourceEncodings() []string { return slices.Sorted(maps.Keys(charmaps)) }

// ServerEncoding returns the encoding of a database with this server_encoding, if no other encoding is declared.
func ServerEncoding(name string) *Encoding {
	e, _, _ := chooseEncoding(name, "")
	return e
}

// CheckSourceEncoding returns an error unless name can be declared. An empty name is allowed.
func CheckSourceEncoding(name string) error {
	if name == "" || name == utf8Name || charmaps[name] != nil {
		return nil
	}
	return fmt.Errorf("--source-encoding %q: want %s, or a single-byte encoding: %s", name, utf8Name, strings.Join(SourceEncodings(), ", "))
}

// chooseEncoding returns the encoding of a database from its server_encoding and the declared one. raw reports whether the server must send text
// unconverted.
func chooseEncoding(server, declared string) (e *Encoding, raw bool, err error) {
	if err := CheckSourceEncoding(declared); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrSourceEncoding, err)
	}
	single := charmaps[server] != nil
	switch {
	case server == "" && declared == "": // a pooler hides server_encoding
		return nil, false, nil
	case server != asciiName && !single && declared != "" && declared != server:
		return nil, false, fmt.Errorf("%w: PostgreSQL ensures that the text is valid %s: start without --source-encoding %s", ErrSourceEncoding, server, declared)
	case declared != "":
		return newEncoding(declared, true, server == asciiName), true, nil
	case single:
		return newEncoding(server, false, false), true, nil
	}
	return nil, server == asciiName, nil
}

func newEncoding(name string, declared, ascii bool) *Encoding {
	e := &Encoding{declared: declared, ascii: ascii}
	if name == utf8Name {
		return e
	}
	e.runes, e.bytes = &[128]rune{}, map[rune]byte{}
	for i := range e.runes {
		b := byte(0x80 + i)
		r := charmaps[name].DecodeByte(b)
		if control := b < 0xA0; control && strings.HasPrefix(name, "WIN") && r == rune(b) { // WHATWG defines the positions that Microsoft leaves undefined
			r = utf8.RuneError
		} else if control && r == utf8.RuneError && (strings.HasPrefix(name, "LATIN") || strings.HasPrefix(name, "ISO")) { // as in ISO 8859
			r = rune(b)
		}
		if other, known := exceptions[name][b]; known {
			r = other
		}
		if r == utf8.RuneError && declared {
			r = privateUse + rune(b)
		}
		e.runes[i] = r
		if r != utf8.RuneError {
			e.bytes[r] = b
		}
	}
	return e
}

// TakeText makes a connection send text in the form that the returned Encoding expects: unconverted, except from a multi-byte encoding, which the
// server converts. The connection must have been opened with client_encoding UTF8. Queries sent over it must be passed through Original. On failure
// TakeText closes the connection.
func TakeText(ctx context.Context, conn *pgconn.PgConn, declared string) (*Encoding, error) {
	server := conn.ParameterStatus("server_encoding")
	e, raw, err := chooseEncoding(server, declared)
	if err == nil && raw {
		_, err = simpleQuery(ctx, conn, "SET client_encoding = "+quoteLiteral(server))
	}
	if err != nil {
		conn.Close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("receive text unconverted: %w", err)
	}
	return e, nil
}

// Append appends text converted to UTF-8.
func (e *Encoding) Append(dst, text []byte) []byte {
	switch {
	case e == nil:
		return append(dst, text...)
	case e.runes == nil:
		return appendReadable(dst, text, true)
	}
	from := 0
	for i, c := range text {
		if c < utf8.RuneSelf {
			continue
		}
		dst = append(dst, text[from:i]...)
		if r := e.runes[c-utf8.RuneSelf]; r != utf8.RuneError {
			dst = utf8.AppendRune(dst, r)
		} else {
			dst = append(dst, 0xED, 0xB0|c>>6, 0x80|c&0x3F) // the surrogate, encoded like any other character
		}
		from = i + 1
	}
	return append(dst, text[from:]...)
}

// String returns text converted to UTF-8.
func (e *Encoding) String(text string) string {
	if e == nil || isASCII(text) {
		return text
	}
	return string(e.Append(nil, []byte(text)))
}

// names converts the names of a table to UTF-8.
func (e *Encoding) names(r *pgoutput.Relation) {
	if e == nil {
		return
	}
	r.Schema, r.Name = e.String(r.Schema), e.String(r.Name)
	for i := range r.Columns {
		r.Columns[i].Name = e.String(r.Columns[i].Name)
	}
}

// tuple appends a tuple with its text converted to UTF-8.
func (e *Encoding) tuple(dst []byte, tuple pgoutput.Tuple) pgoutput.Tuple {
	dst = binary.BigEndian.AppendUint16(dst, uint16(tuple.Len()))
	for c := tuple.Columns(); c.Next(); {
		dst = append(dst, c.Kind())
		if c.Value() == nil {
			continue
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(c.Value())))
		if c.Kind() != pgoutput.Text {
			dst = append(dst, c.Value()...)
			continue
		}
		start := len(dst)
		dst = e.Append(dst, c.Value())
		binary.BigEndian.PutUint32(dst[start-4:], uint32(len(dst)-start))
	}
	return dst
}

// Original reverses Append.
func (e *Encoding) Original(text string) string {
	if e == nil || isASCII(text) {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		original, known := e.bytes[r]
		switch {
		case known:
			b.WriteByte(original)
		case e.declared && isPrivate(r):
			b.WriteByte(byte(r - privateUse))
		case surrogate(text[i:]) != 0 && e.runes != nil:
			b.WriteByte(surrogate(text[i:]))
			size = 3
		default:
			b.WriteString(text[i : i+size])
		}
		i += size
	}
	return b.String()
}

// readable converts text sent by a client, possibly in another encoding than the database's, to UTF-8 as far as possible. The text is only for human
// readers, so it is never an error: bytes that are not characters become private use characters.
func (e *Encoding) readable(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	if e != nil && e.runes != nil {
		text = withoutSurrogates(e.Append(nil, text))
	}
	return appendReadable(nil, text, false)
}

// fromFunction converts the output of one of pgtee's functions to UTF-8, so that the names in it are identical to those of the stream.
func (e *Encoding) fromFunction(text []byte) []byte {
	if e != nil && e.ascii {
		return e.Append(nil, text)
	}
	return e.readable(text)
}

// appendReadable appends text with private use characters in place of bytes that are not UTF-8. If apart is set, it also replaces the bytes of
// private use characters that text already has, so that different texts stay different.
func appendReadable(dst, text []byte, apart bool) []byte {
	from := 0
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if size > 1 && !(apart && isPrivate(r)) {
			i += size
			continue
		}
		dst = append(dst, text[from:i]...)
		for _, c := range text[i : i+size] {
			dst = utf8.AppendRune(dst, privateUse+rune(c))
		}
		i += size
		from = i
	}
	return append(dst, text[from:]...)
}

// surrogate returns the byte whose surrogate text begins with, 0 if text begins with another character.
func surrogate[T string | []byte](text T) byte {
	if len(text) < 3 || text[0] != 0xED || text[1]|1 != 0xB3 {
		return 0
	}
	return text[1]<<6 | text[2]&0x3F
}

// withoutSurrogates replaces surrogates by the bytes they stand for.
func withoutSurrogates(text []byte) []byte {
	kept := text[:0:0]
	for i := 0; i < len(text); i++ {
		c := text[i]
		if b := surrogate(text[i:]); b != 0 {
			c = b
			i += 2
		}
		kept = append(kept, c)
	}
	return kept
}

// QuoteText quotes text that is not UTF-8 for human readers: \xNN are bytes as stored in the database.
func QuoteText(text []byte) string { return strconv.Quote(string(withoutSurrogates(text))) }

func isPrivate(r rune) bool { return r >= privateUse+utf8.RuneSelf && r <= privateUse+0xFF }

func isASCII(text string) bool {
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
