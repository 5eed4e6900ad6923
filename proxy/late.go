package proxy

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/parser"
)

// Deferred triggers, and the queries of cursors WITH HOLD, write at the end of their transaction. Which of its statements they owe
// that to is not known: so a note of no statement stands between these and the end, where there may be such triggers or
// cursors.

// nobody is what such a note is for.
var nobody = subject{flags: outbox.FlagNameless}

// endsTransaction reports whether deferred triggers run at a statement with this effect.
func endsTransaction(effect parser.Effect) bool {
	return effect == parser.Commit || effect == parser.CommitChain || effect == parser.PrepareTransaction
}

// blamesLate reports whether the transaction needs a note of no statement before its end.
func (s *session) blamesLate(set *settings) bool {
	return s.notes != nil && s.terms.Attribution == AttributionStatement && s.tx.sent > 0 && s.notesNow(set) && s.tx.blamesLate(s.database.vocabulary.mayDefer())
}

// mayNoteEnd reports whether such a note can stand in front of a statement that ends a block: not of one that has failed, where
// the note would be refused. That is known once everything before this group has been answered.
func (s *session) mayNoteEnd() (bool, error) {
	if s.tx.certain {
		return !s.tx.failed, nil
	}
	if err := s.awaitAnswer(s.tx.group - 1); err != nil {
		return false, err
	}
	status, _ := s.pending.answers()
	return status != 'E', nil
}

// noteEnd sends it before an Execute that ends a block.
func (s *session) noteEnd(set *settings) error {
	if !s.blamesLate(set) {
		return nil
	}
	if ok, err := s.mayNoteEnd(); !ok || err != nil {
		return err
	}
	return s.note(swallow, nobody, set, s.tx.trail())
}

// noteImplicitEnd sends it before the Sync that ends a group outside a block.
func (s *session) noteImplicitEnd(set *settings) error {
	if s.tx.open || s.tx.begun || !s.blamesLate(set) {
		return nil
	}
	return s.note(swallow, nobody, set, s.tx.trail())
}

// end writes it in front of statement i of a Query, which ends a block.
func (w *queryWriter) end(i int, st *parser.Statement) error {
	s := w.session
	if !w.ready || !s.blamesLate(w.set) {
		return nil
	}
	if i == 0 { // behind another statement of the text it does not run if that fails
		if ok, err := s.mayNoteEnd(); !ok || err != nil {
			return err
		}
	}
	w.open()
	w.copyTo(st.Start)
	w.write(splice{result: i + len(w.splices), at: w.charsTo(st.Start)}, nobody, s.tx.trail(), spliceBefore, trailAfter+";")
	return nil
}

// implicitEnd writes it behind the last statement of a Query outside a block, at whose end its transaction ends.
func (w *queryWriter) implicitEnd() {
	s := w.session
	last := len(s.list) - 1
	if !w.ready || last < 1 || s.tx.open || s.tx.begun || !w.message.whole() || !s.blamesLate(w.set) {
		return
	}
	st := &s.list[last]
	if !parser.Parses(w.text[st.Start:st.End], w.set.lexis) {
		return
	}
	w.open()
	w.copyTo(st.End)
	w.write(splice{result: last + 1 + len(w.splices), at: w.charsTo(st.End), closes: true}, nobody, s.tx.trail(), trailBefore, trailAfter)
}
