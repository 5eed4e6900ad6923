package debezium

import (
	"bytes"

	"github.com/pgtee/pgtee/publisher/record"
)

// maxDimensions is PostgreSQL's MAXDIM.
const maxDimensions = 6

// array encodes an array as a JSON array; more dimensions become arrays of arrays. Lower bounds
// ("[0:2]={7,8,9}") are not kept.
type array struct {
	element   appendFunc
	delimiter byte    // pg_type.typdelim of the element: a comma, for box a semicolon
	unescaped *[]byte // quoted elements without their backslashes; grows like a stack
	typed     bool    // one dimension, and elements of the type or NULL
	strict    bool    // no NULL
}

func (a *array) append(dst, text []byte) ([]byte, bool) {
	if len(text) > 0 && text[0] == '[' {
		_, after, found := bytes.Cut(text, []byte("="))
		if !found {
			return dst, false
		}
		text = after
	}
	dst, rest, ok := a.appendDimension(dst, text, 1)
	return dst, ok && len(rest) == 0
}

// appendDimension reads "{...}" at the start of text and returns what follows.
func (a *array) appendDimension(dst, text []byte, depth int) ([]byte, []byte, bool) {
	if len(text) < 2 || text[0] != '{' || depth > maxDimensions || a.typed && depth > 1 {
		return dst, nil, false
	}
	dst = append(dst, '[')
	text = text[1:]
	if text[0] == '}' {
		return append(dst, ']'), text[1:], true
	}
	for {
		var ok bool
		dst, text, ok = a.appendItem(dst, text, depth)
		if !ok || len(text) == 0 {
			return dst, nil, false
		}
		next := text[0]
		text = text[1:]
		switch next {
		case '}':
			return append(dst, ']'), text, true
		case a.delimiter:
			dst = append(dst, ',')
		default:
			return dst, nil, false
		}
	}
}

func (a *array) appendItem(dst, text []byte, depth int) ([]byte, []byte, bool) {
	if len(text) == 0 {
		return dst, nil, false
	}
	switch text[0] {
	case '{':
		return a.appendDimension(dst, text, depth+1)
	case '"':
		return a.appendQuoted(dst, text[1:])
	}
	end := 0
	for end < len(text) && text[end] != a.delimiter && text[end] != '}' {
		end++
	}
	switch item := text[:end]; {
	case end == 0:
		return dst, nil, false
	case string(item) == "NULL":
		return append(dst, "null"...), text[end:], !a.strict
	default:
		dst, ok := a.appendElement(dst, item)
		return dst, text[end:], ok
	}
}

// appendQuoted reads up to the closing quote.
func (a *array) appendQuoted(dst, text []byte) ([]byte, []byte, bool) {
	start := len(*a.unescaped)
	item, rest, ok := unquote(a.unescaped, text)
	if !ok {
		return dst, nil, false
	}
	dst, ok = a.appendElement(dst, item)
	*a.unescaped = (*a.unescaped)[:start]
	return dst, rest, ok
}

// appendElement appends an element that does not fit as its text, where that may be.
func (a *array) appendElement(dst, item []byte) ([]byte, bool) {
	start := len(dst)
	dst, ok := a.element(dst, item)
	if !ok && !a.typed {
		return record.AppendJSONString(dst[:start], item), true
	}
	return dst, ok
}

// unquote reads text up to its first quote without a backslash before it, and returns what stands
// before and after that quote. Only text with backslashes is copied, to the end of buffer.
func unquote(buffer *[]byte, text []byte) (item, rest []byte, ok bool) {
	end := bytes.IndexAny(text, `"\`)
	if end < 0 {
		return nil, nil, false
	}
	if text[end] == '"' {
		return text[:end], text[end+1:], true
	}
	start := len(*buffer)
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			return (*buffer)[start:], text[i+1:], true
		case '\\':
			if i++; i == len(text) {
				return nil, nil, false
			}
		}
		*buffer = append(*buffer, text[i])
	}
	*buffer = (*buffer)[:start]
	return nil, nil, false
}
