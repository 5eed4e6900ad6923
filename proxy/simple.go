package proxy

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/parser"
)

// keptStatements is how long a list an idle session may keep.
const keptStatements = 64

// query is a Query message: one text, any number of statements.
func (s *session) query(m message) error {
	s.proxy.counters.queries.Add(1)
	if err := s.settle(); err != nil {
		return err
	}
	s.enter()
	s.inGroup = false
	e := entry{kind: 'Q', group: s.tx.group}
	text, ended, ok := cutString(m.body)
	if s.notes == nil || m.whole() && (!ok || len(ended) > 0) {
		s.applyUnknown()
		return s.forward(m, e)
	}
	set := s.pending.settings.Load()
	defer s.forgetLongList()
	readable := s.read(text, m.whole(), set)
	if after := s.after(m, set); after != nil {
		return s.queryThenNote(m, e, set, after)
	}
	if err := s.makeRoom(); err != nil {
		return err
	}
	w := queryWriter{session: s, set: set, message: m, text: text, ready: s.notesNow(set)}
	w.carries = len(text) > outbox.MaxQueryBytes || !readable || !m.whole() || setsEncoding(s.list)
	w.alike = sharesPositions(s.list)
	w.last = &w.makes
	for i := range s.list {
		w.statement(i, &s.list[i])
	}
	if !readable || !m.whole() {
		s.applyUnknown()
	}
	e.statement, e.splices = w.makes, w.splices
	if len(w.splices) == 0 {
		return s.forward(m, e)
	}
	w.finish()
	return s.pending.push(e)
}

// forgetLongList lets the memory of a long text go: an idle session keeps little.
func (s *session) forgetLongList() {
	if cap(s.list) > keptStatements {
		s.list = nil
	}
}

// read fills s.list with the statements of a text. What cannot be read is one that writes.
func (s *session) read(text []byte, whole bool, set *settings) (ok bool) {
	readable, lexis := set.encoding.lexable(text), set.lexis
	lexis.MultiByte = false
	if whole {
		ok = s.split(readable, lexis)
	} else {
		s.proxy.counters.oversize.Add(1)
		s.list, ok = parser.SplitBeginning(s.list[:0], readable, lexis), true
	}
	if !ok {
		s.proxy.counters.unreadable.Add(1)
		s.list = append(s.list[:0], parser.Unread(text, set.lexis))
	}
	for i := range s.list {
		if name := s.list[i].Name; set.encoding.unsafe() && !isASCII(name) {
			s.list[i].Name = "" // not the name that the server reads
		}
	}
	return ok
}

// split fills s.list. While something is unanswered that may change standard_conforming_strings, a text that it matters for
// cannot be read.
func (s *session) split(text []byte, lexis parser.Lexis) (ok bool) {
	s.list, ok = parser.Split(s.list[:0], text, lexis)
	if !ok || s.tx.certain && s.executed.group != s.tx.group || bytes.IndexByte(text, '\\') < 0 {
		return ok
	}
	lexis.StandardConformingStrings = !lexis.StandardConformingStrings
	other, ok := parser.Split(nil, text, lexis)
	return ok && slices.Equal(s.list, other)
}

func isASCII(name string) bool {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return false
		}
	}
	return true
}

// sharesPositions reports whether an error position may be one in the text of another Query: EXECUTE gives those of its
// PREPARE. They come out right as long as the notes of both Queries have the same length.
func sharesPositions(list []parser.Statement) bool {
	return slices.ContainsFunc(list, func(st parser.Statement) bool { return st.Tx == parser.Prepare || st.Tx == parser.Execute })
}

func setsEncoding(list []parser.Statement) bool {
	return slices.ContainsFunc(list, func(st parser.Statement) bool { return st.Tx == parser.SetEncoding })
}

// need returns when a statement with these effects gets a note: what EXECUTE does was told by its PREPARE.
func (s *session) need(own parser.Need, e effects) parser.Need {
	if e.tx == parser.Execute && own != parser.Always {
		return s.statements.run(e, s.tx.group).need
	}
	return own
}

// apply follows what a statement does to the transaction and to prepared statements, and returns what it prepares, if it
// does.
func (s *session) apply(e effects, sql []byte, set *settings) (prepared *statement) {
	s.tx.apply(e.tx)
	if e.calls {
		s.doubtNames()
	}
	switch e.tx {
	case parser.Commit, parser.CommitChain, parser.Rollback, parser.RollbackChain, parser.PrepareTransaction:
		s.statements.closePortals()
	case parser.Prepare:
		if e.name == "" {
			return nil
		}
		prepared = &statement{need: e.inner}
		if e.inner != parser.Never {
			prepared.subject = s.notes.carry(sql, false, set)
		}
		s.statements.prepare([]byte(e.name), prepared, s.tx.group)
	case parser.Execute:
		return s.applyExecute(e, set)
	case parser.Deallocate:
		s.statements.deallocate([]byte(e.name))
	case parser.DeallocateAll, parser.DiscardAll:
		s.statements.deallocateAll()
		s.pending.unprepare()
	}
	return prepared
}

// applyExecute follows what EXECUTE runs: of what the extended protocol has prepared it may be anything, COMMIT too.
func (s *session) applyExecute(e effects, set *settings) (prepared *statement) {
	st := s.statements.run(e, s.tx.group)
	if st.unreadable {
		s.tx.rearm()
		s.doubtNames()
		return nil
	}
	return s.apply(st.effects, st.subject.sql, set)
}

// applyUnknown follows what cannot be read.
func (s *session) applyUnknown() {
	s.tx.applyUnknown()
	s.doubtNames()
}

// doubtNames follows what may run DEALLOCATE ALL.
func (s *session) doubtNames() {
	s.pending.unprepare()
	s.statements.doubt()
}

// queryWriter writes a Query anew, with notes in front of the statements that need one.
type queryWriter struct {
	session *session
	set     *settings
	message message
	text    []byte // the client's, as far as it is there
	ready   bool   // notes are welcome
	carries bool   // a note brings the SQL along: current_query() cannot
	alike   bool   // the notes have the same length as in other Queries

	start   int // of the message in up.out
	copied  int // bytes of text that have been copied
	counted int // ... in characters
	splices []splice
	makes   *statement  // what the text prepares
	last    **statement // where the next of these goes
}

// statement follows statement i of the text.
func (w *queryWriter) statement(i int, st *parser.Statement) {
	s := w.session
	s.notes.statement++
	sql := w.text[st.Start:st.End]
	e := effectsOf(st)
	if p := pathOf('Q', s.need(st.Note, e)); p.form == splicing && w.ready && s.tx.wants(p.when) {
		hash := w.hash(st, sql)
		if !s.skips(hash) {
			w.splice(i, st, sql, s.tx.note(hash))
		}
	}
	if prepared := s.apply(e, sql, w.set); prepared != nil {
		*w.last, w.last = prepared, &prepared.next
	}
}

// hash of a statement; 0 if its end has not been received.
func (w *queryWriter) hash(st *parser.Statement, sql []byte) uint64 {
	if st.End == len(w.text) && !w.message.whole() {
		return 0
	}
	return hashOf(sql)
}

// splice writes the text up to the statement, and its note.
func (w *queryWriter) splice(i int, st *parser.Statement, sql []byte, first bool) {
	s := w.session
	w.open()
	w.copyTo(st.Start)
	out := &s.up.out
	subject := w.subject(st, sql, first, len(*out)-w.start-headerBytes+spliceLength)
	before := len(*out)
	*out = append(*out, spliceBefore...)
	*out = s.notes.append(*out, w.set, subject, first)
	*out = append(*out, spliceAfter...)
	length := len(*out) - before
	w.splices = append(w.splices, splice{result: i + len(w.splices), at: w.counted, length: length})
	s.countNote(length)
}

// subject is a statement that starts at offset of the Query that the server gets. Its note says where it stands, or brings it
// along.
func (w *queryWriter) subject(st *parser.Statement, sql []byte, first bool, offset int) (of subject) {
	n := w.session.notes
	if !n.sqlText || w.carries || st.Secret {
		of = n.carry(sql, st.Secret, w.set)
	} else {
		of = subject{sql: sql, flags: outbox.FlagQuery, offset: offset, fingerprint: parser.Fingerprint(sql, w.set.lexis)}
		if len(sql) <= shortSQLBytes && !n.isRow(first) && !w.alike {
			of.flags = outbox.FlagSQL
		}
	}
	of.flags |= ddlFlag(st)
	return of
}

// open begins the message.
func (w *queryWriter) open() {
	if len(w.splices) > 0 {
		return
	}
	b := &w.session.up
	b.cut()
	w.start = len(b.out)
	b.out = append(b.out, 'Q', 0, 0, 0, 0)
}

func (w *queryWriter) copyTo(offset int) {
	piece := w.text[w.copied:offset]
	w.session.up.out = append(w.session.up.out, piece...)
	w.copied = offset
	w.counted += w.set.encoding.count(piece)
}

// finish writes what follows the last note, and the message's length.
func (w *queryWriter) finish() {
	b := &w.session.up
	b.out = append(b.out, w.message.body[w.copied:]...)
	added := 0
	for i := range w.splices {
		added += w.splices[i].length
	}
	binary.BigEndian.PutUint32(b.out[w.start+1:], uint32(w.message.size-1+added))
	b.replaced(w.message)
}
