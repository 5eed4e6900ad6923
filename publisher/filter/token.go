package filter

import (
	"errors"
	"fmt"
	"strings"
)

// token is a lexical element of a filter.
type token struct {
	kind     tokenKind
	text     string
	position int // in bytes, starting at 1
}

type tokenKind byte

const (
	end     tokenKind = iota
	word              // keyword or name, in lower case
	name              // in double quotes
	literal           // in single quotes
	number
	sign
)

func (t token) errorf(format string, args ...any) error {
	return fmt.Errorf("at character %d: %w", t.position, fmt.Errorf(format, args...))
}

var keywords = map[string]bool{
	"and": true, "or": true, "not": true, "in": true, "like": true, "is": true, "null": true, "true": true, "false": true,
}

var errUnclosed = errors.New("a quote is not closed")

// tokenize splits a filter into tokens. The last token marks the end.
func tokenize(text string) ([]token, error) {
	if len(text) > maxFilterBytes {
		return nil, fmt.Errorf("of %d bytes: want no more than %d", len(text), maxFilterBytes)
	}
	var tokens []token
	for at := 0; ; {
		for at < len(text) && strings.IndexByte(" \t\r\n", text[at]) >= 0 {
			at++
		}
		t := token{position: at + 1}
		if at == len(text) {
			return append(tokens, t), nil
		}
		width, err := t.scan(text[at:])
		if err != nil {
			return nil, t.errorf("%w", err)
		}
		at += width
		tokens = append(tokens, t)
	}
}

// scan reads the token at the start of text and returns its width.
func (t *token) scan(text string) (width int, err error) {
	switch c := text[0]; {
	case c == '\'' || c == '"':
		t.kind = literal
		if c == '"' {
			t.kind = name
		}
		t.text, width, err = unquote(text)
		return width, err
	case isWordStart(c):
		for width < len(text) && (isWordStart(text[width]) || isDigit(text[width]) || text[width] == '$') {
			width++
		}
		t.kind, t.text = word, foldName(text[:width])
		return width, nil
	case isDigit(c) || c == '-' || c == '.':
		width = numberWidth(text)
		t.kind, t.text = number, text[:width]
		if !isNumber(t.text) {
			return 0, fmt.Errorf("%q is not a number", t.text)
		}
		return width, nil
	}
	t.kind = sign
	for _, s := range []string{"<>", "!=", "<=", ">=", "=", "<", ">", "(", ")", ","} {
		if strings.HasPrefix(text, s) {
			t.text = s
			return len(s), nil
		}
	}
	return 0, fmt.Errorf("unexpected %q", text[:1])
}

func isWordStart(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// foldName converts ASCII letters to lower case, as PostgreSQL does with names in UTF-8.
func foldName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// unquote reads a quoted text, in which a doubled quote stands for one.
func unquote(text string) (content string, width int, err error) {
	quote := text[:1]
	for width = 1; ; {
		closing := strings.Index(text[width:], quote)
		if closing < 0 {
			return "", 0, errUnclosed
		}
		content += text[width : width+closing]
		width += closing + 1
		if !strings.HasPrefix(text[width:], quote) {
			return content, width, nil
		}
		content += quote
		width++
	}
}

func numberWidth(text string) int {
	width := 1
	for width < len(text) {
		c, before := text[width], text[width-1]|0x20
		if !isDigit(c) && c != '.' && c|0x20 != 'e' && !((c == '-' || c == '+') && before == 'e') {
			break
		}
		width++
	}
	return width
}
