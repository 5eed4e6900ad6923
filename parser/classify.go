package parser

import "bytes"

// classify determines what a statement does from its first words.
//
// Text alone cannot show everything: operators, casts, views, policies and t.f for f(t) may call functions that write, and a search_path may replace
// a built-in function.
func classify(s *Statement, text []byte, lexis Lexis) {
	classifyCommand(s, text, lexis)
	s.Sets = s.Sets || (s.Note != Never || s.Inner != Never) && mentionsSetConfig(text)
	if s.Note != Never && s.Tx == NoEffect && !s.IsDDL() && DeclaresHold(text) {
		s.Tx = Hold
	}
}

// DeclaresHold reports whether a text has the words WITH HOLD, in code that it runs for example.
func DeclaresHold(text []byte) bool {
	for i := len("WITH "); i+len("HOLD") <= len(text); i++ {
		if upper(text[i]) != 'H' || classes[text[i-1]]&space == 0 || !equalFold(text[i:i+len("HOLD")], "HOLD") {
			continue
		}
		if before := bytes.TrimRight(text[:i], blanks); len(before) >= len("WITH") && equalFold(before[len(before)-len("WITH"):], "WITH") {
			return true
		}
	}
	return false
}

// mentionsSetConfig reports whether a text contains set_config, in any case.
func mentionsSetConfig(text []byte) bool {
	for from := 0; ; {
		at := bytes.IndexByte(text[from:], '_')
		if at < 0 {
			return false
		}
		if around(text, from+at, len("SET"), "SET_CONFIG") {
			return true
		}
		from += at + 1
	}
}

func classifyCommand(s *Statement, text []byte, lexis Lexis) {
	p := newPhrase(text, lexis)
	first := p.word()
	if c, ok := commands[first]; ok {
		s.Verb, s.Note = c.verb, c.need
		if first == "FETCH" || first == "MOVE" {
			s.Tx = Fetch
		}
		return
	}
	if p.startsQuery() {
		s.Verb, s.Note = p.query()
		return
	}
	p.advance()
	switch first {
	case "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE":
		p.transaction(s, first)
	case "PREPARE", "EXECUTE", "DEALLOCATE":
		p.prepared(s, first)
	case "SET", "RESET", "DISCARD":
		p.session(s, first)
	case "CREATE", "ALTER", "DROP":
		p.definition(s, first)
	case "EXPLAIN":
		p.explain(s)
	case "COPY":
		s.Verb, s.Note = "COPY", p.copy()
	case "DECLARE":
		s.Verb, s.Note = "DECLARE CURSOR", Never // its query runs at FETCH
		if p.find("WITH", "FOR") == "WITH" {
			s.Tx = Hold
		}
	default:
		s.Note = IfNoted
	}
}

// command is a statement whose first word is enough to classify it.
type command struct {
	verb string
	need Need
}

// commands has the statements whose first word is enough to classify them.
var commands = map[string]command{
	"INSERT":   {"INSERT", Always},
	"UPDATE":   {"UPDATE", Always},
	"DELETE":   {"DELETE", Always},
	"MERGE":    {"MERGE", Always},
	"TRUNCATE": {"TRUNCATE", Always},

	"COMMENT":  {"COMMENT", Always},
	"GRANT":    {"GRANT", Always},
	"IMPORT":   {"IMPORT FOREIGN SCHEMA", Always},
	"REASSIGN": {"REASSIGN OWNED", Always},
	"REFRESH":  {"REFRESH MATERIALIZED VIEW", Always},
	"REVOKE":   {"REVOKE", Always},
	"SECURITY": {"SECURITY LABEL", Always},

	"ANALYSE":    {"ANALYZE", Never},
	"ANALYZE":    {"ANALYZE", Never},
	"CHECKPOINT": {"CHECKPOINT", Never},
	"CLOSE":      {"CLOSE", Never},
	"LISTEN":     {"LISTEN", Never},
	"LOAD":       {"LOAD", Never},
	"LOCK":       {"LOCK", Never},
	"NOTIFY":     {"NOTIFY", Never},
	"SHOW":       {"SHOW", Never},
	"UNLISTEN":   {"UNLISTEN", Never},

	// Some forms of these can run in a transaction block, but only the catalog shows which (partitioned or not).
	"CLUSTER": {"CLUSTER", After},
	"REINDEX": {"REINDEX", After},
	"REPACK":  {"REPACK", After},
	"VACUUM":  {"VACUUM", After},

	"CALL": {"CALL", InBlock},
	"DO":   {"DO", InBlock},

	"FETCH": {"FETCH", IfNoted},
	"MOVE":  {"MOVE", IfNoted},
}

// transaction reads transaction control after its first word.
func (p *phrase) transaction(s *Statement, first string) {
	s.Verb = first
	switch first {
	case "BEGIN":
		s.Tx = Begin
	case "START":
		s.Verb, s.Tx = "START TRANSACTION", Begin
	case "SAVEPOINT":
		s.Tx = Savepoint
	case "RELEASE":
		s.Tx = Release
	case "COMMIT", "END":
		s.Verb, s.Tx = p.ending("COMMIT", Commit, CommitChain)
	case "ROLLBACK", "ABORT":
		s.Verb, s.Tx = p.ending("ROLLBACK", Rollback, RollbackChain)
	}
}

// ending reads what follows COMMIT or ROLLBACK: [WORK | TRANSACTION] [AND [NO] CHAIN | TO [SAVEPOINT] name], or PREPARED, which ends a transaction
// that is not the session's current one.
func (p *phrase) ending(verb string, plain, chain Effect) (string, Effect) {
	if p.accept("PREPARED") {
		return verb + " PREPARED", NoEffect
	}
	p.acceptAny("WORK", "TRANSACTION")
	if p.accept("TO") {
		return verb, RollbackTo
	}
	if p.accept("AND") && p.accept("CHAIN") {
		return verb, chain
	}
	return verb, plain
}

// prepared reads PREPARE, EXECUTE and DEALLOCATE after their first word.
func (p *phrase) prepared(s *Statement, first string) {
	s.Verb = first
	switch first {
	case "PREPARE":
		p.prepare(s)
	case "EXECUTE":
		s.Note, s.Tx = InBlock, Execute
		p.execute(s)
	case "DEALLOCATE":
		p.accept("PREPARE")
		if p.isWord(p.token, "ALL") {
			s.Verb, s.Tx = "DEALLOCATE ALL", DeallocateAll
			return
		}
		s.Tx, s.Name = Deallocate, p.name()
	}
}

// execute reads EXECUTE after its first word: a name, and arguments, which PostgreSQL evaluates before it looks at the statement of that name.
func (p *phrase) execute(s *Statement) {
	s.Name = p.name()
	p.advance()
	s.Inner = p.hints().need()
}

// prepare reads PREPARE TRANSACTION 'gid' and PREPARE name [(types)] AS query.
func (p *phrase) prepare(s *Statement) {
	s.Name = p.name()
	transaction := p.accept("TRANSACTION")
	if transaction && p.kind == literal {
		s.Verb, s.Tx, s.Name = "PREPARE TRANSACTION", PrepareTransaction, ""
		return
	}
	s.Tx, s.Inner = Prepare, IfNoted
	if p.find("AS") == "" {
		return
	}
	p.advance()
	_, s.Inner = p.query()
}

// session reads SET, RESET and DISCARD after their first word.
func (p *phrase) session(s *Statement, first string) {
	s.Verb, s.Sets = first, true
	switch first {
	case "DISCARD":
		if p.accept("ALL") {
			s.Verb, s.Tx = "DISCARD ALL", DiscardAll
		}
		return
	case "SET":
		p.accept("LOCAL")
	}
	if p.accept("SESSION") && p.isWord(p.token, "SESSION") {
		p.advance()
	}
	switch p.setting() {
	case "ROLE":
		s.Tx = SetRole
	case "AUTHORIZATION", "SESSION_AUTHORIZATION":
		s.Tx = SetUser
	case "NAMES", "CLIENT_ENCODING":
		s.Tx = SetEncoding
	case "ALL":
		s.Tx = SetEncoding // RESET ALL does not reset the role
	case "CONSTRAINTS":
		s.Verb = "SET CONSTRAINTS"
		if p.mentions("IMMEDIATE") {
			s.Note, s.Tx = IfNoted, Fire
		}
	}
}

// explain reads EXPLAIN after its first word. With ANALYZE it does what the explained statement does.
func (p *phrase) explain(s *Statement) {
	s.Verb = "EXPLAIN"
	runs := p.analyzes()
	for p.acceptAny("ANALYZE", "ANALYSE", "VERBOSE") {
	}
	if !runs {
		if p.accept("EXECUTE") {
			p.execute(s)
			s.Note, s.Inner = s.Inner, Never
		}
		return
	}
	switch {
	case p.startsQuery():
		_, s.Note = p.query()
	case p.accept("EXECUTE"):
		s.Note, s.Tx = InBlock, Execute
		p.execute(s)
	case p.acceptAny("INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "REFRESH"):
		s.Note = Always
	default:
		s.Note = IfNoted
	}
}

// analyzes reports whether the options of EXPLAIN contain ANALYZE, and skips a list of options in parentheses. If an option is given twice, the last
// one counts.
func (p *phrase) analyzes() bool {
	if !p.is(p.token, '(') || p.opensQuery() {
		return p.isWord(p.token, "ANALYZE") || p.isWord(p.token, "ANALYSE")
	}
	runs := false
	p.advance()
	for !p.ends() && !p.acceptSymbol(')') {
		if p.isNamed(p.token, "ANALYZE") || p.isNamed(p.token, "ANALYSE") {
			p.advance()
			runs = !p.isFalse()
			continue
		}
		p.advance()
	}
	return runs
}

// opensQuery reports whether the current parenthesis opens a query instead of a list of options.
func (p *phrase) opensQuery() bool {
	ahead := *p
	for ahead.acceptSymbol('(') {
	}
	switch ahead.word() {
	case "SELECT", "VALUES", "WITH", "TABLE":
		return true
	}
	return false
}

// isFalse reports whether the current token switches an option off.
func (p *phrase) isFalse() bool {
	text := p.text(p.token)
	if p.kind == literal || p.kind == quoted {
		text = unquote(text)
	}
	return string(text) == "0" || len(text) == 3 && equalFold(text, "OFF") || len(text) == 5 && equalFold(text, "FALSE")
}

// CopiesIn reports whether a COPY reads from the client.
func CopiesIn(sql []byte, lexis Lexis) bool {
	p := newPhrase(sql, lexis)
	if !p.accept("COPY") || p.is(p.token, '(') || p.find("FROM", "TO") != "FROM" {
		return false
	}
	p.advance()
	return p.kind != literal && !p.isWord(p.token, "PROGRAM")
}

// copy reads COPY after its first word.
func (p *phrase) copy() Need {
	if p.is(p.token, '(') {
		open := p.token.end
		inner := newPhrase(p.sql[open:p.skipParens().start], p.lexis)
		_, need := inner.query()
		return need
	}
	switch p.find("FROM", "TO") {
	case "FROM":
		return Always
	case "TO":
		return Never
	}
	return IfNoted
}
