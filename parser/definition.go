package parser

import (
	"slices"
	"strings"
)

// definition reads CREATE, ALTER and DROP after their first word.
func (p *phrase) definition(s *Statement, first string) {
	s.Note = Always
	object := ""
	s.Verb, object = p.object(first)
	create, alter := first == "CREATE", first == "ALTER"
	switch object {
	case "SYSTEM", "SUBSCRIPTION":
		s.Note = After
	case "DATABASE", "TABLESPACE":
		if !alter || object == "DATABASE" && p.find("TABLESPACE") != "" {
			s.Note = After
		}
	case "INDEX":
		if !alter && p.isWord(p.token, "CONCURRENTLY") || create && p.mentions("TIMESCALEDB") {
			s.Note = After
		}
	case "MATERIALIZED VIEW", "EXTENSION": // TimescaleDB fills its views in transactions of its own, and must be loaded by the first command of a session
		if (create || alter) && p.mentions("TIMESCALEDB") {
			s.Note = After
		}
	case "TABLE":
		if alter && p.find("DETACH") != "" && p.find("CONCURRENTLY") != "" {
			s.Note = After
		}
		if create && p.find("AS") != "" {
			s.Verb = "CREATE TABLE AS"
			if p.advance(); p.accept("EXECUTE") {
				s.Name = p.name()
			}
		}
	}
}

// firesNoTrigger lists the kinds of objects whose commands fire no event trigger, because they belong to the whole cluster ("Overview of Event Trigger
// Behavior", PostgreSQL documentation 38.1).
var firesNoTrigger = []string{"DATABASE", "TABLESPACE", "ROLE", "SYSTEM", "EVENT TRIGGER", "LARGE OBJECT"}

// IsDDL reports whether event triggers fire for the statement.
func (s *Statement) IsDDL() bool {
	first, kind, _ := strings.Cut(s.Verb, " ")
	switch first {
	case "CREATE", "ALTER", "DROP":
		return kind != "" && !slices.Contains(firesNoTrigger, kind)
	case "COMMENT", "GRANT", "REVOKE":
		return true
	}
	return s.Verb == "SELECT INTO" || s.Verb == "SECURITY LABEL" || s.Verb == "REFRESH MATERIALIZED VIEW" || s.Verb == "IMPORT FOREIGN SCHEMA"
}

// object reads a kind of object of up to four words. It returns the command's name ("ALTER FOREIGN DATA WRAPPER") and the kind; for an
// unknown kind, the first word and "".
func (p *phrase) object(first string) (verb, kind string) {
	verb = first
	if first == "CREATE" {
		for p.acceptAny("OR", "REPLACE", "GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "UNIQUE", "RECURSIVE",
			"TRUSTED", "PROCEDURAL", "CONSTRAINT") {
		}
	}
	var buf [64]byte
	key := append(append(buf[:0], first...), ' ')
	ahead, best := *p, *p
	for range 4 {
		key = append(key, ahead.word()...)
		ahead.advance()
		if d, ok := definitions[string(key)]; ok {
			verb, kind, best = d.verb, d.kind, ahead
		}
		key = append(key, ' ')
	}
	*p = best
	return verb, kind
}

// Created returns the name of the object that a CREATE command makes, without its schema, as it is written; nil if it cannot be found.
func Created(sql []byte, lexis Lexis) []byte {
	p := newPhrase(sql, lexis)
	if !p.accept("CREATE") {
		return nil
	}
	if _, kind := p.object("CREATE"); kind == "" {
		return nil
	}
	if ahead := p; ahead.accept("IF") && ahead.accept("NOT") && ahead.accept("EXISTS") { // IF alone is a name
		p = ahead
	}
	for p.kind == word || p.kind == quoted || p.kind == operator {
		if name := p.advance(); !p.acceptSymbol('.') {
			return p.text(name)
		}
	}
	return nil
}

// definitionName is the name of a command and the kind of object it applies to.
type definitionName struct{ verb, kind string }

// definitions has the commands by their leading words ("CREATE TABLE"). USER and GROUP mean ROLE.
var definitions = func() map[string]definitionName {
	names := map[string]definitionName{}
	for _, verb := range []string{"CREATE ", "ALTER ", "DROP "} {
		for _, kind := range []string{
			"ACCESS METHOD", "AGGREGATE", "CAST", "COLLATION", "CONVERSION", "DATABASE", "DEFAULT CONVERSION",
			"DEFAULT PRIVILEGES", "DOMAIN", "EVENT TRIGGER", "EXTENSION", "FOREIGN DATA WRAPPER", "FOREIGN TABLE",
			"FUNCTION", "INDEX", "LANGUAGE", "LARGE OBJECT", "MATERIALIZED VIEW", "OPERATOR", "OPERATOR CLASS",
			"OPERATOR FAMILY", "OWNED", "POLICY", "PROCEDURE", "PUBLICATION", "ROLE", "ROUTINE", "RULE", "SCHEMA",
			"SEQUENCE", "SERVER", "STATISTICS", "SUBSCRIPTION", "SYSTEM", "TABLE", "TABLESPACE",
			"TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
			"TRANSFORM", "TRIGGER", "TYPE", "USER MAPPING", "VIEW",
		} {
			names[verb+kind] = definitionName{verb + kind, kind}
		}
		names[verb+"USER"] = definitionName{verb + "ROLE", "ROLE"}
		names[verb+"GROUP"] = definitionName{verb + "ROLE", "ROLE"}
	}
	return names
}()
