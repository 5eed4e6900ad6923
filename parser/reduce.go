package parser

// reduced says what a token becomes in the normal form of a text.
type reduced uint8

const (
	reducedText       reduced = iota // the token unchanged
	reducedLiteral                   // a literal, with its sign
	reducedConstant                  // unchanged: a parameter, or NULL, TRUE, FALSE, DEFAULT in a list of constants
	reducedMore                      // not a token: elements of a list are left out here
	reducedEnd                       // not a token: end of the text
	reducedUnreadable                // not a token: the text cannot be read
)

// reducer reads the tokens of a text's normal form.
type reducer struct {
	lexer
	token token // the current one
	blank bool  // white space or a comment precedes it
	end   int   // offset after it and after anything left out
	list  list
}

// list is a list of constants of which only the first element or row is kept.
type list struct {
	open   bool
	keep   int // offset of the end of the first element
	resume int // offset of the end of the last element
	more   bool
}

func newReducer(sql []byte, lexis Lexis) reducer {
	return reducer{lexer: newLexer(sql, lexis)}
}

// advance moves to the next token.
func (r *reducer) advance() reduced {
	if r.list.open && r.pos >= r.list.keep {
		more := r.list.more
		r.pos, r.end = r.list.resume, r.list.resume
		r.list = list{}
		if more {
			return reducedMore
		}
	}
	before := r.token
	r.token = r.significant(before)
	r.blank = r.token.start > r.end
	kind := r.reduce(before)
	r.end = r.token.end
	return kind
}

// significant returns the next token. It returns only one of several semicolons in a row, and none of those at the start and at the end of the text.
func (r *reducer) significant(before token) token {
	t := r.next()
	if !r.is(t, ';') {
		return t
	}
	ahead := r.lexer
	next := ahead.next()
	for r.is(next, ';') {
		r.lexer = ahead
		next = ahead.next()
	}
	if before.kind != endOfText && next.kind != endOfText {
		return t
	}
	return r.next()
}

// reduce returns what the current token becomes in the normal form.
func (r *reducer) reduce(before token) reduced {
	switch r.token.kind {
	case endOfText:
		return reducedEnd
	case unreadable:
		return reducedUnreadable
	case literal, number:
		return reducedLiteral
	case param:
		return reducedConstant
	case operator:
		if r.isSign(before) {
			r.token = token{number, r.token.start, r.pos}
			return reducedLiteral
		}
	case symbol:
		r.list = r.findList(before)
	case word:
		if r.list.open && r.isConstantWord(r.token) {
			return reducedConstant
		}
	}
	return reducedText
}

// isSign reports whether the current operator is a minus that is the sign of the following number, and reads that number. A minus after an operand is
// an operator, and so is the one in -1::int, because the cast binds more tightly.
func (r *reducer) isSign(before token) bool {
	if r.token.end-r.token.start != 1 || r.sql[r.token.start] != '-' || r.isOperand(before) {
		return false
	}
	ahead := r.lexer
	if ahead.next().kind != number {
		return false
	}
	behind := ahead
	if behind.skipCast() {
		return false
	}
	r.lexer = ahead
	return true
}

// isOperand reports whether a token can end the left operand of an operator.
func (r *reducer) isOperand(t token) bool {
	switch t.kind {
	case endOfText, operator:
		return false
	case symbol:
		return r.is(t, ')') || r.is(t, ']')
	case word:
		return beforeOperand.find(r.text(t)) == ""
	}
	return true
}

// beforeOperand are words after which an expression begins.
var beforeOperand = newWordSet(`
ALL AND ANY BETWEEN BY CASE DEFAULT DISTINCT ELSE FETCH FROM HAVING ILIKE IN INCREMENT LIKE LIMIT MAXVALUE MINVALUE NOT OFFSET ON
OR RETURN RETURNING SELECT SET SOME START SYMMETRIC THEN TO USING VALUES WHEN WHERE WITH`)

// findList returns the list of constants that the current symbol opens, if any.
func (r *reducer) findList(before token) list {
	ahead := r.lexer
	switch {
	case r.list.open:
		return r.list
	case r.is(r.token, '(') && r.isWord(before, "VALUES"):
		return ahead.rows()
	case r.is(r.token, '(') && r.isWord(before, "IN"):
		return ahead.constants(')')
	case r.is(r.token, '[') && r.isWord(before, "ARRAY"):
		return ahead.constants(']')
	}
	return list{}
}

// rows reads the rows of VALUES after the first parenthesis, as long as they contain only constants.
func (l *lexer) rows() list {
	first := l.constants(')')
	if !first.open {
		return first
	}
	l.next()
	rows := list{open: true, keep: l.pos, resume: l.pos}
	for l.is(l.next(), ',') && l.is(l.next(), '(') && l.constants(')').open {
		l.next()
		rows.resume, rows.more = l.pos, true
	}
	return rows
}

// constants reads constants up to the closing symbol and stops before it.
func (l *lexer) constants(closing byte) list {
	found := list{open: true}
	for {
		end, ok := l.constant()
		if !ok {
			return list{}
		}
		if found.keep == 0 {
			found.keep = end
		}
		ahead := *l
		t := ahead.next()
		if l.is(t, closing) {
			found.resume = t.start
			return found
		}
		if !l.is(t, ',') {
			return list{}
		}
		found.more = true
		*l = ahead
	}
}

// constant reads a literal or parameter with its sign and casts, or NULL, TRUE, FALSE, DEFAULT. It returns the offset of its end.
func (l *lexer) constant() (end int, ok bool) {
	t := l.next()
	if t.kind == operator && t.end-t.start == 1 && (l.sql[t.start] == '-' || l.sql[t.start] == '+') {
		if t = l.next(); t.kind != number {
			return 0, false
		}
	}
	switch {
	case t.kind == literal, t.kind == number, t.kind == param:
	case t.kind == word && l.isConstantWord(t):
	default:
		return 0, false
	}
	for {
		ahead := *l
		if !ahead.skipCast() || ahead.next().kind != word {
			return l.pos, true
		}
		*l = ahead
	}
}

func (l *lexer) isConstantWord(t token) bool {
	switch t.end - t.start {
	case 4:
		return l.isWord(t, "NULL") || l.isWord(t, "TRUE")
	case 5:
		return l.isWord(t, "FALSE")
	case 7:
		return l.isWord(t, "DEFAULT")
	}
	return false
}

// skipCast reads the next two tokens and reports whether they are "::".
func (l *lexer) skipCast() bool {
	if !l.is(l.next(), ':') {
		return false
	}
	return l.is(l.next(), ':')
}
