package parser

const (
	redactedText    = "<redacted>"
	redactedLiteral = "'<redacted>'"
)

// Redact appends sql to dst and replaces each literal that is, contains or may contain a credential by '<redacted>': passwords of roles; options and
// settings with a name like password, secret, token or key; literals in the definition of a column or domain with such a name; connection strings of
// subscriptions and dblink; arguments of functions that encrypt and decrypt; programs of COPY; any literal that mentions a password, calls such a
// function or is a URL with a password; and all literals of a statement that mentions a password in a way that no rule covers. Comments that mention
// a password are removed. In doubt it redacts; an unreadable text becomes <redacted>. changed reports whether out differs from sql.
func Redact(dst, sql []byte, lexis Lexis) (out []byte, changed bool) {
	start, written, statements := len(dst), 0, 0
	secrets := mentionsSecret(sql)
	s := splitter{lexer: newLexer(sql, lexis)}
	for {
		from, to, ok := s.statement()
		last := from == to
		if !ok || last && s.atomic && !grammarAgrees(sql, lexis, statements) {
			return append(dst[:start], redactedText...), true
		}
		if last {
			from, to = len(sql), len(sql)
		}
		if secrets && leaks(sql[written:from]) {
			dst, changed = append(dst, s.bare(sql[written:from])...), true
		} else {
			dst = append(dst, sql[written:from]...)
		}
		if last {
			return dst, changed
		}
		r := redactor{out: dst}
		if secrets {
			r.statement(sql[from:to], lexis)
		}
		dst, changed = append(r.out, sql[from+r.written:to]...), changed || r.changed
		written, statements = to, statements+1
	}
}

// bare returns the text between two statements without its comments.
func (s *splitter) bare(between []byte) string {
	l := newLexer(between, s.lexis)
	if l.next().kind == endOfText {
		return " "
	}
	return "; "
}

// holdsSecret reports whether Redact changes a statement.
func holdsSecret(text []byte, lexis Lexis) bool {
	r := redactor{dry: true}
	r.statement(text, lexis)
	return r.changed
}

// redactor writes one statement without its credentials.
type redactor struct {
	lexer
	out     []byte
	written int  // statement is copied to out up to this offset
	changed bool // something was replaced
	dry     bool // nothing is written; only changed is determined

	reading       // what is known about the statement
	set     bool  // after the word SET
	subject bool  // the next literal belongs to a name like password
	last    token // the token before the current one
	depth   int   // of parentheses
	column  int   // parenthesis depth, from 1, of the definition of a column with a name like password; 0 outside
	call    call
}

// call is a function call that takes credentials.
type call struct {
	depth int // of its parentheses, 0 outside
	kind  callKind
}

type callKind uint8

const (
	noCredentials  callKind = iota
	firstLiteral            // dblink('host=…', …)
	allLiterals             // dblink_connect('name', 'host=…'), pgp_sym_decrypt(x, 'key')
	namedByLiteral          // set_config('name', 'value', false)
)

// statement reads the text of one statement to its end.
func (r *redactor) statement(text []byte, lexis Lexis) {
	r.lexer = lexer{sql: text, lexis: lexis}
	r.reading = understand(text, lexis)
	for t := r.next(); t.kind != endOfText && t.kind != unreadable; t = r.next() {
		if t.start > r.last.end+1 && leaks(text[r.last.end:t.start]) {
			r.replace(r.last.end, t.start, " ")
		}
		switch t.kind {
		case literal, number:
			if r.isCredential(t) && string(r.text(t)) != redactedLiteral {
				r.replace(t.start, t.end, redactedLiteral)
			}
			r.subject = false
		case symbol:
			r.symbol(t)
		case word, quoted:
			r.name(t)
		}
		r.last = t
		if r.set && r.subject && r.isAssignment(t) {
			r.replaceRest()
		}
	}
}

// name handles a word or quoted name.
func (r *redactor) name(t token) {
	switch {
	case r.isWord(t, "SET"):
		r.set, r.subject = r.definition, false
	case r.isWord(t, "TO"): // separates a setting from its value
	case r.isWord(t, "CONNECTION"), r.copy && r.isWord(t, "PROGRAM"):
		r.subject = true
	default:
		r.subject = r.subject && r.is(r.last, '.') || isSecretName(r.text(t), r.definition)
		if r.columns && isSecretName(r.text(t), false) && r.column == 0 {
			r.column = r.depth + 1
		}
	}
}

// symbol handles a one-byte symbol.
func (r *redactor) symbol(t token) {
	switch r.sql[t.start] {
	case '.', ':':
		return
	case '(':
		r.depth++
		if r.call.depth == 0 {
			r.call = r.callOf(r.last)
		}
	case ')':
		if r.call.depth == r.depth {
			r.call = call{}
		}
		r.depth--
		if r.depth+1 < r.column {
			r.column = 0
		}
	case ',':
		if r.depth+1 == r.column {
			r.column = 0
		}
	}
	r.subject = false
}

// callOf returns the call whose arguments a parenthesis after this name opens.
func (r *redactor) callOf(name token) call {
	text := r.text(name)
	switch {
	case name.kind != word && name.kind != quoted:
		return call{}
	case containsFold(text, "DBLINK_CONNECT"):
		return call{r.depth, allLiterals}
	case containsFold(text, "DBLINK"):
		return call{r.depth, firstLiteral}
	case containsFold(text, "SET_CONFIG"):
		return call{r.depth, namedByLiteral}
	case takesKey(text):
		return call{r.depth, allLiterals}
	}
	return call{}
}

// isAssignment reports whether a token separates a setting from its value.
func (r *redactor) isAssignment(t token) bool {
	return t.kind == operator && r.sql[t.start] == '=' || r.isWord(t, "TO")
}

// isCredential reports whether a literal or number must be replaced.
func (r *redactor) isCredential(t token) bool {
	text := r.text(t)
	switch r.call.kind {
	case allLiterals:
		return true
	case firstLiteral:
		r.call.kind = noCredentials
		return true
	case namedByLiteral:
		r.call.kind = noCredentials
		if isSecretName(text, true) {
			r.call.kind = allLiterals
		}
		return false
	}
	return r.all || r.subject || r.column > 0 || t.kind == literal && (isObscure(text) || leaks(text))
}

// replace copies the statement up to start to the output and writes with instead of the text from start to end. It adds spaces to keep the literal
// separate from adjacent tokens.
func (r *redactor) replace(start, end int, with string) {
	if !r.dry {
		r.out = append(r.out, r.sql[r.written:start]...)
		if start > 0 && with == redactedLiteral && !standsFree(r.sql[start-1]) {
			r.out = append(r.out, ' ')
		}
		r.out = append(r.out, with...)
		if end < len(r.sql) && r.sql[end] == '\'' {
			r.out = append(r.out, ' ')
		}
	}
	r.written, r.changed = end, true
}

// standsFree reports whether a literal may directly follow this byte. After a letter, for example, it would be read as E'…'.
func standsFree(before byte) bool {
	return classes[before]&space != 0 || before == '(' || before == ',' || before == '='
}

// replaceRest replaces the rest, up to the end of the enclosing parentheses.
func (r *redactor) replaceRest() {
	before := r.lexer
	first := r.next()
	last := first
	for depth, t := 0, first; t.kind != endOfText; t = r.next() {
		if r.is(t, '(') {
			depth++
		} else if r.is(t, ')') {
			depth--
		}
		if depth < 0 {
			break
		}
		before, last = r.lexer, t
	}
	r.lexer, r.last, r.set, r.subject = before, last, false, false
	if rest := r.sql[first.start:last.end]; last.end == before.pos && len(rest) > 0 && string(rest) != redactedLiteral {
		r.replace(first.start, last.end, redactedLiteral)
	}
}
