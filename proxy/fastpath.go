package proxy

import (
	"encoding/binary"
	"slices"
)

// largeObjects are the OIDs of the functions that drivers call with FunctionCall (lo_… in pg_proc.dat). They write no row that is published.
var largeObjects = []uint32{715, 764, 765, 767, 952, 953, 954, 955, 956, 957, 958, 964, 1004, 3170, 3171, 3172}

// functionCall handles FunctionCall. It has no text that could say what the function writes, and its writes must not be attributed to the previous
// statement. If the transaction has a note, a note without a statement goes in front.
func (s *session) functionCall(m message) error {
	s.unsynced = s.unsynced || s.inGroup
	if err := s.enter(); err != nil {
		return err
	}
	s.inGroup = false
	s.tx.run(nil, false)
	if len(m.body) >= 4 && slices.Contains(largeObjects, binary.BigEndian.Uint32(m.body)) {
		if err := s.noteImplicitEnd(s.pending.settings.Load()); err != nil {
			return err
		}
		return s.forward(m, entry{kind: 'F', group: s.tx.group})
	}
	if err := s.noteApart(); err != nil {
		return err
	}
	return s.forward(m, entry{kind: 'F', group: s.tx.group})
}

// noteApart handles a request that may write and cannot bring a note of its own: in a transaction with a note, one of no statement goes in front.
func (s *session) noteApart() error {
	set := s.pending.settings.Load()
	if s.notes != nil && (s.tx.noted || !s.tx.certain) && !s.tx.failed && s.terms.Attribution == AttributionStatement && s.notesNow(set) {
		if err := s.noteNobody(set); err != nil {
			return err
		}
	}
	s.tx.miss()
	s.doubtNames()
	return nil
}

// noteNobody sends a note without a statement: in the group that has begun, if there is one, or else, inside a transaction block, as a group of its own.
// The note is not sent as a Query, which would destroy the client's unnamed statement.
func (s *session) noteNobody(set *settings) error {
	if err := s.awaitAnswer(s.tx.group - 1); err != nil {
		return err
	}
	if status, _ := s.pending.lastReady(); status == 'E' || status == 'I' && !s.unsynced {
		return nil
	}
	if s.unsynced {
		return s.note(swallow, nobody, set, s.tx.trail())
	}
	if err := s.note(hush, nobody, set, s.tx.trail()); err != nil {
		return err
	}
	return s.send(entry{kind: 'S', visibility: hush, group: s.tx.group - 1}, func(dst []byte) []byte { return dst })
}
