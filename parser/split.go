package parser

// Split appends the statements of sql, the text of one Query or Parse message, to dst, in order. Offsets count
// the bytes of sql. Empty statements are left out, as PostgreSQL does: the k-th statement gives the k-th result,
// and a text without any statement gives one EmptyQueryResponse.
//
// It is false, with dst as it was, if the text cannot be read with certainty (an unterminated quote or comment,
// unbalanced parentheses, bytes of an unsafe encoding): such a text is forwarded untouched. It allocates only for
// names, and where PostgreSQL's grammar is asked.
func Split(dst []Statement, sql []byte, lexis Lexis) ([]Statement, bool) {
	first := len(dst)
	s := splitter{lexer: newLexer(sql, lexis)}
	for {
		start, end, ok := s.statement()
		if !ok {
			return dst[:first], false
		}
		if start == end {
			break
		}
		dst = append(dst, Statement{Start: start, End: end})
	}
	if s.atomic && !agrees(sql, lexis, len(dst)-first) {
		return dst[:first], false
	}
	secrets := mentionsSecret(sql)
	for i := first; i < len(dst); i++ {
		text := sql[dst[i].Start:dst[i].End]
		classify(&dst[i], text, lexis)
		dst[i].Secret = secrets && holdsSecret(text, lexis)
	}
	return dst, true
}

// splitter finds where the statements of a text end.
type splitter struct {
	lexer
	atomic bool // a body BEGIN ATOMIC … END was seen
}

// statement reads up to the next semicolon or the end of the text. Without a further statement start equals end.
func (s *splitter) statement() (start, end int, ok bool) {
	t := s.next()
	for s.is(t, ';') {
		t = s.next()
	}
	start, end = t.start, t.start
	create := s.isWord(t, "CREATE")
	parens, body := 0, 0
	for before := (token{}); ; before, t = t, s.next() {
		switch t.kind {
		case unreadable:
			return 0, 0, false
		case endOfText:
			return start, end, parens == 0 && body == 0
		case symbol:
			switch s.sql[t.start] {
			case '(':
				parens++
			case ')':
				parens--
			case ';':
				if parens == 0 && body == 0 {
					return start, end, true
				}
			}
			if parens < 0 {
				return 0, 0, false
			}
		case word:
			if create && parens == 0 {
				body = s.nesting(body, before, t)
			}
		}
		end = t.end
	}
}

// nesting counts the open BEGIN ATOMIC and CASE of a routine's body. CASE and END may name a column, too: there,
// and where BEGIN ATOMIC makes a difference at all, PostgreSQL's grammar has the last word.
func (s *splitter) nesting(depth int, before, t token) int {
	if s.is(before, '.') || s.isWord(before, "AS") {
		return depth
	}
	switch {
	case depth == 0 && s.isWord(before, "BEGIN") && s.isWord(t, "ATOMIC"):
		s.atomic = true
		return 1
	case depth > 0 && s.isWord(t, "CASE"):
		return depth + 1
	case depth > 0 && s.isWord(t, "END"):
		return depth - 1
	}
	return depth
}
