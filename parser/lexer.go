package parser

import "bytes"

// kind is the kind of a token. Every rule in this file is taken from PostgreSQL's scan.l.
type kind uint8

const (
	endOfText  kind = iota
	unreadable      // the rest of the text cannot be read: an unterminated quote or comment, or an escape that may be half a character
	word            // keyword or unquoted identifier
	quoted          // "…" and U&"…"
	literal         // '…' in every form, including continuations on further lines, and $$…$$
	number
	param    // $1
	operator // one operator of one or more characters
	symbol   // one of , ( ) [ ] . ; : or any other single byte
)

// token is the bytes sql[start:end] of a text.
type token struct {
	kind       kind
	start, end int
}

// lexer reads the tokens of a text one by one. It never allocates and never fails: from the first point that cannot be read, every token is
// unreadable.
type lexer struct {
	sql   []byte
	pos   int
	lexis Lexis
	bad   bool // the rest cannot be read
	math  int  // before this offset, each + or - is an operator by itself: see skipOperator
}

// newLexer reads sql, which it neither keeps nor changes. A text with a zero byte is unreadable, since no message can carry one.
func newLexer(sql []byte, lexis Lexis) lexer {
	return lexer{sql: sql, lexis: lexis, bad: bytes.IndexByte(sql, 0) >= 0}
}

// Classes of a byte at the start of a token.
const (
	space  uint8 = 1 << iota
	letter       // may start an identifier
	digit
	opChar   // may be part of an operator
	pureMath // + - * / < > = : an operator of only these cannot end in + or -
	inName   // may continue an identifier
)

var classes = func() (c [256]uint8) {
	set := func(chars string, class uint8) {
		for _, b := range []byte(chars) {
			c[b] |= class
		}
	}
	set(" \t\n\r\f\v", space)
	set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_", letter)
	set("0123456789", digit)
	set("~!@#^&|`?+-*/%<>=", opChar)
	set("+-*/<>=", pureMath)
	for b := 0x80; b <= 0xff; b++ {
		c[b] |= letter
	}
	for b := range c {
		if c[b]&(letter|digit) != 0 || b == '$' {
			c[b] |= inName
		}
	}
	return c
}()

// next returns the next token; comments and white space are skipped.
func (l *lexer) next() token {
	if l.bad || !l.skipBlank() {
		return l.fail()
	}
	start := l.pos
	if start == len(l.sql) {
		return token{endOfText, start, start}
	}
	first := l.sql[start]
	switch class := classes[first]; {
	case class&letter != 0:
		return l.readWord()
	case class&digit != 0, first == '.' && classes[l.at(1)]&digit != 0:
		l.skipNumber()
		return token{number, start, l.pos}
	case first == '\'':
		return l.readLiteral(start, start, l.backslashes())
	case first == '"':
		return l.readQuoted(start, start)
	case first == '$':
		return l.readDollar()
	case class&opChar != 0:
		l.skipOperator()
		return token{operator, start, l.pos}
	}
	l.pos++
	return token{symbol, start, l.pos}
}

// text returns the bytes of a token.
func (l *lexer) text(t token) []byte { return l.sql[t.start:t.end] }

// is reports whether a token is the one-byte symbol c.
func (l *lexer) is(t token, c byte) bool { return t.kind == symbol && l.sql[t.start] == c }

// at returns the byte n positions ahead, 0 after the end.
func (l *lexer) at(n int) byte {
	if l.pos+n < len(l.sql) {
		return l.sql[l.pos+n]
	}
	return 0
}

// fail marks the rest of the text as unreadable.
func (l *lexer) fail() token {
	l.bad, l.pos = true, len(l.sql)
	return token{unreadable, l.pos, l.pos}
}

// backslashes reports whether a backslash is an escape character in '…'.
func (l *lexer) backslashes() bool { return !l.lexis.StandardConformingStrings }

// skipBlank skips white space and comments. It returns false at an unterminated comment.
func (l *lexer) skipBlank() bool {
	for l.pos < len(l.sql) {
		switch c := l.sql[l.pos]; {
		case classes[c]&space != 0:
			l.pos++
		case c == '-' && l.at(1) == '-':
			l.skipLine()
		case c == '/' && l.at(1) == '*':
			if !l.skipComment() {
				return false
			}
		default:
			return true
		}
	}
	return true
}

// skipLine skips to the end of a -- comment.
func (l *lexer) skipLine() {
	if n := bytes.IndexAny(l.sql[l.pos:], "\n\r"); n >= 0 {
		l.pos += n
		return
	}
	l.pos = len(l.sql)
}

// skipComment skips a /* comment; comments nest.
func (l *lexer) skipComment() bool {
	depth := 0
	for l.pos < len(l.sql) {
		switch {
		case l.sql[l.pos] == '/' && l.at(1) == '*':
			depth++
			l.pos += 2
		case l.sql[l.pos] == '*' && l.at(1) == '/':
			depth--
			l.pos += 2
			if depth == 0 {
				return true
			}
		default:
			l.pos++
		}
	}
	return false
}

// readWord reads an identifier or keyword, or the literal or quoted identifier that a prefix of one or two bytes introduces.
func (l *lexer) readWord() token {
	if second := l.at(1); second == '\'' || second == '&' {
		if t, ok := l.readPrefixed(); ok {
			return t
		}
	}
	end, half := l.pos+1, false
	for end < len(l.sql) && (classes[l.sql[end]]&inName != 0 || l.isHalf(end)) {
		half = half || classes[l.sql[end]]&inName == 0
		end++
	}
	if half && l.mayQuote(end) {
		return l.fail()
	}
	t := token{word, l.pos, end}
	l.pos = end
	return t
}

// isHalf reports whether a byte that is no letter or digit is, in a word, the second of a character: with MultiByte, behind a byte that is not ASCII. It
// may also be a character of its own, an operator for example, which is never a quote and never starts a comment, but see mayQuote.
func (l *lexer) isHalf(i int) bool {
	return l.lexis.MultiByte && l.sql[i-1] >= 0x80 && bytes.IndexByte(halves, l.sql[i]) >= 0
}

// mayQuote reports whether the word before end, which has such a byte, may consist of several tokens, of which the last one begins a literal: $$…$$ or E'…'.
func (l *lexer) mayQuote(end int) bool {
	for i := l.pos; i < end; i++ {
		if l.sql[i] == '$' && (i+1 == len(l.sql) || classes[l.sql[i+1]]&digit == 0) {
			return true
		}
	}
	return end < len(l.sql) && l.sql[end] == '\'' && l.sql[end-1]|0x20 == 'e'
}

var halves = []byte("@[\\]^`{|}~")

// skipOperator skips the longest operator. An operator ends before a comment, and an operator that consists only of + - * / < > = does not end in +
// or -, so that a=-1 is read as a = -1.
func (l *lexer) skipOperator() {
	if l.pos < l.math {
		l.pos++
		return
	}
	start := l.pos
	math := true
	for classes[l.at(0)]&opChar != 0 {
		if l.pos > start && (l.at(0) == '-' && l.at(1) == '-' || l.at(0) == '/' && l.at(1) == '*') {
			break
		}
		math = math && classes[l.at(0)]&pureMath != 0
		l.pos++
	}
	l.math = l.pos
	for math && l.pos > start+1 && (l.sql[l.pos-1] == '+' || l.sql[l.pos-1] == '-') {
		l.pos--
	}
}
