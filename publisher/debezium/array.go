package debezium

import (
	"bytes"

	"github.com/pgtee/pgtee/publisher/record"
)

// maxDimensions is PostgreSQL's MAXDIM.
const maxDimensions = 6

// array encodes a PostgreSQL array as a JSON array; an array of several dimensions becomes an array of arrays. Lower bounds ("[0:2]={7,8,9}") are not
// kept.
type array struct {
	element   appendFunc
	delimiter byte    // pg_type.typdelim of the element type: a comma, for box a semicolon
	unescaped *[]byte // quoted elements with their backslashes removed; used as a stack
	typed     bool    // only one dimension, and every element of the element type or NULL
	strict    bool    // NULL elements are refused
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

// appendDimension reads "{...}" at the start of text and returns the text after it.
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

// appendQuoted reads an element up to its closing quote.
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

// appendElement appends one element. An element that its codec refuses becomes a JSON string of its text, unless the array is typed.
func (a *array) appendElement(dst, item []byte) ([]byte, bool) {
	start := len(dst)
	dst, ok := a.element(dst, item)
	if !ok && !a.typed {
		return record.AppendJSONString(dst[:start], item), true
	}
	return dst, ok
}

// unquote reads text up to its first unescaped quote and returns what precedes and what follows that quote. Text is copied, to the end of buffer,
// only if it contains backslashes.
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
