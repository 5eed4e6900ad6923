package proxy

import (
	"encoding/binary"

	"github.com/pgtee/pgtee/parser"
)

// condition says in which transactions a statement gets a note.
type condition byte

const (
	inNone  condition = iota
	inEvery           // in every transaction
	inBlock           // in an explicit block, or once the transaction has a note
	ifNoted           // once the transaction has a note
	alone             // only as the single statement of its group, outside a block
)

// form is how a note reaches the server.
type form byte

const (
	unsent     form = iota
	splicing        // as a statement inside the client's Query, in front of its own
	executing       // as Bind, Execute and Close in front of the client's Execute
	trailing        // as one of the two above, but behind the statement, if the transaction has written
	converting      // the same for the only statement of a Query, which is sent as messages of the extended protocol; see exact.go
	following       // as a group of its own, after the statement has succeeded
)

// path is one way in which a statement reaches the server, and the form of its note.
type path struct {
	message   byte        // Q: a statement of a Query; E: an Execute
	need      parser.Need // of the statement
	when      condition
	form      form   // of its note under that condition
	otherwise form   // form of its note if the condition does not hold
	sent      string // which messages are sent, and where
	swallowed string // server messages that the client does not see
	failure   string // what the client sees if the note fails
}

const (
	inText    = "SELECT pgtee.note('…',current_user); at the start of the statement, in the same Query"
	orBehind  = inText + "; or at its end WHERE the transaction has an id"
	atExecute = "[Close S, Parse] Bind, Execute, Close P in front of the portal's Execute"
	orAfter   = atExecute + "; or behind it, WHERE the transaction has an id"
	orExact   = inText + "; DDL alone: note, Parse, Bind, Describe, Execute, Close, Sync in place of the Query"
	asParse   = inText + "; or Parse, Bind, Describe, Execute, note, Close, Sync in place of the Query"
	afterward = "after success a Query of its own, before the client's ReadyForQuery"
	afterSync = "after success [Close S, Parse] Bind, Execute, Close P, Sync, before the client's ReadyForQuery"

	asQuery   = "the Query fails: one error marked pgtee, one ReadyForQuery"
	asExecute = "the group fails: one error marked pgtee, everything skipped up to Sync"
	asNothing = "swallowed and counted"
)

// paths lists everything that the proxy adds to a session for its statements; noteApart, noteEarly and noteEnd add notes of no statement.
// Replication and COPY data pass untouched; a statement that cannot be parsed counts as one that writes.
var paths = [...]path{
	{'Q', parser.Never, inNone, unsent, unsent, "", "", ""},
	{'Q', parser.Always, inEvery, splicing, unsent, orExact, "T D C; 1 2 D C 3 3 1 2 [n] 3", asQuery},
	{'Q', parser.InBlock, inBlock, splicing, converting, asParse, "T D C; 1 2 [n] 1 2 [D] C 3 3", asQuery},
	{'Q', parser.IfNoted, ifNoted, splicing, trailing, orBehind, "T [D] C", asQuery},
	{'Q', parser.After, alone, following, unsent, afterward, "Z, T D C", asNothing},
	{'E', parser.Never, inNone, unsent, unsent, "", "", ""},
	{'E', parser.Always, inEvery, executing, unsent, atExecute, "[3 1] 2 D C 3", asExecute},
	{'E', parser.InBlock, inBlock, executing, trailing, orAfter, "[3 1] 2 [D] C 3", asExecute},
	{'E', parser.IfNoted, ifNoted, executing, trailing, orAfter, "[3 1] 2 [D] C 3", asExecute},
	{'E', parser.After, alone, following, unsent, afterSync, "Z, [3 1] 2 D C 3", asNothing},
}

// pathOf returns the row of the table, which is ordered by message and need.
func pathOf(message byte, need parser.Need) *path {
	if message == 'Q' {
		return &paths[need]
	}
	return &paths[len(paths)/2+int(need)]
}

// requests are the handlers of client messages. All other messages are forwarded.
var requests = [256]struct {
	whole bool // act needs the complete message, or a full buffer of it
	act   func(*session, message) error
}{
	'Q': {true, (*session).query},
	'P': {true, (*session).parse},
	'B': {true, (*session).bind},
	'D': {true, (*session).describe},
	'E': {true, (*session).execute},
	'C': {true, (*session).closeObject},
	'S': {false, (*session).sync},
	'F': {true, (*session).functionCall},
	'd': {false, (*session).copyData},
	'c': {false, (*session).copyEnded},
	'f': {false, (*session).copyEnded},
	'X': {false, (*session).terminate},
}

// enter begins a group, unless the message belongs to one that has already begun.
func (s *session) enter() error {
	if s.inGroup {
		return nil
	}
	if err := s.awaitSettings(); err != nil {
		return err
	}
	s.inGroup = true
	if s.notes != nil && !s.tx.open && !s.tx.begun && s.runsLate() { // at the end of the group before
		s.doubtNames()
	}
	status, answered := s.pending.lastReady()
	s.tx.next(status, answered)
	if s.tx.certain && status == 'I' {
		s.statements.closePortals()
	}
	return s.checkTrust()
}

// awaitSettings waits for the reply to an earlier group on which later notes depend.
func (s *session) awaitSettings() error {
	if s.tx.unsure == 0 || s.notes == nil {
		return nil
	}
	if err := s.awaitAnswer(s.tx.unsure); err != nil {
		return err
	}
	s.tx.unsure = 0
	s.notes.unsure = 0
	return nil
}

// learnBlock makes certain whether a block is open if only a BEGIN says so that has not been answered, and may have been refused or skipped.
func (s *session) learnBlock() error {
	if s.tx.open || !s.tx.begun {
		return nil
	}
	return s.learnState()
}

// learnState makes certain in which state the group has begun.
func (s *session) learnState() error {
	if s.tx.certain {
		return nil
	}
	if err := s.awaitAnswer(s.tx.group - 1); err != nil {
		return err
	}
	status, answered := s.pending.lastReady()
	s.tx.learn(status, answered)
	if s.tx.certain && status == 'I' && s.executed.group != s.tx.group {
		s.tx.end()
	}
	return nil
}

// awaitAnswer waits until group has been answered. First it flushes everything that is buffered.
func (s *session) awaitAnswer(group uint32) error {
	if err := s.up.flush(s.server); err != nil {
		return err
	}
	s.pending.awaitAnswer(group)
	return nil
}

// notesNow reports whether the session can write notes at this moment. It does not exclude a hot standby, where pgtee.note() does nothing and the write
// is refused: the server reports a promotion only with the reply to the first request after it. For a statement that only may write, this would cost too
// much, so trails and wantsExact exclude a standby.
func (s *session) notesNow(*settings) bool {
	return s.isReady() && !s.pending.isLost()
}

// isReady reports whether the session can write notes. A transaction that has a note goes on with notes while another session asks whether a schema
// that it trusts is an outbox still.
func (s *session) isReady() bool {
	return s.database.isReady() || s.hasNotes() && s.database.last().trusted
}

// hasNotes reports whether the transaction may have a note, to which its further writes would be attributed if they had none.
func (s *session) hasNotes() bool {
	return s.notes != nil && s.tx.noted && s.notes.counter > 0
}

// checkTrust ends a session whose transaction has a note, but can have no further ones, because the outbox is gone, or the schema has got an owner whose
// functions are not called. A block that has failed, and has no savepoint, has no further writes.
func (s *session) checkTrust() error {
	if s.database.isReady() || !s.hasNotes() || s.tx.failed && !s.tx.nested {
		return nil
	}
	switch last := s.database.last(); {
	case last.trusted:
		return nil
	case last.owner != "":
		return s.refuse(outboxError(s.started.database, distrust, last.owner))
	}
	return s.refuse(outboxGoneError(s.started.database))
}

// skips reports whether a statement that needs a note is covered by an earlier note.
func (s *session) skips(hash uint64) bool {
	if s.terms.Attribution == AttributionTransaction {
		return s.tx.carried && s.tx.last != 0 // 0: the role or a setting may have changed since
	}
	return hash != 0 && hash == s.tx.last
}

// sync handles Sync. Like query and functionCall, it ends a group.
func (s *session) sync(m message) error {
	if err := s.enter(); err != nil {
		return err
	}
	if err := s.noteImplicitEnd(s.pending.settings.Load()); err != nil {
		return err
	}
	s.inGroup, s.unsynced, s.synced = false, false, true
	e := entry{kind: 'S', group: s.tx.group}
	if st := s.afterGroup(); st != nil {
		return s.syncThenNote(m, e, st)
	}
	return s.forward(m, e)
}

// copyEnded handles CopyDone and CopyFail.
func (s *session) copyEnded(m message) error {
	next := s.tx.group + 1
	if s.inGroup {
		next = s.tx.group
	}
	s.executed.endCopy(next)
	return s.forward(m, entry{kind: copyEnd})
}

// terminate handles Terminate: the server exits, unless it waits for copy data.
func (s *session) terminate(m message) error {
	s.terminated = true
	s.up.pass(m)
	return nil
}

// forward forwards a message that expects a reply.
func (s *session) forward(m message, e entry) error {
	if err := s.expect(e); err != nil {
		return err
	}
	s.up.pass(m)
	return nil
}

// appendMessage appends a message whose body build appends.
func appendMessage(dst []byte, kind byte, build func([]byte) []byte) []byte {
	start := len(dst)
	dst = build(append(dst, kind, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}
