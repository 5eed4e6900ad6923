package parser

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

const maxName = 63 // bytes of a name that PostgreSQL keeps (NAMEDATALEN - 1)

// name returns the identifier at the current token as PostgreSQL folds it: A to Z in lower case if unquoted, unchanged if quoted, truncated to 63
// bytes. It returns "" if the token is not an identifier.
func (p *phrase) name() string {
	text := p.text(p.token)
	switch p.kind {
	case word:
		folded := bytes.Clone(text)
		for i, c := range folded {
			folded[i] = lower(c)
		}
		return cutName(folded)
	case quoted:
		return cutName(p.quotedName(p.token))
	}
	return ""
}

// quotedName returns the content of "…" or U&"…", which is decoded.
func (p *phrase) quotedName(t token) []byte {
	text := p.text(t)
	content := unquote(text)
	if bytes.IndexByte(content, '"') >= 0 {
		content = bytes.ReplaceAll(content, []byte(`""`), []byte(`"`))
	}
	if text[0] != '"' {
		content = p.unescape(t, content)
	}
	return content
}

// cutName truncates a name after the last whole character that fits the limit.
func cutName(name []byte) string {
	if len(name) <= maxName {
		return string(name)
	}
	end := maxName
	for end > maxName-utf8.UTFMax && !utf8.RuneStart(name[end]) {
		end--
	}
	return string(name[:end])
}

// unescape resolves \XXXX and \+XXXXXX in the text of a token U&"…". A UESCAPE after the token may set another escape character.
func (p *phrase) unescape(t token, text []byte) []byte {
	escape := byte('\\')
	ahead := *p
	ahead.pos = t.end
	ahead.advance()
	if ahead.accept("UESCAPE") && ahead.kind == literal && len(ahead.text(ahead.token)) == 3 {
		escape = ahead.text(ahead.token)[1]
	}
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		if text[0] != escape {
			out, text = append(out, text[0]), text[1:]
			continue
		}
		r, size := escaped(text[1:], escape)
		out, text = utf8.AppendRune(out, r), text[1+size:]
	}
	return out
}

// escaped reads what follows an escape character: the same character again, XXXX or +XXXXXX.
func escaped(text []byte, escape byte) (r rune, size int) {
	if len(text) > 0 && text[0] == escape {
		return rune(escape), 1
	}
	start, end := 0, 4
	if len(text) > 0 && text[0] == '+' {
		start, end = 1, 7
	}
	if len(text) < end {
		return utf8.RuneError, len(text)
	}
	code, err := strconv.ParseUint(string(text[start:end]), 16, 32)
	if err != nil {
		return utf8.RuneError, end
	}
	return rune(code), end
}

// unquote returns the text between the quotes of a literal or quoted identifier. Escapes and continuations are left as they are.
func unquote(text []byte) []byte {
	open := bytes.IndexAny(text, `'"$`)
	if open < 0 {
		return text
	}
	if text[open] == '$' {
		tag := bytes.IndexByte(text[open+1:], '$') + 2
		return text[open+tag : len(text)-tag]
	}
	return text[open+1 : len(text)-1]
}
