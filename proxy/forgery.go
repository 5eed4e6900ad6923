package proxy

import (
	"bytes"
	"regexp"

	"github.com/pgtee/pgtee/parser"
)

// A client can read its own notes: they are part of the text that the server received. The note of a transaction that was rolled back is unused, and
// the client could call pgtee.note() or pgtee.sign() with it in another transaction, whose rows would name the statement of the first one.
//
// Both functions accept only a note that the text from the client's connection contains in the spelling below. Each statement of a text with
// that spelling therefore gets a note in front. The notes of a session are numbered, so the older note then counts as a replay.

// ourCall matches the calls that pgtee.note(), pgtee.sign() and pgtee.put() accept. A text that quotes one has two apostrophes, and is accepted by neither.
var ourCall = regexp.MustCompile(`pgtee\.(note|sign|put)\(('[^']|\$1)`)

const maxOurCall = len("pgtee.note('A")

func callsForNote(text []byte) bool {
	return bytes.Contains(text, []byte("pgtee.")) && ourCall.Match(text)
}

// putMark matches what pgtee.put() searches for to find the note with a number.
var putMark = regexp.MustCompile(`\*/;CALL pgtee\.put\('([0-9]+)',`)

// numbersIn returns the numbers of notes that a text contains, in a comment or a literal for example. The proxy's own notes must have others, because
// pgtee.put() refuses a number that occurs twice.
func numbersIn(text []byte) map[string]bool {
	if !bytes.Contains(text, []byte(putCall)) {
		return nil
	}
	numbers := map[string]bool{}
	for _, found := range putMark.FindAllSubmatch(text, -1) {
		numbers[string(found[1])] = true
	}
	return numbers
}

// guard handles a text, whose statements are in s.list, that calls for a note. If the text has not been understood to its end, the rest may contain a
// ROLLBACK, which would undo the notes in front of it: then the session ends. checkRest looks for such calls
// in the rest of a text that is longer than the buffer.
func (s *session) guard(text []byte, readable, whole bool) error {
	if !whole {
		s.unread = append(s.unread[:0], text[max(0, len(text)-maxOurCall):]...)
	}
	switch {
	case !callsForNote(text):
		return nil
	case !readable, !whole, len(s.list) > maxNotes: // further notes would cover several statements each
		return s.refuse(forgeryError())
	}
	for i := range s.list {
		st := &s.list[i]
		if st.Note != parser.After {
			st.Note = parser.Always
		}
		if st.Tx == parser.Prepare {
			st.Inner = parser.Always
		}
	}
	return nil
}

// checkRest examines what has been received of the rest of a text.
func (s *session) checkRest() error {
	if len(s.unread) == 0 {
		return nil
	}
	rest := s.up.data[s.up.done:s.up.next]
	seam := append(s.unread, rest[:min(len(rest), maxOurCall)]...)
	if callsForNote(seam) || callsForNote(rest) {
		return s.refuse(forgeryError())
	}
	tail := seam
	if len(rest) > maxOurCall {
		tail = rest
	}
	s.unread = append(s.unread[:0], tail[max(0, len(tail)-maxOurCall):]...)
	if s.up.rest == 0 {
		s.unread = nil
	}
	return nil
}

// refuse ends the session, and tells the client why.
func (s *session) refuse(why *clientError) error {
	s.pending.refuse(why)
	return why
}
