package proxy

import (
	"bytes"

	"github.com/pgtee/pgtee/parser"
)

// tries bounds how often a text that is too long is read up to another place.
const tries = 8

// appendOpening appends the statements that stand at the beginning of a text of which only the beginning is
// there. The last one may be cut; its End is then the end of text.
func appendOpening(dst []parser.Statement, text []byte, lexis parser.Lexis) []parser.Statement {
	from := 0
	dst, from = appendComplete(dst, text, lexis)
	known := len(dst)
	dst = appendFirst(dst, text[from:], lexis)
	if len(dst) > known {
		dst[known].Start += from
		dst[known].End = len(text)
	}
	return dst
}

// appendComplete appends the statements before the last semicolon at which the text can be cut. A semicolon
// inside a quote or parentheses is no such place: there the text cannot be read.
func appendComplete(dst []parser.Statement, text []byte, lexis parser.Lexis) (list []parser.Statement, end int) {
	end = len(text)
	for range tries {
		end = bytes.LastIndexByte(text[:end], ';')
		if end < 0 {
			break
		}
		if list, ok := parser.Split(dst, text[:end], lexis); ok {
			return list, end + 1
		}
	}
	return dst, 0
}

// appendFirst appends the first statement of text, as far as the words before its first quote or parenthesis
// tell what it is.
func appendFirst(dst []parser.Statement, text []byte, lexis parser.Lexis) []parser.Statement {
	end := 0
	for range tries {
		next := bytes.IndexAny(text[end:], `'"$([`)
		if next < 0 {
			break
		}
		end += next
		if list, ok := parser.Split(dst, text[:end], lexis); ok && len(list) == len(dst)+1 {
			return list
		}
		end++
	}
	return dst
}
