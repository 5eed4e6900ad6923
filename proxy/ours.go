package proxy

import (
	"bytes"
	"encoding/binary"

	"github.com/pgtee/pgtee/outbox/note"
)

// Notes in the extended protocol use a prepared statement of the proxy, with a name that no client uses, because the unnamed statement belongs to the
// client.

// note sends a note with the proxy's own prepared statement, on a portal of its own: the client's unnamed statement and portal stay as they are.
func (s *session) note(visibility visibility, subject subject, set *settings, first bool) error {
	if err := s.prepareOurs(visibility); err != nil {
		return err
	}
	return s.runOurs(visibility, s.proxy.object, subject, set, first)
}

// runOurs sends a note with the prepared statement of this name.
func (s *session) runOurs(visibility visibility, statement string, subject subject, set *settings, first bool) error {
	err := s.send(entry{kind: 'B', visibility: visibility}, func(dst []byte) []byte {
		dst = append(append(dst, s.proxy.object...), 0)
		dst = append(append(dst, statement...), 0)
		dst = append(dst, 0, 0, 0, 3) // all formats are text; three parameters
		at := len(dst)
		dst = s.notes.append(append(dst, 0, 0, 0, 0), set, subject, first)
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		always, binds := byte('t'), byte('f')
		if s.notes.bindingFlag(first) == note.FlagSigned {
			binds = 't'
		}
		if subject.flags&(note.FlagClaimsPrevious|note.FlagNameless) != 0 {
			always = 'f'
		}
		dst = append(dst, 0, 0, 0, 1, always)
		return append(dst, 0, 0, 0, 1, binds, 0, 0)
	})
	if err != nil {
		return err
	}
	if err := s.send(entry{kind: 'E', visibility: visibility}, func(dst []byte) []byte {
		return append(append(dst, s.proxy.object...), 0, 0, 0, 0, 0)
	}); err != nil {
		return err
	}
	s.countNote()
	return s.closeOurs('P', visibility)
}

// closeOurs closes the proxy's statement (S) or portal (P).
func (s *session) closeOurs(what byte, visibility visibility) error {
	return s.send(entry{kind: 'C', visibility: visibility}, func(dst []byte) []byte {
		return append(append(append(dst, what), s.proxy.object...), 0)
	})
}

// prepareOurs makes sure that the proxy's statement exists when this group runs. It is known to exist only once its ParseComplete has been received;
// until then each group closes it, which is not an error if it does not exist, and parses it again. The same happens after any code of the client has run,
// which may have removed the statement, or prepared one of its own under this name to swallow the notes. Behind a pooler every group does so, because
// another server process may serve it.
func (s *session) prepareOurs(visibility visibility) error {
	prepared, generation := s.pending.preparation()
	if prepared && s.notes.flags&note.FlagPooled == 0 || s.parsed.group == s.tx.group && s.parsed.generation == generation {
		return nil
	}
	s.parsed.group, s.parsed.generation = s.tx.group, generation
	if err := s.closeOurs('S', visibility); err != nil {
		return err
	}
	return s.parseOurs(entry{kind: 'P', visibility: visibility, generation: generation}, s.proxy.object)
}

// parseOurs sends a Parse that creates the proxy's statement under this name. Only pgtee.note() can write a user's name that is invalid in the encoding of
// the database, as that of a role created in another database may be.
func (s *session) parseOurs(e entry, name string) error {
	text := callNote
	if !s.notes.table && s.database.emits.Load() && isASCII(s.started.user) {
		text = emitNote
	}
	return s.send(e, func(dst []byte) []byte {
		dst = append(append(dst, name...), 0)
		dst = append(append(dst, text...), 0)
		return append(dst, 0, 3, 0, 0, 0, 25, 0, 0, 0, 16, 0, 0, 0, 16) // parameter types: text, boolean, boolean
	})
}

// looksAtStatements reports whether a text mentions the session's prepared statements.
func looksAtStatements(text []byte) bool {
	return mentions(text, "pg_prepared_statement")
}

// mentions reports whether a text contains a name of the catalog, which begins with pg_, in capital or small letters.
func mentions(text []byte, name string) bool {
	for at := len("pg"); at+len(name)-len("pg") <= len(text); at++ {
		next := bytes.IndexByte(text[at:], '_')
		if next < 0 {
			return false
		}
		at += next
		if end := at - len("pg") + len(name); end <= len(text) && bytes.EqualFold(text[at-len("pg"):end], []byte(name)) {
			return true
		}
	}
	return false
}

// hideOurs closes the proxy's statement, so that a query for the session's prepared statements finds only those of the client. The next note parses
// it again. Behind a pooler the statement stays, because the pooler may not be able to handle a Close in front of a Query.
func (s *session) hideOurs() error {
	if s.parsed.group == 0 || s.notes.flags&note.FlagPooled != 0 {
		return nil
	}
	s.pending.unprepare()
	return s.closeOurs('S', swallow)
}

// send writes a message of the proxy.
func (s *session) send(e entry, build func([]byte) []byte) error {
	if err := s.expect(e); err != nil {
		return err
	}
	s.up.cut()
	before := len(s.up.out)
	s.up.out = appendMessage(s.up.out, e.kind, build)
	s.countInjected(len(s.up.out) - before)
	return nil
}
