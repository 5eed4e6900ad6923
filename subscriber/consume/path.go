package consume

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/subscriber/decode"
)

// path selects a value in JSON: $.customer.name, $.lines[0], $['odd name']. The empty path, $, selects the whole value.
type path []step

// step is one field of an object or one item of an array.
type step struct {
	name  string
	index int // index in an array; -1: the step is a name
}

var errPath = errors.New("want a path such as $.customer.name, $.lines[0] or $['odd name']; $ is the whole value")

// parsePath parses a subset of JSONPath (RFC 9535, 2.3.1 and 2.3.3).
func parsePath(text string) (p path, err error) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, errPath
	}
	for rest != "" {
		var s step
		switch rest[0] {
		case '.':
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			s, rest = step{rest[1:end], -1}, rest[end:]
			if s.name == "" {
				return nil, errPath
			}
		case '[':
			if s, rest, err = parseBracket(rest[1:]); err != nil {
				return nil, err
			}
		default:
			return nil, errPath
		}
		p = append(p, s)
	}
	return p, nil
}

// parseBracket parses 0] or 'name'] and returns the rest.
func parseBracket(text string) (step, string, error) {
	if quote := text[:min(1, len(text))]; quote == "'" || quote == `"` {
		name, rest, found := strings.Cut(text[1:], quote+"]")
		if !found || name == "" {
			return step{}, "", errPath
		}
		return step{name, -1}, rest, nil
	}
	number, rest, found := strings.Cut(text, "]")
	index, err := strconv.Atoi(number)
	if !found || err != nil || index < 0 {
		return step{}, "", errPath
	}
	return step{"", index}, rest, nil
}

// find returns the value at a path, nil if there is none.
func (p path) find(json []byte) []byte {
	for _, s := range p {
		if s.index < 0 {
			json = fieldOf(json, s.name)
		} else {
			json = itemOf(json, s.index)
		}
		if json == nil {
			return nil
		}
	}
	return json
}

// fieldOf returns the last field with a name, as JSON parsers do.
func fieldOf(object []byte, name string) (found []byte) {
	_ = decode.Fields(object, func(raw, value []byte) error {
		if nameIs(raw, name) {
			found = value
		}
		return nil
	})
	return found
}

// nameIs compares a name as written in JSON with a name of a path.
func nameIs(raw []byte, name string) bool {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw) == name
	}
	return plainName(raw) == name
}

// plainName decodes a JSON name without its quotes.
func plainName(raw []byte) string {
	return decode.Unquoted(append(append([]byte{'"'}, raw...), '"'))
}

// itemOf returns an item of an array, nil if there is none.
func itemOf(array []byte, index int) []byte {
	s := decode.Scanner{Text: array}
	if !s.Take('[') || s.Take(']') {
		return nil
	}
	for ; ; index-- {
		item, err := s.Value()
		if err != nil || index == 0 {
			return item
		}
		if !s.Take(',') {
			return nil
		}
	}
}
