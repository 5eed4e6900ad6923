package proxy

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/pgtee/pgtee/parser"
)

// statement is what a prepared statement does, learnt once from its Parse or PREPARE. Only what follows next changes.
type statement struct {
	need       parser.Need
	effects    effects
	unreadable bool // anything may happen
	copies     bool // COPY FROM STDIN, or what may be: then the server waits for copy data
	looks      bool // at the session's prepared statements
	alone      bool // either: one of the two is refused beside a note
	subject    subject
	hash       uint64 // of the text; 0 if it was not seen whole
	place      place
	arguments  place      // of EXECUTE
	group      uint32     // that it was sent in
	next       *statement // that the same Query prepares

	made     atomic.Bool // its ParseComplete, or the tag of its PREPARE, was seen
	failed   atomic.Bool // it was refused or skipped: previous is still what the name means
	previous *statement
	closed   bool // its Close or DEALLOCATE was sent, which the server may have skipped
	doubts   int  // of statements, when it was sent
}

// effects is what a statement does besides reading and writing.
type effects struct {
	tx    parser.Effect
	name  string      // of what SQL PREPARE, EXECUTE and DEALLOCATE are about
	inner parser.Need // of SQL PREPARE
	calls bool        // functions of whoever made them, which may run DEALLOCATE ALL
}

func effectsOf(st *parser.Statement) effects {
	calls := st.Note == parser.IfNoted || st.Note == parser.InBlock
	return effects{st.Tx, strings.Clone(st.Name[:min(len(st.Name), maxName)]), st.Inner, calls}
}

// reads reports whether a statement takes the text of a prepared one, to run or to explain it.
func (e *effects) reads() bool {
	return e.name != "" && (e.tx == parser.Execute || e.tx == parser.NoEffect)
}

// fail tells that s, and what its Query prepares behind it, was refused or skipped. It may be called on nil.
func (s *statement) fail() {
	for ; s != nil; s = s.next {
		s.failed.Store(true)
	}
}

// succeed may be called on nil.
func (s *statement) succeed() {
	if s != nil {
		s.made.Store(true)
	}
}

// portal is a bound statement.
type portal struct {
	statement *statement
	before    *statement // what it may run in place of that, if the server has refused or skipped its Bind; nil: nothing
	group     uint32     // that its Bind was sent in
	done      bool       // its first Execute, or its Close, was sent
}

const (
	maxStatements     = 16 << 10
	maxStatementBytes = 4 << 20 // texts of one session's statements
	maxPortals        = 4 << 10
	maxMeanings       = 32 // that one name may have had while nothing was answered
	maxExecutes       = 8  // of EXECUTE that run one another
	maxName           = 63 // NAMEDATALEN-1: Postgres tells names apart by that many bytes
)

// unknown returns what stands for a statement of which nothing is known: it counts as a write.
func unknown() *statement { return &statement{need: parser.Always, unreadable: true} }

// unknownStatement stands for one that was not seen: a function has prepared it, or it did not fit in.
var unknownStatement = unknown()

// fetching stands for a portal whose Bind was not seen: a cursor.
var fetching = &statement{need: parser.IfNoted, unreadable: true}

// statements holds the prepared statements and portals of a session, as its requests name them. One that does
// not fit in counts as unknown.
type statements struct {
	byName  map[string]*statement
	portals map[string]portal
	bytes   int  // of texts
	doubts  int  // how often something ran that may have closed any of them
	dropped bool // portals of this transaction are not known any more
}

func newStatements() *statements {
	return &statements{byName: map[string]*statement{}, portals: map[string]portal{}}
}

// cutName returns the part of a name that counts: names are kept, and a client may send long ones.
func cutName(name []byte) []byte { return name[:min(len(name), maxName)] }

// prepare notes what a Parse or PREPARE gives a name to.
func (s *statements) prepare(name []byte, st *statement, group uint32) {
	name = cutName(name)
	old := s.byName[string(name)]
	for old != nil && old.failed.Load() {
		s.bytes -= len(old.subject.sql)
		old = old.previous
	}
	if len(name) == 0 {
		old.close() // its next Parse takes its place
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

// trim forgets what a name can mean no more: what came before a statement that was made. Of too many meanings the oldest
// become unknown.
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

// drop no longer counts the texts of st and its predecessors.
func (s *statements) drop(st *statement) {
	for ; st != nil; st = st.previous {
		s.bytes -= len(st.subject.sql)
	}
}

// sweep makes room: what was closed is gone by now, and what was refused never came.
func (s *statements) sweep() {
	for name, st := range s.byName {
		if st.closed || st.failed.Load() && st.previous == nil {
			s.drop(st)
			delete(s.byName, name)
		}
	}
}

// find returns what a name means to a request of this group.
func (s *statements) find(name []byte, group uint32) *statement {
	if st := s.byName[string(cutName(name))].meaning(group, s.doubts); st != nil {
		return st
	}
	return unknownStatement
}

// run returns the statement that an EXECUTE comes to, of another EXECUTE at the end.
func (s *statements) run(e effects, group uint32) *statement {
	for range maxExecutes {
		if e.name == "" {
			break // it cannot be read
		}
		st := s.find([]byte(e.name), group)
		if st.effects.tx != parser.Execute {
			return st
		}
		e = st.effects
	}
	return unknownStatement
}

// meaning is what a name means whose last Parse or PREPARE is s; nil: nothing. One that was made keeps its name: until it is
// closed the server refuses another of that name, whether that answer is here or not. What follows s in its own group runs
// only if s was made. Otherwise, or if something may have closed the earlier one, it is either of them.
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

// either is what is known of a statement that is one of two: it costs a note too many, never one too few.
func either(a, b *statement) *statement {
	if a.hash != 0 && a.hash == b.hash {
		return b
	}
	return &statement{need: stronger(a, b).need, unreadable: true, alone: a.isAlone() || b.isAlone()}
}

// isAlone reports whether the server refuses to run s, or what s may be, beside a note.
func (s *statement) isAlone() bool { return s.alone || s.need == parser.After }

// stronger returns the one of two statements that needs a note more. a may be nil.
func stronger(a, b *statement) *statement {
	if a == nil || slices.Index(needs, a.need) < slices.Index(needs, b.need) {
		return b
	}
	return a
}

// needs are in the order of the notes that they cost.
var needs = []parser.Need{parser.Never, parser.After, parser.IfNoted, parser.InBlock, parser.Always}

// deallocate remembers that a statement was closed. Its name keeps its meaning until it is parsed again: if the
// server skipped the Close it is still there, and otherwise its next Bind fails.
func (s *statements) deallocate(name []byte) {
	s.byName[string(cutName(name))].close()
}

func (s *statements) deallocateAll() {
	for _, st := range s.byName {
		st.close()
	}
}

// doubt says that something runs which may close any of them: a function, or what cannot be read.
func (s *statements) doubt() { s.doubts++ }

// close marks all that a name may mean.
func (s *statement) close() {
	for ; s != nil; s = s.previous {
		s.closed = true
	}
}

// bind notes what a portal runs. The server refuses a second Bind to a named one, unless it was closed, by whatever means.
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

// execute returns what a portal runs for a request of this group, whether it begins to run now, and the group of its
// Bind; 0 if unknown. What follows a Bind in its own group runs only if that has succeeded.
func (s *statements) execute(name []byte, group uint32) (st *statement, first bool, bound uint32) {
	name = cutName(name)
	p, known := s.portals[string(name)]
	switch {
	case !known && s.dropped:
		return unknownStatement, true, 0
	case !known:
		return fetching, true, 0
	}
	if first = !p.done; first {
		p.done = true
		s.portals[string(name)] = p
	}
	if p.before != nil && p.group != group {
		return either(p.before, p.statement), first, p.group
	}
	return p.statement, first, p.group
}

// closePortal is a Close, which the server may skip.
func (s *statements) closePortal(name []byte) {
	name = cutName(name)
	if p, known := s.portals[string(name)]; known {
		p.done = true
		s.portals[string(name)] = p
	}
}

// closePortals is the end of a transaction.
func (s *statements) closePortals() {
	clear(s.portals)
	s.dropped = false
}
