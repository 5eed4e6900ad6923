package proxy

import (
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// Deferred triggers and the queries of cursors WITH HOLD write at the end of their transaction, and the proxy cannot know which statement caused
// that. If there may be such triggers or cursors, an end note, which is a note without a statement, therefore separates the statements from the end of
// the transaction.

// nobody is the subject of an end note.
var nobody = subject{flags: note.FlagNameless}

// endsTransaction reports whether a statement with this effect commits or prepares the transaction, so that deferred triggers run.
func endsTransaction(effect parser.Effect) bool {
	return effect == parser.Commit || effect == parser.CommitChain || effect == parser.PrepareTransaction
}

// runsLate reports whether functions of the client may run at the end of the transaction.
func (s *session) runsLate() bool {
	return s.tx.holds || s.tx.mayHold || s.database.vocabulary.mayDefer()
}

// endNeedsNote reports whether rows written at the end of the transaction would be attributed to a statement that may not have caused them: the last of
// several, or one that is not a cursor. explicit: a statement ends the transaction. more: the number of notes still to be sent in front of
// statements.
func (s *session) endNeedsNote(set *settings, explicit bool, more int) bool {
	tx := &s.tx
	if s.notes == nil || !tx.front && more == 0 || tx.failed || s.terms.Attribution != AttributionStatement || !s.notesNow(set) {
		return false
	}
	return tx.holds || explicit && tx.mayHold || tx.sent+more > 1 && s.database.vocabulary.mayDefer()
}

// mayNoteEnd reports whether an end note can precede a statement that ends a block. It cannot if the block has failed, since the server would
// refuse the note, or if there is neither a block nor an earlier statement of the group. That is known once everything before this group has been answered.
func (s *session) mayNoteEnd() (bool, error) {
	if s.tx.certain {
		return !s.tx.failed && (s.tx.open || s.executed.group == s.tx.group), nil
	}
	if err := s.awaitAnswer(s.tx.group - 1); err != nil {
		return false, err
	}
	status, _ := s.pending.lastReady()
	return status == 'T' || status == 'I' && s.tx.open, nil
}

// noteEnd sends an end note before an Execute that ends a block.
func (s *session) noteEnd(set *settings) error {
	if !s.endNeedsNote(set, true, 0) {
		return nil
	}
	if ok, err := s.mayNoteEnd(); !ok || err != nil {
		return err
	}
	return s.note(swallow, nobody, set, s.tx.trail())
}

// noteImplicitEnd sends an end note before the request that ends a group outside a block: a Sync, or a Query or FunctionCall that writes nothing. It does
// not if nothing has been executed in the group, or the server may be reading copy data.
func (s *session) noteImplicitEnd(set *settings) error {
	if s.tx.open || s.executed.group != s.tx.group || s.executed.copy || !s.endNeedsNote(set, false, 0) {
		return nil
	}
	if err := s.learnBlock(); err != nil || s.tx.open || s.tx.begun {
		return err
	}
	return s.note(swallow, nobody, set, s.tx.trail())
}

// end writes an end note in front of statement i of a Query, which ends a block.
func (w *queryWriter) end(i int, st *parser.Statement) error {
	s := w.session
	if !w.ready || !s.endNeedsNote(w.set, true, 0) {
		return nil
	}
	if i == 0 { // after another statement of the text, the note does not run if that statement fails
		if ok, err := s.mayNoteEnd(); !ok || err != nil {
			return err
		}
	}
	w.nobody(i, st, nobody)
	return nil
}

// implicitEnd writes an end note behind the last statement of a Query outside a block, whose transaction ends with the Query.
func (w *queryWriter) implicitEnd() {
	s := w.session
	last := len(s.list) - 1
	if last < 0 || !w.endsLate(last, 0) || !w.parsesLast() {
		return
	}
	st := &s.list[last]
	before := ";"
	if st.To > st.End { // the last comment may extend to the end of its line
		before = "\n;"
	}
	w.open()
	w.copyTo(st.To)
	w.write(splice{result: last + 1 + len(w.splices), at: w.charsTo(st.To), closes: true}, nobody, s.tx.trail(), false, before, "")
}

// endsLate reports whether the transaction ends with statement i, the last of several in a Query or behind messages without a Sync, and rows written at its
// end would be attributed to the wrong statement. more is 1 if it is still to get a note in front.
func (w *queryWriter) endsLate(i, more int) bool {
	s := w.session
	return w.ready && (i > 0 || s.executed.group == s.tx.group) && i == len(s.list)-1 && !s.tx.open && !s.tx.begun && s.endNeedsNote(w.set, false, more)
}

// isLate reports whether an end note must go in front of the last statement, in place of the statement's own note. That is so if the grammar cannot read
// the statement: then its end is uncertain, and a note behind it might become part of it.
func (w *queryWriter) isLate(i, more int) bool { return w.endsLate(i, more) && !w.parsesLast() }

// parsesLast reports whether the grammar reads the last statement, whose end is then certain.
func (w *queryWriter) parsesLast() bool {
	if !w.asked {
		st := &w.session.list[len(w.session.list)-1]
		w.asked, w.parses = true, w.message.whole() && parser.Parses(w.set.encoding.lexable(w.text[st.Start:st.End]), w.set.lexis)
	}
	return w.parses
}
