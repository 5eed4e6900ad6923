package parser

import "iter"

// Comments returns the contents of each comment /* … */ in a text, up to the first unreadable token.
func Comments(sql []byte, lexis Lexis) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for l := newLexer(sql, lexis); ; {
			from := l.pos
			t := l.next()
			blank := lexer{sql: sql[:t.start], pos: from}
			if !blank.eachComment(yield) || t.kind == endOfText || t.kind == unreadable {
				return
			}
		}
	}
}

// eachComment yields the comments before the next token.
func (l *lexer) eachComment(yield func([]byte) bool) bool {
	for l.pos < len(l.sql) {
		switch c, start := l.sql[l.pos], l.pos; {
		case classes[c]&space != 0:
			l.pos++
		case c == '-' && l.at(1) == '-':
			l.skipLine()
		case c == '/' && l.at(1) == '*':
			if !l.skipComment() || !yield(l.sql[start+2:l.pos-2]) {
				return false
			}
		default:
			return true
		}
	}
	return true
}
