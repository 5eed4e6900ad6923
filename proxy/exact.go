package proxy

import (
	"bytes"

	"github.com/pgtee/pgtee/parser"
)

// A note that follows a statement in the text of its Query turns the two into a transaction block, in which the server refuses some of what the
// statement may do: CALL and DO may commit, and a function may need its own transaction. If the statement is the only one of its Query, it is
// therefore sent to the server as Parse, Bind, Describe and Execute, followed by the note as in the extended protocol. The text of the statement, its
// current_query() and the positions in its errors remain those of the client.
//
// DDL that is the only statement of its Query is sent in the same way, with its note in front, because event triggers that replicate DDL or record
// its history read current_query().

// exact returns the statement of a Query that is sent in this way, or nil.
func (s *session) exact(m message, set *settings, readable bool) *parser.Statement {
	if len(s.list) != 1 || !m.whole() || !readable || s.unsynced || s.tx.failed || !s.notesNow(set) {
		return nil
	}
	st := &s.list[0]
	if !s.wantsExact(st, set) || hasParameter(m.body) || mentions(m.body, "pg_cursors") { // pg_cursors shows the unnamed portal
		return nil
	}
	return st
}

// wantsExact reports whether a statement that is alone in its Query is sent in this way.
func (s *session) wantsExact(st *parser.Statement, set *settings) bool {
	p := pathOf('Q', st.Note)
	switch {
	case p.form != splicing || st.Tx == parser.Execute || st.Name != "": // the proxy does not know what was prepared
		return false
	case st.IsDDL() && st.Verb != "SELECT INTO":
		return true
	}
	return p.otherwise != unsent && s.tx.mayTrail(st.Tx) && !set.standby && !s.tx.wants(p.when) &&
		st.Verb != "FETCH" && st.Verb != "MOVE" // a cursor may be binary
}

// hasParameter reports whether a text may contain a parameter such as $1, which is an error in a Query.
func hasParameter(text []byte) bool {
	for {
		at := bytes.IndexByte(text, '$')
		if at < 0 || at+1 >= len(text) {
			return false
		}
		if text = text[at+1:]; '0' <= text[0] && text[0] <= '9' {
			return true
		}
	}
}

// queryExactly sends the statement with its note in front if the transaction wants one there, otherwise behind.
func (s *session) queryExactly(m message, set *settings, st *parser.Statement) error {
	s.notes.statement++
	text, _, _ := cutString(m.body)
	of := s.notes.carry(carriedText(text, st), st, set)
	if !s.tx.wants(pathOf('Q', st.Note).when) {
		return s.queryThenTrail(m, set, st, of)
	}
	if hash := hashOf(text); !s.skips(hash) {
		of.flags |= ddlFlag(st)
		if err := s.noteUnnamed(set, of, s.tx.note(hash)); err != nil {
			return err
		}
	}
	s.apply(effectsOf(st), subject{})
	if err := s.sendExactly(m, st); err != nil {
		return err
	}
	if err := s.send(entry{kind: 'C', visibility: mute}, func(dst []byte) []byte { return append(dst, "S\x00"...) }); err != nil {
		return err
	}
	return s.endExactly(m)
}

// queryThenTrail sends the statement followed by its note.
func (s *session) queryThenTrail(m message, set *settings, st *parser.Statement, of subject) error {
	s.apply(effectsOf(st), subject{})
	of, ahead := s.afterMissed(st.Note, of)
	if ahead {
		if err := s.noteUnnamed(set, nobody.behind(), s.tx.trail()); err != nil {
			return err
		}
	}
	if err := s.sendExactly(m, st); err != nil {
		return err
	}
	if err := s.noteUnnamed(set, of.behind(), s.tx.trail()); err != nil {
		return err
	}
	return s.endExactly(m)
}

// sendExactly sends the messages that replace the Query. Like a Query, they destroy the client's unnamed statement; if they fail, another unnamed
// statement exists until the next Parse or Query.
func (s *session) sendExactly(m message, st *parser.Statement) error {
	s.statements.prepare(nil, unknown(), s.tx.group)
	for _, request := range []struct {
		entry
		body []byte
	}{
		{entry{kind: 'P', visibility: mute}, append(append([]byte{0}, m.body...), 0, 0)},
		{entry{kind: 'B', visibility: mute}, make([]byte, 8)},
		{entry{kind: 'D', visibility: mute, keeps: st.Verb != "SELECT"}, []byte("P\x00")},
		{entry{kind: 'E', keeps: true}, make([]byte, 5)},
		{entry{kind: 'C', visibility: mute}, []byte("P\x00")}, // in a block the portal would stay open, with its snapshot
	} {
		if err := s.send(request.entry, func(dst []byte) []byte { return append(dst, request.body...) }); err != nil {
			return err
		}
	}
	return nil
}

// endExactly ends the group: its ReadyForQuery takes the place of that of the Query.
func (s *session) endExactly(m message) error {
	if err := s.send(entry{kind: 'S', group: s.tx.group}, func(dst []byte) []byte { return dst }); err != nil {
		return err
	}
	s.up.replaced(m)
	return nil
}

// noteUnnamed sends a note with the unnamed statement, which a Query destroys anyway: a client that sends only Queries sees no statement of the proxy
// in pg_prepared_statements.
func (s *session) noteUnnamed(set *settings, of subject, first bool) error {
	if err := s.parseOurs(entry{kind: 'P', visibility: swallow, generation: ofUnnamed}, ""); err != nil {
		return err
	}
	if err := s.runOurs(swallow, "", of, set, first); err != nil {
		return err
	}
	return s.send(entry{kind: 'C', visibility: swallow}, func(dst []byte) []byte { return append(dst, "S\x00"...) })
}
