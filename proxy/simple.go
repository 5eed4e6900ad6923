package proxy

import (
	"bytes"
	"slices"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

const (
	// keptStatements is the capacity up to which an idle session keeps its list.
	keptStatements = 64
	// longTextBytes is the length from which a text takes milliseconds to parse.
	longTextBytes = 16 << 10
)

// query handles Query: one text with any number of statements.
func (s *session) query(m message) error {
	s.countQuery()
	s.unsynced = s.unsynced || s.inGroup
	if err := s.enter(); err != nil {
		return err
	}
	s.inGroup = false
	if err := s.renewWords(); err != nil {
		return err
	}
	e := entry{kind: 'Q', group: s.tx.group}
	text, ended, ok := cutString(m.body)
	if s.notes == nil || m.whole() && (!ok || len(ended) > 0) {
		s.applyUnknown()
		return s.forward(m, e)
	}
	set := s.pending.settings.Load()
	if isOfProxy(text) && s.notesNow(set) {
		return s.answerProxy(m, text, e, set)
	}
	defer s.forgetLongList()
	if looksAtStatements(text) {
		if err := s.hideOurs(); err != nil {
			return err
		}
	}
	s.tx.run(nil, false)
	readable := s.read(text, m.whole(), set)
	if err := s.guard(text, readable, m.whole()); err != nil {
		return err
	}
	if err := s.learnFor(s.list); err != nil {
		return err
	}
	if !slices.ContainsFunc(s.list, func(st parser.Statement) bool { return st.Note != parser.Never }) {
		if err := s.noteImplicitEnd(set); err != nil {
			return err
		}
	}
	if len(s.list) == 1 && keepsText(&s.list[0]) && s.list[0].Note == parser.IfNoted {
		s.list[0].Note = parser.Never
		if err := s.noteApart(); err != nil {
			return err
		}
	}
	if after := s.after(m, set); after != nil {
		return s.queryThenNote(m, e, set, after)
	}
	if st := s.exact(m, set, readable); st != nil {
		return s.queryExactly(m, set, st)
	}
	if err := s.makeRoom(); err != nil {
		return err
	}
	w := queryWriter{session: s, set: set, message: m, text: text, ready: s.notesNow(set), taken: numbersIn(text)}
	w.carries = len(text) > note.MaxQueryBytes || !readable || !m.whole() || s.mayConvert(text, set)
	for i := range s.list {
		if err := w.statement(i, &s.list[i]); err != nil {
			return err
		}
	}
	w.implicitEnd()
	if !readable || !m.whole() {
		s.applyUnknown()
	}
	e.statement, e.splices, e.borrowed = w.makes, w.splices, w.borrowed
	if len(w.splices) == 0 {
		return s.forward(m, e)
	}
	w.finish()
	return s.pending.push(e)
}

// learnFor makes certain what the notes of a Query depend on. Outside a block CALL and DO may commit, a command with need After runs without a note beside
// it, and several statements end a transaction. In a failed block a note without a statement, in front of one that is alone, would be refused in its place.
func (s *session) learnFor(list []parser.Statement) error {
	switch {
	case len(list) > 1 || len(list) == 1 && (list[0].Note == parser.InBlock || list[0].Note == parser.After):
		return s.learnBlock()
	case s.tx.missed && s.executed.group != s.tx.group:
		return s.learnState()
	}
	return nil
}

// keepsText reports whether a statement only plans or parses another one, which runs later. The server keeps the text of its Query and shows it, in
// pg_cursors or pg_prepared_statements.
func keepsText(st *parser.Statement) bool {
	return st.Verb == "DECLARE CURSOR" || st.Tx == parser.Prepare
}

// forgetLongList releases the memory used for a long text, so that an idle session keeps little.
func (s *session) forgetLongList() {
	if cap(s.list) > keptStatements {
		s.list = nil
	}
}

// read fills s.list with the statements of a text. Text that cannot be parsed, or has not been received, counts as a statement that writes.
func (s *session) read(text []byte, whole bool, set *settings) (ok bool) {
	if len(text) > longTextBytes {
		s.pending.stepAside()
	}
	readable, lexis := set.encoding.lexable(text), set.lexis
	lexis.MultiByte = false
	if !whole {
		s.proxy.counters.oversize.Add(1)
		s.list, ok = parser.SplitBeginning(s.list[:0], readable, lexis), true
	} else if ok = s.split(text, readable, lexis); !ok {
		s.proxy.counters.unreadable.Add(1)
	}
	for i := range s.list {
		if name := s.list[i].Name; set.encoding.unsafe() && !isASCII(name) {
			s.list[i].Name = "" // not the name that the server will read
		}
	}
	s.applyVocabulary(readable, lexis)
	return ok
}

// split fills s.list with the statements of a complete text. While a reply is outstanding that may change standard_conforming_strings or client_encoding, a
// text whose meaning depends on them cannot be parsed. readable is the text as it is read in the present client_encoding.
func (s *session) split(text, readable []byte, lexis parser.Lexis) (ok bool) {
	s.list, ok = parser.Split(s.list[:0], readable, lexis)
	if !ok {
		s.list = parser.SplitBeginning(s.list, readable, lexis)
	}
	if settled := s.tx.certain && s.executed.group != s.tx.group; !settled && !s.readsAlike(text, readable, lexis) {
		s.list, ok = append(s.list[:0], parser.Unread(readable, lexis)), false
	}
	return ok
}

// readsAlike reports whether a text has the statements in s.list whatever the two settings are.
func (s *session) readsAlike(text, readable []byte, lexis parser.Lexis) bool {
	plain := isASCII(text)
	if plain && bytes.IndexByte(text, '\\') < 0 {
		return true
	}
	texts := [][]byte{readable}
	if !plain {
		anywhere := lexableAnywhere(text)
		texts = append(texts, text, anywhere, lexable2004(anywhere))
	}
	other := lexis
	other.StandardConformingStrings = !lexis.StandardConformingStrings
	var want []parser.Statement
	for i, reading := range texts {
		for _, l := range []parser.Lexis{lexis, other} {
			switch {
			case i > 0 && bytes.Equal(reading, readable), l == other && bytes.IndexByte(reading, '\\') < 0, i == 0 && l == lexis:
				continue
			case want == nil:
				want = s.withVocabulary(slices.Clone(s.list), readable, lexis)
			}
			list, ok := parser.Split(nil, reading, l)
			if !ok || !slices.EqualFunc(s.withVocabulary(list, reading, l), want, alike) {
				return false
			}
		}
	}
	return true
}

// alike compares two statements, except for a name that is not ASCII: its bytes differ.
func alike(a, b parser.Statement) bool {
	if !isASCII(a.Name) && !isASCII(b.Name) {
		a.Name = b.Name
	}
	return a == b
}

// mayConvert reports whether current_query() may return other bytes than the client sent. Some conversions cannot be reversed (two codes of SJIS map to
// one character), and a statement before the note may change the encoding: SET, ROLLBACK, set_config().
func (s *session) mayConvert(text []byte, set *settings) bool {
	return (set.converts() || len(s.list) > 1) && !isASCII(text)
}

func isASCII[T string | []byte](text T) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// need returns when a statement with these effects gets a note. What EXECUTE does is known from its PREPARE and its arguments. A command with need After counts as a write
// in a block or beside another write: the server refuses it there, unless it is a form that may run in a block, such as some of ALTER SUBSCRIPTION.
func (s *session) need(own parser.Need, e effects) parser.Need {
	if e.tx == parser.Execute && own != parser.Always {
		st, arguments := s.statements.run(e, s.tx.group)
		own = greater(st.need, arguments)
	}
	if own == parser.After && (s.tx.open || s.tx.begun || s.tx.noted) {
		return parser.Always
	}
	return own
}

// apply tracks what a statement does to the transaction and to prepared statements. It returns the statement that it prepares, if any, with of as its
// subject.
func (s *session) apply(e effects, of subject) (prepared *statement) {
	late := endsTransaction(e.tx) && s.runsLate()
	s.tx.snapped = s.tx.snapped || e.snaps
	if e.tx == parser.Release && s.notes != nil && s.database.vocabulary.mayRestrict() {
		s.tx.doubt()
	}
	if s.tx.apply(e.tx) {
		s.notes.unsure = note.FlagAnyUser
	}
	if e.sets {
		s.tx.last = 0
	}
	if late || e.calls || e.fires && s.database.vocabulary.mayFire() {
		s.doubtNames()
	}
	switch e.tx {
	case parser.Commit, parser.CommitChain, parser.Rollback, parser.RollbackChain, parser.PrepareTransaction:
		s.statements.closePortals()
	case parser.Prepare:
		if e.name == "" {
			return nil
		}
		prepared = &statement{need: e.inner, effects: effects{sets: e.sets}, subject: of}
		s.touch([]byte(e.name))
		s.statements.prepare([]byte(e.name), prepared, s.tx.group)
	case parser.Execute:
		return s.applyExecute(e)
	case parser.Deallocate:
		s.touch([]byte(e.name))
		s.statements.deallocate([]byte(e.name))
	case parser.DeallocateAll, parser.DiscardAll:
		s.statements.deallocateAll()
		s.pending.unprepare()
	}
	return prepared
}

// applyExecute tracks what EXECUTE runs. A statement prepared in the extended protocol may be anything, including COMMIT.
func (s *session) applyExecute(e effects) (prepared *statement) {
	st, _ := s.statements.run(e, s.tx.group)
	if st.unreadable {
		s.tx.rearm()
		s.tx.nested = true
		s.doubtNames()
		return nil
	}
	return s.apply(st.effects, st.subject)
}

// applyUnknown tracks a statement that cannot be parsed.
func (s *session) applyUnknown() {
	if s.notes != nil && s.tx.setUser {
		s.notes.unsure = note.FlagAnyUser
	}
	s.tx.applyUnknown()
	s.doubtNames()
}

// touch tracks the client's use of a statement name, which may be that of the proxy's own statement.
func (s *session) touch(name []byte) {
	if string(name) == s.proxy.object {
		s.pending.unprepare()
	}
}

// doubtNames tracks a statement that may run DEALLOCATE ALL.
func (s *session) doubtNames() {
	s.pending.unprepare()
	s.statements.doubt()
}
