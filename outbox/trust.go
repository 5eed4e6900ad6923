package outbox

import "github.com/pgtee/pgtee/outbox/note"

import "strconv"

// A note says who wrote what, and any client can send one again: it sees its own in the text of its Query, and those of others in
// pg_stat_activity. What distinguishes the proxy's notes from borrowed ones:
//
//   - The proxy signs what it says: session, counter, server process, user, statement.
//   - The first note of a transaction is *witnessed*: a row of the outbox, or a message that pgtee.sign() has signed for
//     this transaction. Only our functions can have written it, they read process and user from the server, and
//     they write nothing but what a statement of the proxy's has called them for, no function, DO or CALL. It binds the transaction to
//     its session.
//   - A later note is a plain message. It counts in a transaction that is bound to its session.
//   - The notes of a session are numbered, and each number is accepted once (note/replay.go).

// binding is the session that the witnessed notes of a transaction bind it to.
type binding struct {
	bound   bool
	session note.Origin
	counter uint32     // of the last note
	trust   note.Trust // Verified, or how far its session is known
}

// judge reads a note and returns how far it can be trusted.
func (a *Assembler) judge(n *note.Note, c *noteColumns) note.Trust {
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
	if !trust.Lies() && a.replays.Seen(n, uint32(a.current.XID)) {
		return note.Replayed
	}
	return trust
}

// bind returns how far a note that a proxy has made can be trusted in this transaction.
func (a *Assembler) bind(n *note.Note, witnessed bool) note.Trust {
	of := n.Origin()
	switch b := &a.binding; {
	case witnessed:
		trust := n.Known()
		switch {
		case trust.Lies():
		case b.bound && b.session == of && int32(n.Counter-b.counter) <= 0: // prepared transactions, too, count upwards
			return note.Replayed
		default:
			*b = binding{true, of, n.Counter, trust}
		}
		return trust
	case n.Flags&(note.FlagRow|note.FlagSigned) != 0: // taken from a witnessed one
		return note.Forged
	case !b.bound:
		return note.Unbound
	case b.session != of:
		return note.Forged
	case int32(n.Counter-b.counter) <= 0:
		return note.Replayed
	default:
		b.counter = n.Counter
		return b.trust
	}
}

// signedNote is the first byte of a note that pgtee.sign() has written: HMAC-SHA256 of what follows, and record_send() of ROW('n',
// payload text, user name, role name, pid int, application text, sql bytea, transaction id text).
const signedNote = 2

func isSigned(content []byte) bool { return len(content) > 0 && content[0] == signedNote }

func (a *Assembler) signedColumns(content []byte) (c noteColumns, ok bool) {
	record, ok := a.witness.open(content)
	if !ok {
		return c, false
	}
	var values [8][]byte
	if !readRecord(record, values[:]) || string(values[0]) != "n" || !a.isOurs(values[7]) {
		return c, false
	}
	c, ok = columnsOf(values[1:7])
	c.witnessed = true
	return c, ok
}

// isOurs reports whether a transaction id as text is that of this transaction. It comes with its epoch.
func (a *Assembler) isOurs(text []byte) bool {
	xid, err := strconv.ParseUint(string(text), 10, 64)
	return err == nil && XID(xid) == a.current.XID
}
