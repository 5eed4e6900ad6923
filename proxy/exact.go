package proxy

import (
	"bytes"

	"github.com/pgtee/pgtee/parser"
)

// A note that stands behind a statement in the text of its Query makes a transaction block of the two, in which the server
// refuses some of what the statement may do: CALL and DO may commit, a function may ask for a transaction of its own. So where the
// statement is the only one of its Query, it goes to the server as Parse, Bind, Describe and Execute, and the note as in the
// extended protocol behind it. The statement, its current_query() and the positions in its errors are the client's.

// exact returns the statement of a Query that is sent so, or nil.
func (s *session) exact(m message, set *settings, readable bool) *parser.Statement {
	if len(s.list) != 1 || !m.whole() || !readable || s.unsynced || s.tx.failed || set.standby || !s.notesNow(set) {
		return nil
	}
	st := &s.list[0]
	p := pathOf('Q', st.Note)
	if !mayTrail(st.Tx) {
		return nil
	}
	if p.otherwise == unsent || s.tx.wants(p.when) || hasParameter(m.body) || bytes.Contains(bytes.ToLower(m.body), []byte("pg_cursors")) { // which shows the unnamed portal
		return nil
	}
	if st.Verb == "FETCH" || st.Verb == "MOVE" || st.Tx == parser.Execute || st.Name != "" { // a cursor may be binary, and nobody knows what was prepared
		return nil
	}
	return st
}

// mayTrail reports whether a note can follow a statement with this effect. SET CONSTRAINTS takes no snapshot, and SET TRANSACTION may
// follow it: not so behind a note.
func mayTrail(effect parser.Effect) bool { return effect != parser.Fire }

// hasParameter reports whether a text may have a $1, which is an error in a Query.
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

// queryExactly sends it.
func (s *session) queryExactly(m message, set *settings, st *parser.Statement) error {
	s.notes.statement++
	text, _, _ := cutString(m.body)
	of := s.notes.carry(carriedText(text, st), st.Secret, set)
	s.apply(effectsOf(st), subject{})
	of, ahead := s.afterMissed(st.Note, of)
	if ahead {
		if err := s.noteUnnamed(set, nobody.behind()); err != nil {
			return err
		}
	}
	for _, request := range []struct {
		entry
		body []byte
	}{
		{entry{kind: 'P', fate: mute}, append(append([]byte{0}, m.body...), 0, 0)},
		{entry{kind: 'B', fate: mute}, make([]byte, 8)},
		{entry{kind: 'D', fate: mute, keeps: st.Verb != "SELECT"}, []byte("P\x00")},
		{entry{kind: 'E', keeps: true}, make([]byte, 5)},
		{entry{kind: 'C', fate: mute}, []byte("P\x00")}, // a block would keep it, and its snapshot
	} {
		if err := s.send(request.entry, func(dst []byte) []byte { return append(dst, request.body...) }); err != nil {
			return err
		}
	}
	if err := s.noteUnnamed(set, of.behind()); err != nil {
		return err
	}
	if err := s.send(entry{kind: 'S', group: s.tx.group}, func(dst []byte) []byte { return dst }); err != nil {
		return err
	}
	s.up.replaced(m)
	return nil
}

// noteUnnamed sends a note by the unnamed statement, which a Query takes away: a client that sends Queries only sees none of ours in
// pg_prepared_statements.
func (s *session) noteUnnamed(set *settings, of subject) error {
	if err := s.parseOurs(entry{kind: 'P', fate: swallow, generation: ofUnnamed}, ""); err != nil {
		return err
	}
	if err := s.runOurs(swallow, "", of, set, s.tx.trail()); err != nil {
		return err
	}
	return s.send(entry{kind: 'C', fate: swallow}, func(dst []byte) []byte { return append(dst, "S\x00"...) })
}
