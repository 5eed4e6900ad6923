package outbox

import (
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// A note precedes its statement, and the changes up to the next note belong to that statement. For a statement that may or may not write, the note
// follows the statement (FlagClaimsPrevious) and claims the changes since the last note. In a transaction with notes, changes that no note claims
// belong to its session: they get a note without a statement (FlagNameless). So a row names its own statement or none.

// author says which note the next changes belong to.
type author struct {
	note  int // index in the transaction's notes; nobody: a later note may claim the changes
	since int // index of the first change after the last note
	end   int // index after the last change before the next note
}

// nobody is the author while no note is known.
const nobody = -1

// inNextPart returns the author at the start of the next part of a giant, which begins with the last note.
func (a author) inNextPart() author {
	if a.note == nobody {
		return author{note: nobody}
	}
	return author{}
}

// attribute appends a note and assigns changes to its statement. The LSN of a logical message is that of its end, the LSN of a row that of its start,
// and changes of different subtransactions are merged by LSN: a row that directly follows a message in the WAL may be delivered before that message.
func (a *Assembler) attribute(lsn LSN, n *note.Note) {
	changes := a.memory.changes.current()
	end := len(changes)
	for end > a.author.since && changes[end-1].LSN >= lsn {
		end--
	}
	a.author.end = end
	a.attributeBefore(n)
	a.author.since = end
	for i := end; i < len(changes); i++ {
		changes[i].Note = a.author.note
	}
}

// isAhead reports whether the last change follows the message at this LSN in the WAL; both must then be in the same part.
func (a *Assembler) isAhead(lsn LSN) bool {
	changes := a.memory.changes.current()
	return a.message.Kind == pgoutput.KindLogical && len(changes) > 0 && changes[len(changes)-1].LSN >= lsn
}

// attributeBefore appends a note and assigns the changes before it.
func (a *Assembler) attributeBefore(n *note.Note) {
	switch behind := n.Flags&note.FlagClaimsPrevious != 0 && !n.Trust.Lies(); {
	case behind && a.author.note == nobody:
		a.claim(a.append(n))
	case behind: // the preceding changes belong to this statement or to the one before it
		a.claim(a.appendNameless(n))
		a.append(n)
		a.author.note = nobody
	default:
		if n.Trust.Lies() {
			a.nameByLast()
		} else {
			a.nameUnclaimed(n)
		}
		a.author.note = a.append(n)
	}
}

// endAuthors assigns the remaining changes at the end of a transaction or part.
func (a *Assembler) endAuthors() {
	a.author.end = a.memory.changes.len()
	a.nameByLast()
}

// nameByLast assigns unclaimed changes to the session of the last note.
func (a *Assembler) nameByLast() {
	if notes := a.memory.notes.current(); len(notes) > 0 {
		a.nameUnclaimed(&notes[len(notes)-1])
	}
}

// nameUnclaimed assigns unclaimed changes to the session of n.
func (a *Assembler) nameUnclaimed(n *note.Note) {
	if a.author.note == nobody && a.author.since < a.author.end {
		a.claim(a.appendNameless(n))
	}
}

// claim assigns the changes since the last note to the note with this index.
func (a *Assembler) claim(note int) {
	changes := a.memory.changes.current()[a.author.since:a.author.end]
	for i := range changes {
		changes[i].Note = note
	}
}

// append appends a note to the transaction's notes and returns its index.
func (a *Assembler) append(n *note.Note) int {
	*a.memory.notes.next() = *n
	return a.memory.notes.len() - 1
}

// appendNameless appends a note with the session of n and no statement. Role, application and actor are those at the time of n, and may have been
// others when the rows were written.
func (a *Assembler) appendNameless(n *note.Note) int {
	a.current.Bytes += noteBytes
	nameless := *n
	nameless.Flags, nameless.Fingerprint, nameless.SQL = note.FlagNameless, 0, nil
	nameless.Role, nameless.Application, nameless.Actor = nil, nil, nil
	return a.append(&nameless)
}
