package apply

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner walks over JSON without making anything of it. What it hands out are slices of the text. Bytes come from
// strangers: every step is checked.
type scanner struct {
	text []byte
	at   int
}

var errJSON = errors.New("no valid JSON")

// next skips white space and returns the byte behind it, 0 at the end.
func (s *scanner) next() byte {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return c
		}
	}
	return 0
}

// take skips white space and the byte c, if that is what follows.
func (s *scanner) take(c byte) bool {
	if s.next() != c {
		return false
	}
	s.at++
	return true
}

// string reads a string and returns it with its quotes.
func (s *scanner) string() ([]byte, error) {
	if s.next() != '"' {
		return nil, errJSON
	}
	start := s.at
	for s.at++; ; {
		i := bytes.IndexByte(s.text[s.at:], '"')
		if i < 0 {
			return nil, errJSON
		}
		s.at += i
		slashes := 0
		for s.text[s.at-1-slashes] == '\\' {
			slashes++
		}
		s.at++
		if slashes%2 == 0 {
			return s.text[start:s.at], nil
		}
	}
}

// maxNesting bounds objects in objects.
const maxNesting = 512

// value reads any value and returns its text.
func (s *scanner) value() ([]byte, error) {
	c := s.next()
	start := s.at
	switch c {
	case '"':
		return s.string()
	case '{', '[':
		return s.nested()
	case 0, ',', ':', '}', ']':
		return nil, errJSON
	}
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return s.text[start:s.at], nil
		}
		s.at++
	}
	return s.text[start:], nil
}

// nested reads an object or an array by its brackets.
func (s *scanner) nested() ([]byte, error) {
	start, depth := s.at, 0
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case '"':
			if _, err := s.string(); err != nil {
				return nil, err
			}
			continue
		case '{', '[':
			if depth++; depth > maxNesting {
				return nil, errJSON
			}
		case '}', ']':
			if depth--; depth == 0 {
				s.at++
				return s.text[start:s.at], nil
			}
		}
		s.at++
	}
	return nil, errJSON
}

// fields calls use with the name, without quotes and as it is escaped, and the value of each field of an object. use may end the
// walk with errStop.
func fields(object []byte, use func(name, value []byte) error) error {
	s := scanner{text: object}
	if !s.take('{') {
		return errJSON
	}
	if s.take('}') {
		return nil
	}
	for {
		name, err := s.string()
		if err != nil {
			return err
		}
		if !s.take(':') {
			return errJSON
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		if err := use(name[1:len(name)-1], value); err != nil {
			if err == errStop {
				return nil
			}
			return err
		}
		if s.take('}') {
			return nil
		}
		if !s.take(',') {
			return errJSON
		}
	}
}

// errStop ends fields without an error.
var errStop = errors.New("stop")

// field returns the value of one field, nil if there is none.
func field(object []byte, wanted string) (found []byte) {
	_ = fields(object, func(name, value []byte) error {
		if string(name) == wanted {
			found = value
			return errStop
		}
		return nil
	})
	return found
}

// unquoted returns what a JSON string says, "" for anything else.
func unquoted(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	text, err := appendUnquoted(nil, value)
	if err != nil {
		return ""
	}
	return string(text)
}

// appendUnquoted appends what a JSON string, given with its quotes, says.
func appendUnquoted(dst, quoted []byte) ([]byte, error) {
	if len(quoted) < 2 {
		return dst, errJSON
	}
	text := quoted[1 : len(quoted)-1]
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...), nil
		}
		dst = append(dst, text[:i]...)
		if text = text[i+1:]; len(text) == 0 {
			return dst, errJSON
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
			return dst, errJSON
		}
	}
}

// unicodeEscape reads what stands behind \u, with the second half of a pair.
func unicodeEscape(text []byte) (rune, []byte, error) {
	if len(text) < 4 {
		return 0, nil, errJSON
	}
	n, ok := parseHex(text[:4])
	if !ok {
		return 0, nil, errJSON
	}
	r, text := rune(n), text[4:]
	if utf16.IsSurrogate(r) && len(text) >= 6 && text[0] == '\\' && text[1] == 'u' {
		if low, ok := parseHex(text[2:6]); ok {
			if both := utf16.DecodeRune(r, rune(low)); both != utf8.RuneError {
				return both, text[6:], nil
			}
		}
	}
	return r, text, nil
}
