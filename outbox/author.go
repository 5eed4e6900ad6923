package outbox

import "github.com/pgtee/pgtee/outbox/note"

import "github.com/pgtee/pgtee/outbox/pgoutput"

// A note stands in front of its statement, and what comes up to the next note is the statement's. Of a statement that may
// write or not it stands behind (FlagBehind), and claims what has come since the last note. What no note claims, in a
// transaction that has notes, is known to be of its session: it gets a note of no statement (FlagNameless). A row is under the
// name of its own statement, or of none.

// author is who has written what comes now.
type author struct {
	note  int // index in the transaction's notes; nobody: a note behind it may claim it
	since int // index of the first change behind the last note
	end   int // ... and behind the last one before the next note
}

// nobody is the author of what no note is known for.
const nobody = -1

// inNextPart is the author where a giant goes on: the part begins with the last note.
func (a author) inNextPart() author {
	if a.note == nobody {
		return author{note: nobody}
	}
	return author{}
}

// attribute appends a note, and says which changes are its statement's. A logical message has the LSN of its end, a row that of its
// start, and what is written in other subtransactions is sorted by these: a row that stands directly behind a message in the log
// may come before it.
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

// isAhead reports whether the last change stands behind what comes with this LSN: both must be in one part.
func (a *Assembler) isAhead(lsn LSN) bool {
	changes := a.memory.changes.current()
	return a.message.Kind == pgoutput.KindLogical && len(changes) > 0 && changes[len(changes)-1].LSN >= lsn
}

// attributeBefore appends a note, and says which of the changes before it are its statement's.
func (a *Assembler) attributeBefore(n *note.Note) {
	switch behind := n.Flags&note.FlagBehind != 0 && !n.Trust.Lies(); {
	case behind && a.author.note == nobody:
		a.claim(a.append(n))
	case behind: // what has come is of this statement, or of the one before
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

// endAuthors is the end of a transaction, or of a part of it.
func (a *Assembler) endAuthors() {
	a.author.end = a.memory.changes.len()
	a.nameByLast()
}

// nameByLast puts what no note has claimed under the session of the last note.
func (a *Assembler) nameByLast() {
	if notes := a.memory.notes.current(); len(notes) > 0 {
		a.nameUnclaimed(&notes[len(notes)-1])
	}
}

// nameUnclaimed puts what no note has claimed under the session of n.
func (a *Assembler) nameUnclaimed(n *note.Note) {
	if a.author.note == nobody && a.author.since < a.author.end {
		a.claim(a.appendNameless(n))
	}
}

// claim puts the changes since the last note under that with this index.
func (a *Assembler) claim(note int) {
	changes := a.memory.changes.current()[a.author.since:a.author.end]
	for i := range changes {
		changes[i].Note = note
	}
}

// append appends a note to the transaction's, and returns its index.
func (a *Assembler) append(n *note.Note) int {
	*a.memory.notes.next() = *n
	return a.memory.notes.len() - 1
}

// appendNameless appends what n says of its session.
func (a *Assembler) appendNameless(n *note.Note) int {
	a.current.Bytes += noteBytes
	nameless := *n
	nameless.Flags, nameless.Fingerprint, nameless.SQL = note.FlagNameless, 0, nil
	return a.append(&nameless)
}
