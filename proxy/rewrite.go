package proxy

import (
	"encoding/binary"
	"strconv"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// maxNotes is how many notes of one Query cover a single statement each. Any further note covers a stretch of the text, so that a Query of many tiny
// statements does not become many times as long.
const maxNotes = 1000

// queryWriter rewrites a Query, with notes for the statements that need one.
type queryWriter struct {
	session *session
	set     *settings
	message message
	text    []byte // the client's text, as far as it has been received
	ready   bool   // notes can be written
	carries bool   // notes carry the SQL: current_query() cannot provide it

	start    int    // offset of the message in up.out
	copied   int    // bytes of text that have been copied
	added    int    // length of the notes: they are ASCII, so bytes equal characters
	counted  int    // bytes of text whose characters have been counted
	chars    int    // number of those characters
	covered  int    // end of the last stretch
	cover    uint64 // hash of its text
	splices  []splice
	number   int             // of the next note
	taken    map[string]bool // numbers that the client's text contains, and that no note may have: see numbersIn
	borrowed []borrowed
	asked    bool       // parses is known
	parses   bool       // the grammar reads the last statement
	makes    *statement // the first statement that the text prepares
	last     *statement // the last one
}

// statement handles statement i of the text.
func (w *queryWriter) statement(i int, st *parser.Statement) error {
	s := w.session
	s.notes.statement++
	e := effectsOf(st)
	if endsTransaction(e.tx) {
		if err := w.end(i, st); err != nil {
			return err
		}
	}
	need := s.need(st.Note, e)
	if need == parser.After && len(s.list) > 1 { // several statements form a block
		need = parser.Always
	}
	p := pathOf('Q', need)
	inFront, trails := w.form(i, p)
	switch {
	case inFront:
		w.note(i, st, w.isLate(i, 1))
	case w.isLate(i, 0):
		w.nobody(i, st, nobody)
	case trails && s.tx.missed:
		s.tx.missed = false
		w.nobody(i, st, nobody.behind())
	case p.form == splicing && !trails:
		s.tx.miss()
	}
	if e.reads() {
		source, _ := s.statements.run(e, s.tx.group)
		w.borrow(i, st, source.place)
	}
	var prepares subject
	if e.tx == parser.Prepare && e.inner != parser.Never {
		prepares = s.notes.carry(carriedText(w.text, st), st, w.set)
	}
	prepared := s.apply(e, prepares)
	if trails {
		w.trail(i, st)
	}
	if prepared == nil {
		return nil
	}
	if st.Tx == parser.Prepare {
		prepared.place = w.place(st)
	}
	if w.last == nil {
		w.makes = prepared
	} else {
		w.last.next = prepared
	}
	w.last = prepared
	return nil
}

// form returns where the note of statement i goes. A note behind the only statement of a Query outside a block would create a block, and a note
// behind an incomplete last statement would change the server's error.
func (w *queryWriter) form(i int, p *path) (inFront, trails bool) {
	s := w.session
	switch {
	case p.form != splicing || !w.ready:
		return false, false
	case s.tx.wants(p.when), p.when == inBlock && len(s.list) > 1 && !s.tx.failed: // several statements form a block anyway
		return true, false
	case p.otherwise != trailing || !s.tx.mayTrail(s.list[i].Tx) || keepsText(&s.list[i]) || s.tx.failed || len(s.list) == 1 && !s.tx.open && !s.tx.begun:
		return false, false
	case len(w.splices) >= maxNotes: // a note in front can cover several statements
		return true, false
	}
	return false, i < len(s.list)-1 || w.parsesLast()
}

// borrow records an EXECUTE of a statement that was prepared elsewhere.
func (w *queryWriter) borrow(i int, st *parser.Statement, source place) {
	if own := w.place(st); source.to > 0 && own.shift+source.shift > 0 {
		own = own.arguments(w.text[st.Start:st.End])
		w.borrowed = append(w.borrowed, borrowed{result: i + len(w.splices), own: own, source: source})
	}
}

// place returns where a statement is in the Query that the server receives.
func (w *queryWriter) place(st *parser.Statement) place {
	return place{from: w.charsTo(st.Start) + w.added + 1, to: w.charsTo(st.End) + w.added, shift: w.added}
}

// charsTo returns the number of characters before an offset in the text. Offsets must not decrease.
func (w *queryWriter) charsTo(offset int) int {
	if offset > w.counted {
		w.chars += w.set.encoding.count(w.text[w.counted:offset])
		w.counted = offset
	}
	return w.chars
}

// note writes a note in front of statement i, unless an earlier one covers it. If nameless is set, the note names no statement: see isLate.
func (w *queryWriter) note(i int, st *parser.Statement, nameless bool) {
	s := w.session
	if nameless {
		w.splice(i, st, w.text[st.From:st.To], s.tx.note(0) || i > 0, true)
		return
	}
	if st.End <= w.covered && w.cover != 0 && s.tx.last == w.cover {
		return
	}
	end, stretches := st.To, len(w.splices) >= maxNotes && st.Start >= w.covered
	if stretches {
		end = w.stretch(i)
	}
	sql := w.text[st.From:end]
	hash := w.hash(sql, end)
	if stretches {
		w.covered, w.cover = end, hash
	}
	if !s.skips(hash) {
		w.splice(i, st, sql, s.tx.note(hash) || i > 0, false)
	}
}

// stretch returns the end of the statements, starting with i, that one note can cover: those in one transaction, together no longer than the text
// that a note carries.
func (w *queryWriter) stretch(i int) (end int) {
	list := w.session.list[i:]
	end = list[0].To
	for n := range list {
		st := &list[n]
		if st.To-list[0].From > noteSQLBytes || st.Secret || st.IsDDL() || st.Sets || !keepsNote(st.Tx) {
			break
		}
		end = st.To
	}
	return end
}

// hash returns the hash of the text up to end, or 0 if that text has not been received completely.
func (w *queryWriter) hash(sql []byte, end int) uint64 {
	if end == len(w.text) && !w.message.whole() {
		return 0
	}
	return hashOf(sql)
}

// splice writes the text up to the statement, then the note for sql. sql begins at that place, or earlier if the statement has hints: see spliceAt.
func (w *queryWriter) splice(i int, st *parser.Statement, sql []byte, first, nameless bool) {
	s := w.session
	w.open()
	at := spliceAt(w.text, st)
	w.copyTo(at)
	subject := w.subject(st, sql, first, at == st.From, len(s.up.out)-w.start-headerBytes+w.noteLength(i, first))
	if nameless {
		subject = subject.sessionOnly()
	}
	w.write(splice{result: i + len(w.splices), at: w.charsTo(at)}, subject, first, true, "", ";")
}

// noteLength returns the length of a note without SQL in front of statement i.
func (w *queryWriter) noteLength(i int, first bool) int {
	if i == 0 {
		return spliceLength
	}
	var arguments [64]byte
	return len(putBefore) + payloadText + len(putCall) + len(w.session.notes.appendPut(arguments[:0], w.nextNumber(), first, true)) + len(";")
}

// nobody writes the text up to statement i, followed by a note without a statement.
func (w *queryWriter) nobody(i int, st *parser.Statement, of subject) {
	w.open()
	w.copyTo(st.Start)
	w.write(splice{result: i + len(w.splices), at: w.charsTo(st.Start)}, of, w.session.tx.trail() || i > 0, false, "", ";")
}

// write appends a note to the text. before and after separate it from the client's statements. A ROLLBACK TO in the text may have undone the notes in
// front of this one. Therefore every note, except that of the first statement, binds its transaction.
func (w *queryWriter) write(at splice, of subject, first, always bool, before, after string) {
	s := w.session
	out := &s.up.out
	start := len(*out)
	if at.result == 0 && always {
		*out = s.notes.splice(*out, w.set, of, first)
	} else {
		*out = s.notes.put(append(*out, before...), w.set, of, w.nextNumber(), first, always)
		*out = append(*out, after...)
	}
	at.length = len(*out) - start
	w.splices = append(w.splices, at)
	w.number++
	w.added += at.length
	s.countNote()
	s.countInjected(at.length)
}

// nextNumber returns the number of the next note.
func (w *queryWriter) nextNumber() int {
	for len(w.taken) > 0 && w.taken[strconv.Itoa(w.number)] {
		w.number++
	}
	return w.number
}

// trail writes the text up to the end of the statement, and the note behind it, which applies only if the transaction has written. The note goes
// after the client's semicolon, since an error about the statement may point to that; behind the last statement it begins with a semicolon of its own.
func (w *queryWriter) trail(i int, st *parser.Statement) {
	s := w.session
	of := s.notes.carry(carriedText(w.text, st), st, w.set).behind()
	last := i == len(s.list)-1
	offset, before, after := st.End, ";", ""
	if !last {
		offset, before, after = s.list[i+1].From, "", ";"
	}
	w.open()
	w.copyTo(offset)
	s.tx.trail()
	w.write(splice{result: i + 1 + len(w.splices), at: w.charsTo(offset), closes: last}, of, true, false, before, after)
}

// subject returns the subject for a statement that starts at offset of the Query that the server receives. Its note contains the position of the
// statement or its text. whole is false if the note itself stands inside the text, which it must then carry.
func (w *queryWriter) subject(st *parser.Statement, sql []byte, first, whole bool, offset int) (of subject) {
	n := w.session.notes
	if !n.namesStatement(st) {
		return subject{}
	}
	if !n.sqlText || w.carries || st.Secret || !whole {
		if len(sql) == st.To-st.From {
			sql = carriedText(w.text, st)
		}
		of = n.carry(sql, st, w.set)
	} else {
		of = subject{sql: sql, flags: note.FlagQuery, offset: offset, fingerprint: parser.Fingerprint(sql, w.set.lexis)}
		if len(sql) <= shortSQLBytes && n.bindingFlag(first)&note.FlagRow == 0 {
			of.flags = note.FlagSQL
		}
	}
	of.flags |= ddlFlag(st)
	return of
}

// open begins the message, unless it has begun.
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
	w.session.up.out = append(w.session.up.out, w.text[w.copied:offset]...)
	w.copied = offset
}

// finish writes the text after the last note, and the message's length.
func (w *queryWriter) finish() {
	b := &w.session.up
	b.out = append(b.out, w.message.body[w.copied:]...)
	binary.BigEndian.PutUint32(b.out[w.start+1:], uint32(w.message.size-1+w.added))
	b.replaced(w.message)
}
