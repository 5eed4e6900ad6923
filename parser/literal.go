package parser

import "bytes"

// readPrefixed reads E'…', B'…', X'…', N'…', U&'…' and U&"…".
func (l *lexer) readPrefixed() (t token, ok bool) {
	start, unicode := l.pos, l.at(1) == '&'
	switch c := l.at(0) | 0x20; {
	case unicode && c == 'u' && l.at(2) == '"':
		return l.readQuoted(start, start+2), true
	case unicode && c == 'u' && l.at(2) == '\'':
		if l.backslashes() {
			return l.fail(), true // "unsafe use of string constant with Unicode escapes"
		}
		return l.readLiteral(start, start+2, false), true
	case unicode:
		return t, false
	case c == 'e':
		return l.readLiteral(start, start+1, true), true
	case c == 'b', c == 'x':
		return l.readLiteral(start, start+1, false), true
	case c == 'n':
		return l.readLiteral(start, start+1, l.backslashes()), true
	}
	return t, false
}

// readLiteral reads a quoted literal whose opening quote is at open, with its continuations: literals separated only by white space with a line break
// are one literal, and the rules of the first apply to all.
func (l *lexer) readLiteral(start, open int, escapes bool) token {
	for {
		l.pos = open + 1
		if !l.skipQuoted(escapes) {
			return l.fail()
		}
		end := l.pos
		if !l.findContinuation() {
			l.pos = end
			return token{literal, start, end}
		}
		open = l.pos
	}
}

// skipQuoted skips to the end of '…'. With MultiByte it fails at a backslash that may be half a character instead of an escape, and at the two bytes
// which are a backslash in SHIFT_JIS_2004 and half a character or two in other encodings.
func (l *lexer) skipQuoted(escapes bool) bool {
	for l.pos < len(l.sql) {
		switch l.sql[l.pos] {
		case '\'':
			l.pos++
			if l.at(0) != '\'' {
				return true
			}
		case '\\':
			if escapes {
				if l.lexis.MultiByte && l.sql[l.pos-1] >= 0x80 {
					return false
				}
				l.pos++
			}
		case '_':
			if escapes && l.lexis.MultiByte && l.sql[l.pos-1] == 0x81 {
				return false
			}
		}
		l.pos++
	}
	l.pos = len(l.sql)
	return false
}

// findContinuation moves to a quote that continues the literal just read: between the two are only white space and -- comments, with at least one
// line break.
func (l *lexer) findContinuation() bool {
	lineBreak := false
	for l.pos < len(l.sql) {
		switch c := l.sql[l.pos]; {
		case c == '\n' || c == '\r':
			lineBreak = true
			l.pos++
		case classes[c]&space != 0:
			l.pos++
		case c == '-' && l.at(1) == '-':
			l.skipLine()
		default:
			return lineBreak && c == '\''
		}
	}
	return false
}

// readQuoted reads "…" whose opening quote is at open.
func (l *lexer) readQuoted(start, open int) token {
	l.pos = open + 1
	for {
		n := bytes.IndexByte(l.sql[l.pos:], '"')
		if n < 0 {
			return l.fail()
		}
		l.pos += n + 1
		if l.at(0) != '"' {
			return token{quoted, start, l.pos}
		}
		l.pos++
	}
}

// readDollar reads a parameter, a $tag$…$tag$ literal, or a lone $.
func (l *lexer) readDollar() token {
	start := l.pos
	l.pos++
	if classes[l.at(0)]&digit != 0 {
		for classes[l.at(0)]&digit != 0 {
			l.pos++
		}
		return token{param, start, l.pos}
	}
	if classes[l.at(0)]&letter != 0 {
		for l.pos < len(l.sql) && (classes[l.sql[l.pos]]&(letter|digit) != 0 || l.isHalf(l.pos)) {
			l.pos++
		}
	}
	if l.at(0) != '$' {
		l.pos = start + 1
		return token{symbol, start, l.pos}
	}
	l.pos++
	n := bytes.Index(l.sql[l.pos:], l.sql[start:l.pos])
	if n < 0 {
		return l.fail()
	}
	l.pos += n + (l.pos - start)
	return token{literal, start, l.pos}
}

// skipNumber skips a number: digits with fraction and exponent, 0x1F, 0o17, 0b11, 1_000.
func (l *lexer) skipNumber() {
	if l.sql[l.pos] == '0' && isRadix(l.at(1)) && (isHexDigit(l.at(2)) || l.at(2) == '_' && isHexDigit(l.at(3))) {
		l.pos += 2
		for isHexDigit(l.at(0)) || l.at(0) == '_' {
			l.pos++
		}
		return
	}
	l.skipDigits()
	if l.at(0) == '.' && l.at(1) != '.' {
		l.pos++
		l.skipDigits()
	}
	if l.at(0)|0x20 != 'e' {
		return
	}
	sign := 1
	if l.at(1) == '+' || l.at(1) == '-' {
		sign = 2
	}
	if classes[l.at(sign)]&digit != 0 {
		l.pos += sign
		l.skipDigits()
	}
}

// skipDigits skips digits and the underscores between them.
func (l *lexer) skipDigits() {
	for classes[l.at(0)]&digit != 0 || l.at(0) == '_' && classes[l.at(1)]&digit != 0 {
		l.pos++
	}
}

func isRadix(c byte) bool { c |= 0x20; return c == 'x' || c == 'o' || c == 'b' }

func isHexDigit(c byte) bool {
	return classes[c]&digit != 0 || c|0x20 >= 'a' && c|0x20 <= 'f'
}
