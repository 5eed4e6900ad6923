package parser

import "slices"

// Objects are the objects that a CREATE, ALTER or DROP command names.
type Objects struct {
	Names [][]string // after the command; each preceded by its schema, if the command has that; as PostgreSQL folds them

	// Optional reports whether the command may succeed without creating, changing or dropping an object: IF EXISTS, IF NOT EXISTS. Temporary objects do
	// not count.
	Optional bool

	// Moved reports whether the command moves an object from the schema where the search_path finds it to another one, which is the schema in Names.
	Moved bool
}

// namedKinds are the kinds of objects whose names ObjectsOf returns.
var namedKinds = []string{
	"AGGREGATE", "COLLATION", "CONVERSION", "DOMAIN", "EXTENSION", "FOREIGN TABLE", "FUNCTION", "INDEX", "MATERIALIZED VIEW", "POLICY", "PROCEDURE", "ROUTINE", "RULE",
	"SCHEMA", "SEQUENCE", "STATISTICS", "TABLE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE", "TRIGGER", "TYPE",
	"VIEW",
}

// ObjectsOf returns the objects that a command names. It returns no names for objects of other kinds, and if the command leaves the name to the server
// (CREATE INDEX ON t).
func ObjectsOf(sql []byte, lexis Lexis) (o Objects) {
	p := newPhrase(sql, lexis)
	first := p.word()
	if first != "CREATE" && first != "ALTER" && first != "DROP" {
		return o
	}
	p.advance()
	ahead := p
	for ahead.acceptAny("OR", "REPLACE", "GLOBAL", "LOCAL") {
	}
	o.Optional = first == "CREATE" && ahead.acceptAny("TEMP", "TEMPORARY")
	_, kind := p.object(first)
	if !slices.Contains(namedKinds, kind) {
		return o
	}
	p.accept("CONCURRENTLY")
	if ahead := p; ahead.accept("IF") { // IF alone is a name
		ahead.accept("NOT")
		if ahead.accept("EXISTS") {
			p, o.Optional = ahead, true
		}
	}
	p.accept("ONLY")
	for {
		name := p.qualifiedName()
		if name == nil {
			return o
		}
		o.Names = append(o.Names, name)
		if p.is(p.token, '(') { // the arguments of a function
			p.skipParens()
		}
		if first != "DROP" || !p.acceptSymbol(',') {
			break
		}
	}
	if first == "ALTER" {
		o.Names[0], o.Moved = p.newName(o.Names[0])
		o.Moved = o.Moved && kind != "EXTENSION" // its own name has no schema
	}
	return o
}

// qualifiedName reads the name of an object, with its schema if there is one; nil if there is no name.
func (p *phrase) qualifiedName() (parts []string) {
	if p.kind == word && (IsReserved(p.text(p.token)) || p.isWord(p.token, "AUTHORIZATION")) {
		return nil
	}
	for p.kind == word || p.kind == quoted {
		parts = append(parts, p.name())
		if p.advance(); !p.acceptSymbol('.') {
			return parts
		}
	}
	return nil
}

// newName reads what follows the name in an ALTER command and returns the name that the object has afterwards. moved reports whether that has a schema and
// the name before had none.
func (p *phrase) newName(name []string) (after []string, moved bool) {
	if p.accept("ON") { // the table of a trigger
		p.qualifiedName()
	}
	last := len(name) - 1
	if p.accept("RENAME") && p.accept("TO") {
		return append(slices.Clone(name[:last]), p.name()), false
	}
	if p.accept("SET") && p.accept("SCHEMA") {
		return []string{p.name(), name[last]}, last == 0
	}
	return name, false
}
