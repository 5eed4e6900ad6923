package parser

// Names calls each with every identifier and keyword of a text, as PostgreSQL folds it, and with every operator. It stops, and is
// false, where each says so, at a text that cannot be read, and at an identifier whose name only the server knows: one with escapes.
// The bytes are valid during the call.
func Names(sql []byte, lexis Lexis, each func(name []byte) bool) bool {
	l := newLexer(sql, lexis)
	var folded [maxName]byte
	for {
		t := l.next()
		name := l.text(t)
		switch t.kind {
		case endOfText:
			return true
		case unreadable:
			return false
		case word:
			name = folded[:copy(folded[:], name)]
			for i, c := range name {
				name[i] = lower(c)
			}
		case quoted:
			if name[0] != '"' {
				return false
			}
			name = unquote(name)
			for _, c := range name {
				if c == '"' {
					return false
				}
			}
			name = name[:min(len(name), maxName)]
		case operator:
		default:
			continue
		}
		if !each(name) {
			return false
		}
	}
}
