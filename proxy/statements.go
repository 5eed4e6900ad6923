package proxy

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pgtee/pgtee/parser"
)

// statement says what a prepared statement does, determined once from its Parse or PREPARE. Only the fields from made on change later.
type statement struct {
	need       parser.Need
	effects    effects
	unreadable bool // it may do anything
	copies     bool // COPY FROM STDIN, or possibly so: then the server waits for copy data
	looks      bool // it reads the session's prepared statements
	early      bool // its Parse or Bind may run functions of the client, if there are any
	alone      bool // result of either: the server refuses one of the two beside a note
	subject    subject
	hash       uint64 // of the text; 0 if the text was not seen completely
	place      place
	arguments  place      // arguments of an EXECUTE
	group      uint32     // group in which it was sent
	next       *statement // next statement that the same Query prepares

	made     atomic.Bool // its ParseComplete, or the command tag of its PREPARE, has been received
	failed   atomic.Bool // it was refused or skipped: the name still refers to previous
	previous *statement
	closed   bool // its Close or DEALLOCATE has been sent, which the server may have skipped
	doubts   int  // value of statements.doubts when it was sent
}

// effects says what a statement does besides reading and writing rows.
type effects struct {
	tx    parser.Effect
	name  string      // the name in an SQL PREPARE, EXECUTE or DEALLOCATE
	inner parser.Need // need of the statement in an SQL PREPARE, or of the arguments of an EXECUTE
	calls bool        // it calls user-defined functions, which may run DEALLOCATE ALL
	fires bool        // the same if there are triggers, or functions in defaults and the like
	snaps bool        // it takes a snapshot for certain
	sets  bool        // it may change a setting that notes contain
}

func effectsOf(st *parser.Statement) effects {
	calls := st.Note == parser.IfNoted || st.Note == parser.InBlock || st.Verb == "DO"
	snaps := st.Verb == "SELECT" || st.Verb == "DECLARE CURSOR" || st.Verb != "" && st.Note != parser.Never && (st.Tx == parser.NoEffect || st.Tx == parser.Hold)
	return effects{st.Tx, strings.Clone(st.Name[:min(len(st.Name), maxName)]), st.Inner, calls, st.Note == parser.Always, snaps, st.Sets}
}

// reads reports whether a statement reads the text of a prepared one, to run or to explain it.
func (e *effects) reads() bool {
	return e.name != "" && (e.tx == parser.Execute || e.tx == parser.NoEffect)
}

// fail records that s, and the statements that its Query prepares after it, were refused or skipped. It may be called on nil.
func (s *statement) fail() {
	for ; s != nil; s = s.next {
		s.failed.Store(true)
	}
}

// succeed records that s was created. It may be called on nil.
func (s *statement) succeed() {
	if s != nil {
		s.made.Store(true)
	}
}

// portal is a bound statement.
type portal struct {
	statement *statement
	before    *statement // what it may run instead, if the server has refused or skipped its Bind; nil: nothing
	group     uint32     // group in which its Bind was sent
	number    uint32     // that of the client's statement; 0 before its first Execute
	done      bool       // its first Execute, or its Close, has been sent
}

const (
	maxStatements     = 16 << 10
	maxStatementBytes = 4 << 20 // size of the texts of one session's statements
	maxPortals        = 4 << 10
	maxMeanings       = 32 // statements to which one name may refer while replies are outstanding
	maxExecutes       = 8  // depth of EXECUTEs that run one another
	maxName           = 63 // NAMEDATALEN-1: PostgreSQL distinguishes names by that many bytes
)

// unknown returns a statement about which nothing is known: it counts as a write.
func unknown() *statement { return &statement{need: parser.Always, unreadable: true, early: true} }

// unknownStatement is used for a statement that the proxy has not seen, because a function prepared it or there was no room for it.
var unknownStatement = unknown()

// fetching is used for a portal whose Bind the proxy has not seen: a cursor.
var fetching = &statement{need: parser.IfNoted, unreadable: true, effects: effects{tx: parser.Fetch}}

// statements holds the prepared statements and portals of a session by the names that its requests use. One for which there is no room counts as
// unknown.
type statements struct {
	byName  map[string]*statement
	portals map[string]portal
	bytes   int  // size of the texts
	doubts  int  // how many statements have run that may have closed any of them
	dropped bool // some portals of this transaction are no longer known
}

func newStatements() *statements {
	return &statements{byName: map[string]*statement{}, portals: map[string]portal{}}
}

// cutName returns the significant part of a name. Names are kept, and a client may send long ones.
func cutName(name []byte) []byte { return name[:min(len(name), maxName)] }

// prepare records the statement to which a Parse or PREPARE gives a name.
func (s *statements) prepare(name []byte, st *statement, group uint32) {
	name = cutName(name)
	old := s.byName[string(name)]
	for old != nil && old.failed.Load() {
		s.bytes -= len(old.subject.sql)
		old = old.previous
	}
	if len(name) == 0 {
		old.close() // its next Parse replaces it
	}
	s.trim(old)
	if len(s.byName) >= maxStatements || s.bytes+len(st.subject.sql) > maxStatementBytes {
		s.sweep()
	}
	if old == nil && len(s.byName) >= maxStatements {
		return
	}
	if s.bytes+len(st.subject.sql) > maxStatementBytes {
		st.subject.sql, st.subject.flags = nil, 0
	}
	s.bytes += len(st.subject.sql)
	st.previous, st.group, st.doubts = old, group, s.doubts
	s.byName[string(name)] = st
}

// trim forgets statements to which a name can no longer refer: those before a statement that was created. If too many remain, the oldest become
// unknown.
func (s *statements) trim(st *statement) {
	for n := 1; st != nil; n++ {
		switch {
		case st.made.Load():
			s.drop(st.previous)
			st.previous = nil
		case n == maxMeanings && st.previous != nil:
			s.drop(st.previous)
			st.previous = unknown()
		}
		st = st.previous
	}
}

// drop subtracts the sizes of the texts of st and its predecessors.
func (s *statements) drop(st *statement) {
	for ; st != nil; st = st.previous {
		s.bytes -= len(st.subject.sql)
	}
}

// sweep makes room: closed statements no longer exist by now, and refused ones never did.
func (s *statements) sweep() {
	for name, st := range s.byName {
		if st.closed || st.failed.Load() && st.previous == nil {
			s.drop(st)
			delete(s.byName, name)
		}
	}
}

// find returns the statement to which a name refers in a request of this group.
func (s *statements) find(name []byte, group uint32) *statement {
	if st := s.byName[string(cutName(name))].meaning(group, s.doubts); st != nil {
		return st
	}
	return unknownStatement
}

// run returns the statement that an EXECUTE finally runs, if necessary through further EXECUTEs, and what their arguments need.
func (s *statements) run(e effects, group uint32) (_ *statement, arguments parser.Need) {
	for range maxExecutes {
		arguments = greater(arguments, e.inner)
		if e.name == "" {
			break // the name cannot be determined
		}
		st := s.find([]byte(e.name), group)
		if st.effects.tx != parser.Execute {
			return st, arguments
		}
		e = st.effects
	}
	return unknownStatement, arguments
}

// meaning returns the statement to which a name refers if its last Parse or PREPARE is s; nil means none. A statement that was created keeps its
// name: until it is closed, the server refuses another Parse of that name, even if the proxy has not received the error yet. Requests that follow s
// in its own group run only if s was created. Otherwise, or if the earlier statement may have been closed, the name may refer to either of them.
func (s *statement) meaning(group uint32, doubts int) *statement {
	if s == nil || s.made.Load() || s.group == group {
		return s
	}
	before := s.previous.meaning(group, doubts)
	switch {
	case s.failed.Load(), before != nil && before.made.Load() && !before.closed && before.doubts == doubts:
		return before
	case before == nil:
		return s
	}
	return either(before, s)
}

// either returns what is known about a statement that is one of two. This may cost an unnecessary note, but never omits one.
func either(a, b *statement) *statement {
	if a.hash != 0 && a.hash == b.hash {
		return b
	}
	return &statement{need: stronger(a, b).need, unreadable: true, early: a.early || b.early, alone: a.isAlone() || b.isAlone()}
}

// isAlone reports whether the server refuses to run s, or what s may be, beside a note.
func (s *statement) isAlone() bool { return s.alone || s.need == parser.After }

// stronger returns the statement with the greater need for a note. a may be nil.
func stronger(a, b *statement) *statement {
	if a == nil || a.need != b.need && greater(a.need, b.need) == b.need {
		return b
	}
	return a
}

func greater(a, b parser.Need) parser.Need {
	if slices.Index(needs, a) < slices.Index(needs, b) {
		return b
	}
	return a
}

// needs is ordered by the cost of the notes.
var needs = []parser.Need{parser.Never, parser.After, parser.IfNoted, parser.InBlock, parser.Always}

// deallocate records that a statement was closed. Its name keeps its meaning until it is parsed again: if the server has skipped the Close the
// statement still exists, and otherwise its next Bind fails.
func (s *statements) deallocate(name []byte) {
	s.byName[string(cutName(name))].close()
}

func (s *statements) deallocateAll() {
	for _, st := range s.byName {
		st.close()
	}
}

// doubt records that something runs which may close any of them: a function, or a statement that cannot be parsed.
func (s *statements) doubt() { s.doubts++ }

// close marks every statement to which a name may refer.
func (s *statement) close() {
	for ; s != nil; s = s.previous {
		s.closed = true
	}
}

// bind records what a portal runs. The server refuses a second Bind to a named portal unless the first was closed in some way.
func (s *statements) bind(name []byte, st *statement, group uint32) {
	name = cutName(name)
	p, known := s.portals[string(name)]
	if !known && len(s.portals) >= maxPortals {
		s.dropped = true
		maps.DeleteFunc(s.portals, func(_ string, p portal) bool { return p.done })
	}
	if known || len(s.portals) < maxPortals {
		s.portals[string(name)] = portal{statement: st, before: stronger(p.before, p.statement), group: group}
	}
}

// execute returns what a portal runs for a request of this group, the number of that statement, which is next if it begins to run now, and the group of its
// Bind, or 0 if unknown. Requests that follow a Bind in its own group run only if the Bind succeeded.
func (s *statements) execute(name []byte, group, next uint32) (st *statement, number, bound uint32) {
	name = cutName(name)
	p, known := s.portals[string(name)]
	switch {
	case !known && s.dropped:
		return unknownStatement, next, 0
	case !known:
		return fetching, next, 0
	}
	if !p.done {
		p.done, p.number = true, next
		s.portals[string(name)] = p
	}
	if p.before != nil && p.group != group {
		return either(p.before, p.statement), p.number, p.group
	}
	return p.statement, p.number, p.group
}

// closePortal handles a Close, which the server may skip.
func (s *statements) closePortal(name []byte) {
	name = cutName(name)
	if p, known := s.portals[string(name)]; known {
		p.done = true
		s.portals[string(name)] = p
	}
}

// closePortals handles the end of a transaction.
func (s *statements) closePortals() {
	clear(s.portals)
	s.dropped = false
}
