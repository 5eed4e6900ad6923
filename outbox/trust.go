package outbox

import (
	"strconv"

	"github.com/pgtee/pgtee/outbox/note"
)

// A note says who wrote what, and any client can send a copy of one: it sees its own notes in the text of its Query, and those of others in
// pg_stat_activity. What distinguishes the proxy's notes from copies:
//
//   - The proxy signs session, counter, server process, user and statement.
//   - The first note of a transaction is *witnessed*: a row of the outbox, or a message that pgtee.sign() has signed for
//     this transaction. Only pgtee's functions can have written it. They read process and user from the server, and
//     write only when a statement of the proxy has called them, not a function, DO or CALL. The witnessed note binds
//     the transaction to its session.
//   - A later note is a plain message. It is accepted in a transaction that is bound to its session.
//   - The notes of a session are numbered, and each number is accepted once (note/replay.go). A plain message in a
//     transaction that is bound to no session uses up no number: anybody can send a copy before the session commits.

// binding is the session to which witnessed notes bind a transaction.
type binding struct {
	bound   bool
	session note.Origin
	counter uint32     // of the last note
	trust   note.Trust // how far notes of the session can be trusted
}

// verify decodes a note and returns how far it can be trusted.
func (a *Assembler) verify(n *note.Note, c *noteColumns) note.Trust {
	if !a.readPayload(n, c) {
		return note.Forged
	}
	if !a.verifier.HasKeys() {
		return note.Unverified
	}
	if !a.verifier.Check(n) {
		return note.Forged
	}
	trust := a.bind(n, c.witnessed)
	if !trust.Lies() && a.replays.Seen(n, uint32(a.current.XID), trust != note.Unbound) {
		return note.Replayed
	}
	return trust
}

// bind returns how far a note made by a proxy can be trusted in this transaction.
func (a *Assembler) bind(n *note.Note, witnessed bool) note.Trust {
	switch {
	case witnessed:
		return a.binding.witness(n)
	case n.Flags&(note.FlagRow|note.FlagSigned) != 0: // copied from a witnessed note
		return note.Forged
	}
	return a.binding.follow(n)
}

// witness binds the transaction to the session of a witnessed note.
func (b *binding) witness(n *note.Note) note.Trust {
	trust := n.Known()
	if trust.Lies() {
		return trust
	}
	if b.bound && b.session == n.Origin() && !b.isNewer(n) { // counters also increase within prepared transactions
		return note.Replayed
	}
	*b = binding{true, n.Origin(), n.Counter, trust}
	return trust
}

// follow returns the trust in a later note of the transaction.
func (b *binding) follow(n *note.Note) note.Trust {
	switch {
	case !b.bound:
		return note.Unbound
	case b.session != n.Origin():
		return note.Forged
	case !b.isNewer(n):
		return note.Replayed
	}
	b.counter = n.Counter
	return b.trust
}

// isNewer compares counters that may wrap around.
func (b *binding) isNewer(n *note.Note) bool { return int32(n.Counter-b.counter) > 0 }

// signedNote is the first byte of a note that pgtee.sign() has written. The HMAC-SHA256 of the rest follows, then record_send() of ROW('n', payload
// text, user name, role name, pid int, application text, sql bytea, transaction id text).
const signedNote = 2

func isSigned(content []byte) bool { return len(content) > 0 && content[0] == signedNote }

func (a *Assembler) signedColumns(content []byte) (c noteColumns, ok bool) {
	record, ok := a.witness.open(content)
	if !ok {
		return c, false
	}
	var values [8][]byte
	if !readRecord(record, values[:]) || string(values[0]) != "n" || !a.isCurrentXID(values[7]) {
		return c, false
	}
	c, ok = columnsOf(values[1:7])
	c.witnessed = true
	return c, ok
}

// isCurrentXID reports whether a transaction id, given as text with its epoch, is that of this transaction.
func (a *Assembler) isCurrentXID(text []byte) bool {
	xid, err := strconv.ParseUint(string(text), 10, 64)
	return err == nil && XID(xid) == a.current.XID
}
