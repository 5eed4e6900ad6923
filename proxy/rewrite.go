package proxy

import (
	"encoding/binary"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// maxNotes is how many notes of one Query stand for a statement each. Behind them each stands for a stretch of the text, so
// that many tiny statements do not become many times as long.
const maxNotes = 1000

// queryWriter writes a Query anew, with notes in front of the statements that need one.
type queryWriter struct {
	session *session
	set     *settings
	message message
	text    []byte // the client's, as far as it is there
	ready   bool   // notes are welcome
	carries bool   // a note brings the SQL along: current_query() cannot

	start    int    // of the message in up.out
	copied   int    // bytes of text that have been copied
	added    int    // bytes, and characters, of notes
	counted  int    // bytes of text whose characters have been counted
	chars    int    // ... their number
	covered  int    // end of the last stretch
	cover    uint64 // hash of its text
	splices  []splice
	borrowed []borrowed
	makes    *statement // what the text prepares
	last     *statement // ... and last
}

// statement follows statement i of the text.
func (w *queryWriter) statement(i int, st *parser.Statement) error {
	s := w.session
	s.notes.statement++
	e := effectsOf(st)
	if endsTransaction(e.tx) {
		if err := w.end(i, st); err != nil {
			return err
		}
	}
	p := pathOf('Q', s.need(st.Note, e))
	inFront, trails := w.form(i, p)
	switch {
	case inFront:
		w.note(i, st)
	case trails && s.tx.missed:
		s.tx.missed = false
		w.nobody(i, st, nobody.behind())
	case p.form == splicing && !trails:
		s.tx.miss()
	}
	if e.reads() {
		w.borrow(i, st, s.statements.run(e, s.tx.group).place)
	}
	var prepares subject
	if e.inner != parser.Never {
		prepares = s.notes.carry(carriedText(w.text, st), st.Secret, w.set)
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

// form says where the note of statement i stands. Behind the only one of a Query outside a block it would make a block, and
// behind a last one whose end is missing it would change what the server complains of.
func (w *queryWriter) form(i int, p *path) (inFront, trails bool) {
	s := w.session
	switch {
	case p.form != splicing || !w.ready:
		return false, false
	case s.tx.wants(p.when), p.when == inBlock && len(s.list) > 1 && !s.tx.failed: // several statements make a block anyway
		return true, false
	case p.otherwise != trailing || !mayTrail(s.list[i].Tx) || s.tx.failed || len(s.list) == 1 && !s.tx.open && !s.tx.begun:
		return false, false
	case len(w.splices) >= maxNotes: // one in front can stand for several
		return true, false
	}
	st := &s.list[i]
	return false, i < len(s.list)-1 || parser.Parses(w.text[st.Start:st.End], w.set.lexis)
}

// borrow records an EXECUTE of what was prepared at another place.
func (w *queryWriter) borrow(i int, st *parser.Statement, source place) {
	if own := w.place(st); source.to > 0 && own.shift+source.shift > 0 {
		own = own.arguments(w.text[st.Start:st.End])
		w.borrowed = append(w.borrowed, borrowed{result: i + len(w.splices), own: own, source: source})
	}
}

// place is where a statement stands in the Query that the server gets.
func (w *queryWriter) place(st *parser.Statement) place {
	return place{from: w.charsTo(st.Start) + w.added + 1, to: w.charsTo(st.End) + w.added, shift: w.added}
}

// charsTo returns the number of characters before an offset in the text, which never falls.
func (w *queryWriter) charsTo(offset int) int {
	if offset > w.counted {
		w.chars += w.set.encoding.count(w.text[w.counted:offset])
		w.counted = offset
	}
	return w.chars
}

// note writes a note in front of statement i, unless an earlier one stands for it.
func (w *queryWriter) note(i int, st *parser.Statement) {
	s := w.session
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
		w.splice(i, st, sql, s.tx.note(hash) || i > 0)
	}
}

// stretch returns where the statements end, from i on, that one note can stand for: in one transaction, together no longer
// than what a note brings along.
func (w *queryWriter) stretch(i int) (end int) {
	list := w.session.list[i:]
	end = list[0].To
	for n := range list {
		st := &list[n]
		if st.To-list[0].From > noteSQLBytes || st.Secret || st.IsDDL() || !keepsNote(st.Tx) {
			break
		}
		end = st.To
	}
	return end
}

// hash of the text up to end; 0 if what stands there has not been received whole.
func (w *queryWriter) hash(sql []byte, end int) uint64 {
	if end == len(w.text) && !w.message.whole() {
		return 0
	}
	return hashOf(sql)
}

// splice writes the text up to the statement, and the note for sql, which begins there or, if hints come first, before.
func (w *queryWriter) splice(i int, st *parser.Statement, sql []byte, first bool) {
	s := w.session
	w.open()
	at := spliceAt(w.text, st)
	w.copyTo(at)
	subject := w.subject(st, sql, first, at == st.From, len(s.up.out)-w.start-headerBytes+spliceLength)
	w.write(splice{result: i + len(w.splices), at: w.charsTo(at)}, subject, first, "", spliceAfter)
}

// nobody writes the text up to statement i, and a note of no statement.
func (w *queryWriter) nobody(i int, st *parser.Statement, of subject) {
	w.open()
	w.copyTo(st.Start)
	w.write(splice{result: i + len(w.splices), at: w.charsTo(st.Start)}, of, w.session.tx.trail() || i > 0, "", trailAfter+";")
}

// write appends a note to the text, between what comes before and after its call. What a statement of the text runs can read in it the notes of
// those behind it, and send them first: so all but that of the first statement bind.
func (w *queryWriter) write(at splice, of subject, first bool, before, after string) {
	s := w.session
	out := &s.up.out
	start := len(*out)
	*out = append(*out, before...)
	*out = s.notes.splice(*out, w.set, of, first)
	*out = append(*out, after...)
	at.length = len(*out) - start
	w.splices = append(w.splices, at)
	w.added += at.length
	s.countNote(at.length)
}

// trail writes the text up to the end of the statement, and the note for it, which is for what has written. It stands behind the
// client's own semicolon, which a complaint about the statement may point to, or has one of its own.
func (w *queryWriter) trail(i int, st *parser.Statement) {
	s := w.session
	of := s.notes.carry(carriedText(w.text, st), st.Secret, w.set).behind()
	last := i == len(s.list)-1
	offset, before, after := st.End, ";", trailAfter
	if !last {
		offset, before, after = s.list[i+1].From, "", trailAfter+";"
	}
	w.open()
	w.copyTo(offset)
	s.tx.trail()
	w.write(splice{result: i + 1 + len(w.splices), at: w.charsTo(offset), closes: last}, of, true, before, after)
}

// subject is a statement that starts at offset of the Query that the server gets. Its note says where it stands, or brings it
// along, as it must where the note itself stands inside.
func (w *queryWriter) subject(st *parser.Statement, sql []byte, first, whole bool, offset int) (of subject) {
	n := w.session.notes
	if !n.sqlText || w.carries || st.Secret || !whole {
		if len(sql) == st.To-st.From {
			sql = carriedText(w.text, st)
		}
		of = n.carry(sql, st.Secret, w.set)
	} else {
		of = subject{sql: sql, flags: note.FlagQuery, offset: offset, fingerprint: parser.Fingerprint(sql, w.set.lexis)}
		if len(sql) <= shortSQLBytes && n.binds(first)&note.FlagRow == 0 {
			of.flags = note.FlagSQL
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
	w.session.up.out = append(w.session.up.out, w.text[w.copied:offset]...)
	w.copied = offset
}

// finish writes what follows the last note, and the message's length.
func (w *queryWriter) finish() {
	b := &w.session.up
	b.out = append(b.out, w.message.body[w.copied:]...)
	binary.BigEndian.PutUint32(b.out[w.start+1:], uint32(w.message.size-1+w.added))
	b.replaced(w.message)
}
