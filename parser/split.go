package parser

import "bytes"

// Split appends the statements of sql, the text of one Query or Parse message, to dst, in order. Offsets are byte offsets in sql. Empty statements
// are left out, as in PostgreSQL: the k-th statement produces the k-th result, and a text without any statement produces one EmptyQueryResponse.
//
// Split returns false and an unchanged dst if the text cannot be read with certainty (an unterminated quote or comment, unbalanced parentheses, bytes
// of an unsafe encoding); SplitBeginning reads as much of it as possible. Split allocates only for names, and when it uses PostgreSQL's grammar.
func Split(dst []Statement, sql []byte, lexis Lexis) ([]Statement, bool) {
	first := len(dst)
	s := splitter{lexer: newLexer(sql, lexis)}
	for {
		start, end, ok := s.statement()
		if !ok {
			return dst[:first], false
		}
		if start == end {
			s.closing(dst[first:])
			break
		}
		dst = append(dst, s.extent(start, end))
	}
	if s.atomic && !grammarAgrees(sql, lexis, len(dst)-first) {
		return dst[:first], false
	}
	classifyAll(dst[first:], sql, lexis)
	return dst, true
}

// SplitBeginning is like Split, for a text of which only the beginning, sql, is available. The last statement extends to the end of sql and stands
// for everything that may follow. It counts as a write, except for a command that cannot run in a transaction block, and for CALL and DO, whose code may
// commit: the server refuses that in a transaction with a note.
func SplitBeginning(dst []Statement, sql []byte, lexis Lexis) []Statement {
	first := len(dst)
	s := splitter{lexer: newLexer(sql, lexis)}
	for from := 0; ; from = s.pos {
		start, end, ok := s.statement()
		if !ok || s.atomic || s.ended {
			if start == end || start == len(sql) {
				start = from // white space or a comment
			}
			from = min(s.from, start)
			dst = append(dst, Statement{Start: start, End: len(sql), From: start - len(comments(sql[from:start])), To: len(sql)})
			break
		}
		dst = append(dst, s.extent(start, end))
	}
	last := &dst[len(dst)-1]
	classifyAll(dst[first:len(dst)-1], sql, lexis)
	classify(last, opening(sql[last.Start:], lexis), lexis)
	last.Secret = Unread(sql[last.From:], lexis).Secret
	if last.Inner = Always; last.Note != After && last.Verb != "CALL" && last.Verb != "DO" {
		last.Note = Always
	}
	return dst
}

// opening returns the words at the beginning of a text, which can be read whatever follows.
func opening(sql []byte, lexis Lexis) []byte {
	l := newLexer(sql, lexis)
	end := 0
	for t := l.next(); t.kind == word || t.kind == quoted; t = l.next() {
		end = t.end
	}
	return sql[:end]
}

// classifyAll classifies the statements of a text.
func classifyAll(list []Statement, sql []byte, lexis Lexis) {
	secrets := mentionsSecret(sql)
	for i := range list {
		st := &list[i]
		text := sql[st.Start:st.End]
		classify(st, text, lexis)
		st.Secret = secrets && (holdsSecret(text, lexis) || leaks(sql[st.From:st.Start]) || leaks(sql[st.End:st.To]))
	}
}

// Readable returns sql up to the first token that cannot be read, without the white space before it: of a text that was cut off, what remains if its last
// literal, name or comment has no end.
func Readable(sql []byte, lexis Lexis) []byte {
	l := newLexer(sql, lexis)
	for end := 0; ; {
		switch t := l.next(); t.kind {
		case endOfText:
			return sql
		case unreadable:
			return sql[:end]
		default:
			end = t.end
		}
	}
}

// Unread returns a single writing statement in place of a text that Split cannot read.
func Unread(sql []byte, lexis Lexis) Statement {
	secret := mentionsSecret(sql)
	if secret {
		_, secret = Redact(nil, sql, lexis)
	}
	return Statement{End: len(sql), To: len(sql), Note: Always, Secret: secret}
}

// splitter finds where the statements of a text end.
type splitter struct {
	lexer
	from   int  // offset after the semicolon that precedes the statement
	ended  bool // the end of the text was reached
	atomic bool // a body BEGIN ATOMIC … END was found
}

// statement reads up to the next semicolon or the end of the text. If there is no further statement, start equals end. ok is false if the statement
// at start cannot be read to its end.
func (s *splitter) statement() (start, end int, ok bool) {
	s.from = s.pos
	t := s.next()
	for s.is(t, ';') {
		s.from = s.pos
		t = s.next()
	}
	start, end = t.start, t.start
	create := s.isWord(t, "CREATE")
	parens, body := 0, 0
	for before := (token{}); ; before, t = t, s.next() {
		switch t.kind {
		case unreadable:
			return start, end, false
		case endOfText:
			s.ended = true
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
				return start, end, false
			}
		case word:
			if create && parens == 0 {
				body = s.nesting(body, before, t)
			}
		}
		end = t.end
	}
}

// extent returns the statement just read, with its comments. A comment belongs to the statement that contains it or, between statements, to the one
// that follows.
func (s *splitter) extent(start, end int) Statement {
	behind := s.pos
	if !s.ended {
		behind-- // the semicolon
	}
	return Statement{
		Start: start, End: end,
		From: start - len(comments(s.sql[s.from:start])),
		To:   end + len(bytes.TrimRight(s.sql[end:behind], blanks)),
	}
}

// closing assigns the comments after the last semicolon to the last statement.
func (s *splitter) closing(list []Statement) {
	if rest := bytes.TrimRight(s.sql[s.from:], blanks); len(list) > 0 && len(rest) > 0 {
		list[len(list)-1].To = s.from + len(rest)
	}
}

const blanks = " \t\n\r\f\v"

// comments returns the text between a semicolon and a statement from the first comment on: apart from comments it contains only white space.
func comments(between []byte) []byte { return bytes.TrimLeft(between, blanks) }

// nesting counts the open BEGIN ATOMIC and CASE of a routine's body. CASE and END may also be names of columns: if PostgreSQL's grammar finds another
// number of statements in a text with BEGIN ATOMIC, the text counts as unreadable.
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
