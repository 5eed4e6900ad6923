package parser

import "bytes"

// Names reads every identifier and keyword of a text, as PostgreSQL folds them, and every operator. It does not allocate.
type Names struct {
	lexer
	folded [maxName]byte
	last   token // the last token
	typed  bool  // the last name, or the qualified one that it belongs to, is where that of a type may be
}

// NewNames reads sql, which it neither keeps nor changes.
func NewNames(sql []byte, lexis Lexis) Names { return Names{lexer: newLexer(sql, lexis)} }

// Readable reports whether Next has returned all names. It stops early at text that cannot be read, and at a quoted identifier with escapes or doubled
// quotes, which it does not decode. Call Readable once Next has returned false.
func (n *Names) Readable() bool { return !n.bad }

// Next returns the next name; its bytes are valid until the next call.
func (n *Names) Next() (name []byte, ok bool) {
	for {
		t := n.next()
		if !n.is(n.last, '.') && (t.kind == word || t.kind == quoted) {
			n.typed = n.precedesType(n.last)
		}
		n.last = t
		name := n.text(t)
		switch t.kind {
		case endOfText, unreadable:
			return nil, false
		case word:
			name = n.folded[:copy(n.folded[:], name)]
			for i, c := range name {
				name[i] = lower(c)
			}
		case quoted:
			escaped := name[0] != '"'
			if name = unquote(name); escaped || bytes.IndexByte(name, '"') >= 0 {
				n.fail()
				return nil, false
			}
			name = name[:min(len(name), maxName)]
		case operator:
			name = name[:min(len(name), maxName)]
		default:
			continue
		}
		return name, true
	}
}

// precedesType reports whether the name of a type may follow a token: in a cast, or after the name of a column.
func (n *Names) precedesType(t token) bool {
	switch t.kind {
	case symbol:
		return n.is(t, ':')
	case word:
		return n.isWord(t, "AS") || !n.isWord(t, "JOIN") && !n.isWord(t, "COPY") && !IsReserved(n.text(t))
	}
	return t.kind == quoted
}

// IsType reports whether the name that Next has returned last may be that of a type.
func (n *Names) IsType() bool {
	ahead := n.lexer
	return n.typed || ahead.next().kind == literal
}

// IsOperator reports whether a name returned by Names is an operator.
func IsOperator(name []byte) bool { return len(name) > 0 && classes[name[0]]&opChar != 0 }

// IsReserved reports whether a name returned by Names can be an identifier only in quotes ("SQL Key Words", PostgreSQL documentation, appendix C).
func IsReserved(name []byte) bool { return reserved.find(name) != "" }

var reserved = newWordSet(`
ALL ANALYSE ANALYZE AND ANY ARRAY AS ASC ASYMMETRIC BOTH CASE CAST CHECK COLLATE COLUMN CONSTRAINT CREATE CURRENT_CATALOG
CURRENT_DATE CURRENT_ROLE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DEFAULT DEFERRABLE DESC DISTINCT DO ELSE END EXCEPT FALSE
FETCH FOR FOREIGN FROM GRANT GROUP HAVING IN INITIALLY INTERSECT INTO LATERAL LEADING LIMIT LOCALTIME LOCALTIMESTAMP NOT NULL
OFFSET ON ONLY OR ORDER PLACING PRIMARY REFERENCES RETURNING SELECT SESSION_USER SOME SYMMETRIC SYSTEM_USER TABLE THEN TO
TRAILING TRUE UNION UNIQUE USER USING VARIADIC WHEN WHERE WINDOW WITH`)
