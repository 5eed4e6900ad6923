package parser

// startsQuery reports whether a query starts at the current token: SELECT, VALUES, TABLE, WITH, or a parenthesis.
func (p *phrase) startsQuery() bool {
	switch p.word() {
	case "SELECT", "VALUES", "TABLE", "WITH":
		return true
	}
	return p.is(p.token, '(')
}

// query reads the statement inside PREPARE, COPY or EXPLAIN: from the current token to the end of the text.
func (p *phrase) query() (verb string, need Need) {
	switch first := p.word(); first {
	case "INSERT", "UPDATE", "DELETE", "MERGE":
		return first, Always
	}
	if !p.startsQuery() {
		return "", IfNoted
	}
	text := p.sql[p.start:]
	hints := p.hints()
	verb, need = "SELECT", Never
	switch {
	case hints.with && hints.writes:
		verb, need = classifyByGrammar(text, p.lexis)
	case hints.into:
		verb, need = "SELECT INTO", Always
	}
	if calls := hints.need(); calls == Always || need == Never {
		need = calls
	}
	return verb, need
}

// hints is what the tokens of a query show about it.
type hints struct {
	with   bool // the word WITH
	writes bool // after WITH, a word INSERT, UPDATE, DELETE or MERGE that may be a verb
	into   bool // the word INTO, which is reserved
	calls  bool // a call of a function that is not in harmless

	publishes bool // a call of pgtee.publish(), which writes an event
}

// need returns what the calls need.
func (h hints) need() Need {
	switch {
	case h.publishes:
		return Always
	case h.calls:
		return IfNoted
	}
	return Never
}

// hints reads the query to its end.
func (p *phrase) hints() (h hints) {
	var last [4]token // the tokens before the current one, the nearest first
	for ; !p.ends(); p.advance() {
		switch {
		case p.is(p.token, '('):
			h.calls = h.calls || p.isCall(last)
			h.publishes = h.publishes || p.isNamed(last[0], "PUBLISH") && p.is(last[1], '.') && p.isNamed(last[2], "PGTEE")
		case p.kind == word && !p.is(last[0], '.') && !p.isWord(last[0], "AS"):
			h.with = h.with || p.isWord(p.token, "WITH")
			h.into = h.into || p.isWord(p.token, "INTO")
			h.writes = h.writes || h.with && p.isWrite(last[0])
		}
		last = [4]token{p.token, last[0], last[1], last[2]}
	}
	return h
}

// isWrite reports whether the current word may be the verb of a write. It is not in FOR UPDATE and FOR NO KEY UPDATE.
func (p *phrase) isWrite(before token) bool {
	switch p.word() {
	case "UPDATE":
		return !p.isWord(before, "FOR") && !p.isWord(before, "KEY")
	case "INSERT", "DELETE", "MERGE":
		return true
	}
	return false
}

// isCall reports whether the current parenthesis, which follows these tokens, may open the arguments of a function that writes.
func (p *phrase) isCall(last [4]token) bool {
	name := last[0]
	if name.kind != word && name.kind != quoted {
		return false
	}
	if p.is(last[1], '.') {
		catalog := p.isWord(last[2], "PG_CATALOG") && !p.is(last[3], '.')
		return !catalog || name.kind == quoted || harmless.find(p.text(name)) == ""
	}
	cast := p.is(last[1], ':') && p.is(last[2], ':')
	if cast || p.isWord(last[1], "AS") || p.isWord(last[1], "WITH") || p.isWord(last[1], "RECURSIVE") {
		return false // a length after a type, or column names after an alias
	}
	if name.kind == quoted {
		return true
	}
	switch {
	case p.isWord(name, "OVER"), p.isWord(name, "FILTER"):
		return !p.is(last[1], ')')
	case p.isWord(name, "BY"):
		return !p.isWord(last[1], "GROUP") && !p.isWord(last[1], "ORDER") && !p.isWord(last[1], "PARTITION")
	case p.isWord(name, "MATERIALIZED"):
		return !p.isWord(last[1], "NOT") || !p.isWord(last[2], "AS")
	}
	return harmless.find(p.text(name)) == "" && notFunctions.find(p.text(name)) == ""
}

// notFunctions are words after which a parenthesis does not open the arguments of a user's function: reserved words, and words that the grammar itself
// reads as a function or a type.
var notFunctions = newWordSet(`
ALL AND ANY ARRAY AS ASYMMETRIC BETWEEN BIGINT BIT BOOLEAN CASE CAST CHAR CHARACTER CHECK COALESCE COLLATE CURRENT_SCHEMA
CURRENT_TIME CURRENT_TIMESTAMP DEC DECIMAL DISTINCT ELSE EXCEPT EXISTS EXTRACT FETCH FLOAT FOR FROM GREATEST GROUP GROUPING
HAVING ILIKE IN INT INTEGER INTERSECT INTERVAL JOIN LATERAL LEAST LEFT LIKE LIMIT LOCALTIME LOCALTIMESTAMP NCHAR NORMALIZE NOT
NULLIF NUMERIC OFFSET ON ONLY OR OVERLAPS OVERLAY POSITION PRECISION REAL RIGHT ROW SELECT SIMILAR SMALLINT SOME SUBSTRING
SYMMETRIC THEN TIME TIMESTAMP TREAT TRIM UNION USING VALUES VARCHAR VARIADIC WHEN WHERE WITH XMLATTRIBUTES XMLCONCAT XMLELEMENT
XMLEXISTS XMLFOREST XMLNAMESPACES XMLPARSE XMLPI XMLROOT XMLSERIALIZE XMLTABLE`)
