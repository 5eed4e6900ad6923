package proxy

import (
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
)

// A command that cannot run in a transaction block gets its note after it has succeeded, in a separate transaction: the proxy withholds the client's
// ReadyForQuery until the note has run, and the client's next requests wait.

// executed records which statements a group of the extended protocol has executed.
type executed struct {
	group uint32
	count int
	last  *statement
	copy  bool // the last one waits, or may wait, for copy data
}

func (e *executed) add(group uint32, st *statement) {
	if e.group != group {
		*e = executed{group: group}
	}
	e.count++
	e.copy = st.copies || st.unreadable
	e.last = st
}

// endCopy records that the copy data have ended. The server has ignored each Sync before that: the group ends with the next one.
func (e *executed) endCopy(group uint32) {
	if e.copy {
		e.group, e.copy = group, false
	}
}

// alone returns the statement if group has executed exactly one, otherwise nil.
func (e *executed) alone(group uint32) *statement {
	if e.group != group || e.count != 1 {
		return nil
	}
	return e.last
}

// after returns the statement of a Query whose note follows its success, or nil.
func (s *session) after(m message, set *settings) *parser.Statement {
	if len(s.list) != 1 || !m.whole() || !s.notesNow(set) {
		return nil
	}
	st := &s.list[0]
	if st.Note != parser.After || s.need(st.Note, effectsOf(st)) != parser.After {
		return nil
	}
	return st
}

// queryThenNote sends a Query and, after it has succeeded, its note.
func (s *session) queryThenNote(m message, e entry, set *settings, st *parser.Statement) error {
	s.notes.statement++
	text, _, _ := cutString(m.body)
	subject := s.notes.carry(carriedText(text, st), st, set)
	subject.flags |= note.FlagOutsideBlock | ddlFlag(st)
	s.apply(effectsOf(st), subject)
	if succeeded, err := s.await(m, e); !succeeded || err != nil {
		return err
	}
	e.visibility = finish
	if err := s.send(e, func(dst []byte) []byte {
		return append(s.notes.splice(dst, set, subject, true), 0)
	}); err != nil {
		return err
	}
	s.countNote()
	return nil
}

// afterGroup returns the statement whose note follows the success of the group that ends here, or nil.
func (s *session) afterGroup() *statement {
	st := s.executed.alone(s.tx.group)
	if st == nil || s.need(st.need, st.effects) != parser.After || !s.notesNow(s.pending.settings.Load()) {
		return nil
	}
	return st
}

// syncThenNote sends a Sync and, after its group has succeeded, a note. The note is not sent as a Query, which would destroy the client's unnamed
// statement ("Extended Query", PostgreSQL documentation 55.2.3).
func (s *session) syncThenNote(m message, e entry, st *statement) error {
	if succeeded, err := s.await(m, e); !succeeded || err != nil {
		return err
	}
	subject := st.subject
	subject.flags |= note.FlagOutsideBlock
	if err := s.note(finish, subject, s.pending.settings.Load(), true); err != nil {
		return err
	}
	e.visibility = finish
	return s.send(e, func(dst []byte) []byte { return dst })
}

// await sends the message that ends a group, waits for its outcome, and reports whether the group succeeded.
func (s *session) await(m message, e entry) (succeeded bool, err error) {
	e.visibility = withhold
	if err := s.forward(m, e); err != nil {
		return false, err
	}
	if err := s.up.flush(s.server); err != nil {
		return false, err
	}
	return s.pending.awaitOutcome(), nil
}
