package proxy

import (
	"maps"
	"strings"
	"sync/atomic"

	"github.com/pgtee/pgtee/parser"
)

// statement is what a prepared statement does, learnt once from its Parse. Only the last four fields change.
type statement struct {
	need       parser.Need
	effects    effects
	unreadable bool // anything may happen
	subject    subject
	hash       uint64 // of the text; 0 if it was not seen whole

	made     atomic.Bool // its ParseComplete was seen
	failed   atomic.Bool // its Parse was refused or skipped: previous is still what the name means
	previous *statement
	closed   bool // its Close or DEALLOCATE was sent, which the server may have skipped
	doubts   int  // of statements, when its Parse was sent
}

// effects is what a statement does besides reading and writing.
type effects struct {
	tx    parser.Effect
	name  string      // of SQL PREPARE, EXECUTE and DEALLOCATE
	inner parser.Need // of SQL PREPARE
	calls bool        // functions of whoever made them, which may run DEALLOCATE ALL
}

func effectsOf(st *parser.Statement) effects {
	calls := st.Note == parser.IfNoted || st.Note == parser.InBlock
	return effects{st.Tx, strings.Clone(st.Name[:min(len(st.Name), maxName)]), st.Inner, calls}
}

// fail may be called on nil.
func (s *statement) fail() {
	if s != nil {
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
	group     uint32 // that its Bind was sent in
	executed  bool   // its first Execute was sent
}

const (
	maxStatements     = 16 << 10
	maxStatementBytes = 4 << 20 // texts of one session's statements
	maxPortals        = 4 << 10
	maxMeanings       = 32 // that one name may have had while nothing was answered
	maxName           = 63 // NAMEDATALEN-1: Postgres tells names apart by that many bytes
)

// unknownStatement stands for one whose Parse was not seen.
var unknownStatement = &statement{need: parser.InBlock, unreadable: true}

// fetching stands for a portal whose Bind was not seen: a cursor.
var fetching = &statement{need: parser.IfNoted, unreadable: true}

// statements holds the prepared statements and portals of a session, as its requests name them. One that does
// not fit in counts as unknown.
type statements struct {
	byName  map[string]*statement
	portals map[string]*portal
	bytes   int // of texts
	doubts  int // how often something ran that may have closed any of them
}

func newStatements() *statements {
	return &statements{byName: map[string]*statement{}, portals: map[string]*portal{}}
}

// cutName returns the part of a name that counts: names are kept, and a client may send long ones.
func cutName(name []byte) []byte { return name[:min(len(name), maxName)] }

func (s *statements) prepare(name []byte, st *statement) {
	name = cutName(name)
	old := s.byName[string(name)]
	for old != nil && (old.failed.Load() || len(name) == 0) {
		s.bytes -= len(old.subject.sql)
		old = old.previous
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
	st.previous, st.doubts = old, s.doubts
	s.byName[string(name)] = st
}

// trim forgets what a name can mean no more: what came before a statement that was made.
func (s *statements) trim(st *statement) {
	for n := 1; st != nil; n++ {
		if st.made.Load() || n == maxMeanings {
			s.drop(st.previous)
			st.previous = nil
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

// sweep makes room: what was closed is gone by now.
func (s *statements) sweep() {
	for name, st := range s.byName {
		if st.closed {
			s.drop(st)
			delete(s.byName, name)
		}
	}
}

// find returns the statement that name means, or unknownStatement.
func (s *statements) find(name []byte) *statement {
	if st := s.byName[string(cutName(name))].meaning(s.doubts); st != nil {
		return st
	}
	return unknownStatement
}

// meaning is what a name means whose last Parse is s; nil: nothing. One that was made keeps its name: until it is closed
// the server refuses to parse another of that name, whether that answer is here or not. If something may have closed it since,
// the last one is believed.
func (s *statement) meaning(doubts int) *statement {
	if s == nil || s.made.Load() {
		return s
	}
	before := s.previous.meaning(doubts)
	if s.failed.Load() || before != nil && before.made.Load() && !before.closed && before.doubts == doubts {
		return before
	}
	return s
}

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

// bind notes what a portal runs. The server refuses a second Bind to a named one, unless it was closed, by whatever means: of
// two in one group it is not known which counts.
func (s *statements) bind(name []byte, st *statement, group uint32) {
	name = cutName(name)
	if p := s.portals[string(name)]; p != nil {
		if len(name) > 0 && p.group == group {
			st = fetching
		}
		*p = portal{statement: st, group: group}
		return
	}
	if len(s.portals) >= maxPortals {
		maps.DeleteFunc(s.portals, func(_ string, p *portal) bool { return p.executed })
	}
	if len(s.portals) < maxPortals {
		s.portals[string(name)] = &portal{statement: st, group: group}
	}
}

// execute returns the statement of a portal, whether it begins to run now, and the group of its Bind; 0 if unknown.
func (s *statements) execute(name []byte) (st *statement, first bool, group uint32) {
	p := s.portals[string(cutName(name))]
	if p == nil {
		return fetching, true, 0
	}
	first = !p.executed
	p.executed = true
	return p.statement, first, p.group
}

// closePortal is a Close. If the server skips it, what the portal runs is not known any more.
func (s *statements) closePortal(name []byte) { delete(s.portals, string(cutName(name))) }

// closePortals is the end of a transaction.
func (s *statements) closePortals() { clear(s.portals) }
