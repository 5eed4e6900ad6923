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
			name = name[:min(len(name), maxName)]
		default:
			continue
		}
		if !each(name) {
			return false
		}
	}
}

// IsOperator reports whether one of Names is an operator.
func IsOperator(name []byte) bool { return len(name) > 0 && classes[name[0]]&opChar != 0 }

// IsReserved reports whether one of Names can name nothing unless it stands in quotes ("SQL Key Words", PostgreSQL documentation, appendix C).
func IsReserved(name []byte) bool { return reserved.find(name) != "" }

var reserved = newWordSet(`
ALL ANALYSE ANALYZE AND ANY ARRAY AS ASC ASYMMETRIC BOTH CASE CAST CHECK COLLATE COLUMN CONSTRAINT CREATE CURRENT_CATALOG
CURRENT_DATE CURRENT_ROLE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER DEFAULT DEFERRABLE DESC DISTINCT DO ELSE END EXCEPT FALSE
FETCH FOR FOREIGN FROM GRANT GROUP HAVING IN INITIALLY INTERSECT INTO LATERAL LEADING LIMIT LOCALTIME LOCALTIMESTAMP NOT NULL
OFFSET ON ONLY OR ORDER PLACING PRIMARY REFERENCES RETURNING SELECT SESSION_USER SOME SYMMETRIC SYSTEM_USER TABLE THEN TO
TRAILING TRUE UNION UNIQUE USER USING VARIADIC WHEN WHERE WINDOW WITH`)
