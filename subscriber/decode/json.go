// Package decode reads the contents of records: JSON, without building values from it, and Avro in Confluent's wire format. The bytes are untrusted:
// every step is checked.
package decode

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Scanner reads JSON from front to back. The results are slices of the text.
type Scanner struct {
	Text []byte
	At   int
}

// ErrJSON means that a text is not valid JSON, ErrSurrogate that a string escapes half of a surrogate pair, which JSON allows but is no character.
var (
	ErrJSON      = errors.New("not valid JSON")
	ErrSurrogate = errors.New("half of a surrogate pair, which is not a character")
)

// Next skips white space and returns the next byte, 0 at the end.
func (s *Scanner) Next() byte {
	for s.At < len(s.Text) {
		switch c := s.Text[s.At]; c {
		case ' ', '\t', '\n', '\r':
			s.At++
		default:
			return c
		}
	}
	return 0
}

// Take skips white space and then the byte c, if that is the next one.
func (s *Scanner) Take(c byte) bool {
	if s.Next() != c {
		return false
	}
	s.At++
	return true
}

// Quoted reads a string and returns it with its quotes.
func (s *Scanner) Quoted() ([]byte, error) {
	if s.Next() != '"' {
		return nil, ErrJSON
	}
	start := s.At
	for s.At++; ; {
		i := bytes.IndexByte(s.Text[s.At:], '"')
		if i < 0 {
			return nil, ErrJSON
		}
		s.At += i
		slashes := 0
		for s.Text[s.At-1-slashes] == '\\' {
			slashes++
		}
		s.At++
		if slashes%2 == 0 {
			return s.Text[start:s.At], nil
		}
	}
}

// maxNesting bounds the nesting of objects and arrays, as encoding/json does: a text that it accepts must not fail here.
const maxNesting = 10000

// Value reads any value and returns its text.
func (s *Scanner) Value() ([]byte, error) {
	c := s.Next()
	start := s.At
	switch c {
	case '"':
		return s.Quoted()
	case '{', '[':
		return s.nested()
	case 0, ',', ':', '}', ']':
		return nil, ErrJSON
	}
	for s.At < len(s.Text) {
		switch s.Text[s.At] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return s.Text[start:s.At], nil
		}
		s.At++
	}
	return s.Text[start:], nil
}

// nested reads an object or an array by matching its brackets.
func (s *Scanner) nested() ([]byte, error) {
	start, depth := s.At, 0
	for s.At < len(s.Text) {
		switch s.Text[s.At] {
		case '"':
			if _, err := s.Quoted(); err != nil {
				return nil, err
			}
			continue
		case '{', '[':
			if depth++; depth > maxNesting {
				return nil, ErrJSON
			}
		case '}', ']':
			if depth--; depth == 0 {
				s.At++
				return s.Text[start:s.At], nil
			}
		}
		s.At++
	}
	return nil, ErrJSON
}

// Fields calls use for each field of an object, with the name, without quotes and still escaped, and the value. use can stop early with errStop.
func Fields(object []byte, use func(name, value []byte) error) error {
	s := Scanner{Text: object}
	if !s.Take('{') {
		return ErrJSON
	}
	if s.Take('}') {
		return nil
	}
	for {
		name, err := s.Quoted()
		if err != nil {
			return err
		}
		if !s.Take(':') {
			return ErrJSON
		}
		value, err := s.Value()
		if err != nil {
			return err
		}
		if err := use(name[1:len(name)-1], value); err != nil {
			if err == errStop {
				return nil
			}
			return err
		}
		if s.Take('}') {
			return nil
		}
		if !s.Take(',') {
			return ErrJSON
		}
	}
}

// errStop ends Fields without an error.
var errStop = errors.New("stop")

// Field returns the value of one field, or nil if there is none.
func Field(object []byte, wanted string) (found []byte) {
	_ = Fields(object, func(name, value []byte) error {
		if string(name) == wanted {
			found = value
			return errStop
		}
		return nil
	})
	return found
}

// Unquoted returns the content of a JSON string, or "" for anything else.
func Unquoted(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	text, err := AppendUnquoted(nil, value)
	if err != nil {
		return ""
	}
	return string(text)
}

// AppendUnquoted appends the content of a JSON string, which is given with its quotes.
func AppendUnquoted(dst, quoted []byte) ([]byte, error) {
	if len(quoted) < 2 {
		return dst, ErrJSON
	}
	text := quoted[1 : len(quoted)-1]
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...), nil
		}
		dst = append(dst, text[:i]...)
		if text = text[i+1:]; len(text) == 0 {
			return dst, ErrJSON
		}
		c := text[0]
		text = text[1:]
		switch c {
		case 'n':
			dst = append(dst, '\n')
		case 't':
			dst = append(dst, '\t')
		case 'r':
			dst = append(dst, '\r')
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'u':
			r, rest, err := unicodeEscape(text)
			if err != nil {
				return dst, err
			}
			dst, text = utf8.AppendRune(dst, r), rest
		default:
			return dst, ErrJSON
		}
	}
}

// unicodeEscape reads the digits after \u, including the second half of a surrogate pair.
func unicodeEscape(text []byte) (rune, []byte, error) {
	if len(text) < 4 {
		return 0, nil, ErrJSON
	}
	n, err := strconv.ParseUint(string(text[:4]), 16, 32)
	if err != nil {
		return 0, nil, ErrJSON
	}
	r, text := rune(n), text[4:]
	if !utf16.IsSurrogate(r) {
		return r, text, nil
	}
	if len(text) >= 6 && text[0] == '\\' && text[1] == 'u' {
		if low, err := strconv.ParseUint(string(text[2:6]), 16, 32); err == nil {
			if both := utf16.DecodeRune(r, rune(low)); both != utf8.RuneError {
				return both, text[6:], nil
			}
		}
	}
	return 0, nil, ErrSurrogate
}

var (
	payloadField = []byte(`,"payload":`)
	schemaField  = []byte(`{"schema":`)
)

// Payload removes a schema that accompanies the payload.
func Payload(value []byte) []byte {
	if !bytes.HasPrefix(value, schemaField) {
		return value
	}
	s := Scanner{Text: value, At: len(schemaField)}
	if _, err := s.Value(); err != nil || !bytes.HasPrefix(value[s.At:], payloadField) {
		return value
	}
	rest := value[s.At+len(payloadField):]
	return bytes.TrimSuffix(rest, []byte("}"))
}
