package parser

// phrase reads a statement word by word.
type phrase struct {
	lexer
	token
}

func newPhrase(text []byte, lexis Lexis) phrase {
	p := phrase{lexer: lexer{sql: text, lexis: lexis}}
	p.advance()
	return p
}

// advance moves to the next token and returns the previous one.
func (p *phrase) advance() (left token) {
	left, p.token = p.token, p.next()
	return left
}

// word returns the current token in capitals if it is a known keyword, else "".
func (p *phrase) word() string {
	if p.kind != word {
		return ""
	}
	return keywords.find(p.text(p.token))
}

// setting is like word, for the name of a setting, which may be quoted.
func (p *phrase) setting() string {
	if p.kind == quoted {
		return keywords.find(p.quotedName(p.token))
	}
	return p.word()
}

// accept skips the current token if it is the given keyword.
func (p *phrase) accept(keyword string) bool {
	if !p.isWord(p.token, keyword) {
		return false
	}
	p.advance()
	return true
}

// acceptSymbol skips the current token if it is the one-byte symbol c.
func (p *phrase) acceptSymbol(c byte) bool {
	if !p.is(p.token, c) {
		return false
	}
	p.advance()
	return true
}

// acceptAny skips the current token if it is one of the given keywords.
func (p *phrase) acceptAny(keywords ...string) bool {
	for _, k := range keywords {
		if p.accept(k) {
			return true
		}
	}
	return false
}

// ends reports whether no token is left.
func (p *phrase) ends() bool { return p.kind == endOfText || p.kind == unreadable }

// find moves to the first of the given keywords outside parentheses and returns it, or "" at the end. A word after a dot is a name, not a keyword.
func (p *phrase) find(words ...string) string {
	var last token
	for depth := 0; !p.ends(); last = p.advance() {
		switch {
		case p.is(p.token, '('):
			depth++
		case p.is(p.token, ')'):
			depth--
		case depth == 0 && !p.is(last, '.'):
			for _, w := range words {
				if p.isWord(p.token, w) {
					return w
				}
			}
		}
	}
	return ""
}

// mentions reports whether an identifier, given in capitals, occurs from here on, quoted or not.
func (p *phrase) mentions(identifier string) bool {
	for ahead := *p; !ahead.ends(); ahead.advance() {
		if ahead.isNamed(ahead.token, identifier) {
			return true
		}
	}
	return false
}

// isNamed reports whether a token is this identifier, given in capitals, quoted or not. It ignores case.
func (p *phrase) isNamed(t token, identifier string) bool {
	if t.kind != quoted {
		return p.isWord(t, identifier)
	}
	name := p.quotedName(t)
	return len(name) == len(identifier) && equalFold(name, identifier)
}

// skipParens skips the group in parentheses that starts here and returns its last token.
func (p *phrase) skipParens() (last token) {
	for depth := 0; !p.ends(); {
		switch {
		case p.is(p.token, '('):
			depth++
		case p.is(p.token, ')'):
			depth--
		}
		if last = p.advance(); depth == 0 {
			break
		}
	}
	return last
}
