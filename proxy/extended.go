package proxy

import (
	"encoding/binary"

	"github.com/pgtee/pgtee/parser"
)

// parse handles Parse: name, text, parameter types.
func (s *session) parse(m message) error {
	first := !s.inGroup
	if err := s.enter(); err != nil {
		return err
	}
	e := entry{kind: 'P'}
	early := false
	if s.notes != nil {
		name, rest, _ := cutString(m.body)
		if first && len(name) == 0 {
			if err := s.renewWords(); err != nil {
				return err
			}
		}
		text, _, ended := cutString(rest)
		var err error
		if e.statement, err = s.study(text, ended); err != nil {
			return err
		}
		if early = s.runsEarly(e.statement); early {
			if err := s.noteEarly("S"+string(cutName(name)), ""); err != nil {
				return err
			}
		}
		s.touch(name)
		s.statements.prepare(name, e.statement, s.tx.group)
	}
	return s.forwardEarly(m, e, early)
}

// study determines what a prepared statement does. If ended is false, the text is cut off.
func (s *session) study(text []byte, ended bool) (*statement, error) {
	set := s.pending.settings.Load()
	defer s.forgetLongList()
	readable := s.read(text, ended, set)
	if len(s.list) > 1 {
		readable, s.list = false, append(s.list[:0], parser.Unread(text, set.lexis)) // the server will refuse it
	}
	if len(s.list) == 0 {
		return &statement{need: parser.Never}, nil
	}
	found := &s.list[0]
	copies := found.Verb == "COPY" && parser.CopiesIn(text[found.Start:found.End], set.lexis)
	if err := s.guard(text, readable, ended); err != nil {
		return nil, err
	}
	st := &statement{need: found.Note, effects: effectsOf(found), unreadable: !readable, copies: copies, place: place{from: 1, to: len(text)}}
	if ended {
		st.hash, st.looks = hashOf(text), looksAtStatements(text)
	}
	st.early = !ended || !readable || s.mayRunEarly(text, set)
	if st.effects.reads() {
		st.arguments = st.place.arguments(text[found.Start:found.End])
	}
	if st.need != parser.Never || st.effects.inner != parser.Never {
		st.subject = s.notes.carry(carriedText(text, found), found, set)
		st.subject.flags |= ddlFlag(found)
	}
	return st, nil
}

// bind handles Bind: portal, statement, parameters.
func (s *session) bind(m message) error {
	if err := s.enter(); err != nil {
		return err
	}
	e := entry{kind: 'B'}
	early := false
	if s.notes != nil {
		portal, rest, ok := cutString(m.body)
		var name []byte
		st := unknownStatement
		if ok {
			name, _, _ = cutString(rest)
			var err error
			if st, err = s.meaning(name); err != nil {
				return err
			}
		}
		s.statements.bind(portal, st, s.tx.group)
		if early = s.runsEarly(st) || hasParameters(rest) && s.bindsEarly(); early {
			if err := s.noteEarly("P"+string(cutName(portal)), "S"+string(cutName(name))); err != nil {
				return err
			}
		}
		e.borrowed = borrow(place{}, st.place)
	}
	return s.forwardEarly(m, e, early)
}

// hasParameters reports whether a Bind may have parameters. After the portal's name come the name of the statement, the number of format codes, that
// many codes of two bytes each, and the number of parameters. A truncated or malformed Bind may have some.
func hasParameters(body []byte) bool {
	_, body, ok := cutString(body)
	if !ok || len(body) < 2 {
		return true
	}
	formats := 2 * int(binary.BigEndian.Uint16(body))
	return len(body) < 2+formats+2 || binary.BigEndian.Uint16(body[2+formats:]) > 0
}

// Functions of the client may run before their statement: when a literal is read, during the Parse, or a Describe that parses again; when a function is
// IMMUTABLE, during the Bind as well, which plans; and the CHECK of a parameter's domain, during the Bind.

// runsEarly reports whether the Parse, Describe or Bind of a statement may run functions.
func (s *session) runsEarly(st *statement) bool {
	return st.early && s.isReady() && !s.database.vocabulary.isEmpty()
}

// bindsEarly reports whether the Bind of a parameter may run functions.
func (s *session) bindsEarly() bool {
	return s.isReady() && s.database.vocabulary.mayBind()
}

// forwardEarly forwards a Parse, Describe or Bind. If it may run functions, these may run DEALLOCATE ALL.
func (s *session) forwardEarly(m message, e entry, early bool) error {
	err := s.forward(m, e)
	if early {
		s.doubtNames()
	}
	return err
}

// noteEarly handles a Parse, Describe or Bind that may write; see transaction.prepare. In a transaction with a note, a note without a statement goes in front, so
// that such writes are not attributed to the previous statement; in a transaction without one, the note behind its own statement claims them.
func (s *session) noteEarly(what, of string) error {
	set := s.pending.settings.Load()
	switch {
	case s.tx.failed || s.terms.Attribution != AttributionStatement || !s.notesNow(set) || s.tx.quiet:
		return nil
	case !s.tx.noted:
		s.tx.prepare(what, of)
		return nil
	}
	if !s.tx.certain && s.tx.revived != s.tx.group {
		if err := s.awaitAnswer(s.tx.group - 1); err != nil {
			return err
		}
		// In a failed block the server refuses the request itself. Outside a block, nothing may precede a statement that may commit.
		if status, _ := s.pending.lastReady(); status == 'E' || status == 'I' && s.executed.group != s.tx.group {
			return nil
		}
	}
	s.tx.quiet = true
	return s.note(swallow, nobody, set, s.tx.trail())
}

// meaning returns the statement that a name refers to in a Bind. If it may be a statement that the server refuses beside a note, an unnecessary note
// would make it fail. Then meaning waits until all earlier groups have been answered: after that, it is certain which statement the name refers to.
func (s *session) meaning(name []byte) (*statement, error) {
	st := s.statements.find(name, s.tx.group)
	if !st.alone {
		return st, nil
	}
	if err := s.awaitAnswer(s.tx.group - 1); err != nil {
		return nil, err
	}
	return s.statements.find(name, s.tx.group), nil
}

// describe handles Describe: S or P, name. The server parses a statement again if something that it uses has changed.
func (s *session) describe(m message) error {
	if err := s.enter(); err != nil {
		return err
	}
	early := false
	if s.notes != nil && len(m.body) > 1 && m.body[0] == 'S' {
		name, _, _ := cutString(m.body[1:])
		if early = s.runsEarly(s.statements.find(name, s.tx.group)); early {
			what := "S" + string(cutName(name))
			if err := s.noteEarly(what, what); err != nil {
				return err
			}
		}
	}
	return s.forwardEarly(m, entry{kind: 'D'}, early)
}

// closeObject handles Close: S or P, name.
func (s *session) closeObject(m message) error {
	if err := s.enter(); err != nil {
		return err
	}
	if len(m.body) > 1 && s.notes != nil {
		switch name, _, _ := cutString(m.body[1:]); m.body[0] {
		case 'S':
			s.touch(name)
			s.statements.deallocate(name)
		case 'P':
			s.statements.closePortal(name)
		}
	}
	return s.forward(m, entry{kind: 'C'})
}

// execute handles Execute: portal, row limit.
func (s *session) execute(m message) error {
	if err := s.enter(); err != nil {
		return err
	}
	e := entry{kind: 'E'}
	if s.notes != nil {
		name, _, _ := cutString(m.body)
		next := s.notes.statement + 1
		st, number, bound := s.statements.execute(name, s.tx.group, next)
		s.executed.add(s.tx.group, st)
		if number == next {
			s.countQuery()
			s.notes.statement = next
		}
		of := st.subject
		of.number = number
		set := s.pending.settings.Load()
		if endsTransaction(st.effects.tx) {
			if err := s.noteEnd(set); err != nil {
				return err
			}
		}
		if st.need == parser.After {
			if err := s.learnBlock(); err != nil {
				return err
			}
		}
		p := pathOf('E', s.need(st.need, st.effects))
		if p.when == inBlock {
			if err := s.learnBlock(); err != nil {
				return err
			}
		}
		if err := s.noteBefore(p, st, of, bound, set); err != nil {
			return err
		}
		if st.looks {
			if err := s.hideOurs(); err != nil {
				return err
			}
		}
		trails := s.trails(p, st, set)
		if p.form == executing && !trails && !s.tx.wants(p.when) {
			s.tx.miss()
		}
		s.tx.run(cutName(name), trails || s.tx.wants(p.when))
		if st.unreadable {
			s.applyUnknown()
		} else {
			if st.effects.reads() {
				source, _ := s.statements.run(st.effects, s.tx.group)
				e.borrowed = borrow(st.arguments, source.place)
			}
			e.statement = s.apply(st.effects, st.subject)
		}
		if st.need == parser.InBlock && !s.tx.open { // outside a block CALL and DO may commit
			s.tx.rearm()
		}
		if trails {
			return s.forwardAndNote(m, e, st, of, set)
		}
	}
	return s.forward(m, e)
}

// trails reports whether a note follows an Execute: the statement may write, and no note in front covers it.
func (s *session) trails(p *path, st *statement, set *settings) bool {
	return p.otherwise == trailing && s.tx.mayTrail(st.effects.tx) && !set.standby && s.notesNow(set) && !s.tx.failed && !s.tx.wants(p.when)
}

// forwardAndNote sends an Execute followed by its note.
func (s *session) forwardAndNote(m message, e entry, st *statement, of subject, set *settings) error {
	of, ahead := s.afterMissed(s.need(st.need, st.effects), of)
	if ahead {
		if err := s.note(swallow, nobody.behind(), set, s.tx.trail()); err != nil {
			return err
		}
	}
	if err := s.forward(m, e); err != nil {
		return err
	}
	return s.note(swallow, of.behind(), set, s.tx.trail())
}

// afterMissed returns the subject of a note behind a statement. ahead reports whether a note without a statement must go in front of the statement, to
// cover earlier writes that had no note. No note may precede a statement that may commit: then the note behind it names no statement.
func (s *session) afterMissed(need parser.Need, of subject) (_ subject, ahead bool) {
	missed := s.tx.missed
	s.tx.missed = false
	if missed && need == parser.InBlock {
		return nobody, false
	}
	return of, missed
}

// noteBefore puts a note in front of an Execute. A portal that continues after a suspension already has its note, unless another statement has had
// one since.
func (s *session) noteBefore(p *path, st *statement, of subject, bound uint32, set *settings) error {
	if p.form != executing || !s.notesNow(set) || !s.tx.wants(p.when) || s.skips(st.hash) {
		return nil
	}
	if failed, err := s.failedBefore(st, bound); failed || err != nil {
		return err
	}
	if st.unreadable && !s.tx.open && !s.tx.begun && s.endNeedsNote(set, false, 1) { // there can be no note at the Sync: see executed.copy
		of = of.sessionOnly()
	}
	return s.note(swallow, of, set, s.tx.note(st.hash))
}

// failedBefore reports whether the block has failed since the portal was bound in an earlier group. The server would then refuse the note first, with
// another message than for the statement itself. If the Bind is in this group, the server already refuses the Bind, except that of a ROLLBACK: any
// statement that cannot be parsed may be one.
func (s *session) failedBefore(st *statement, bound uint32) (bool, error) {
	if s.tx.certain || s.tx.revived == s.tx.group || bound == s.tx.group && !st.unreadable {
		return false, nil
	}
	if err := s.awaitAnswer(s.tx.group - 1); err != nil {
		return false, err
	}
	status, _ := s.pending.lastReady()
	return status == 'E', nil
}
