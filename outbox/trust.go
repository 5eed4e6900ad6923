package outbox

import "strconv"

// A note says who wrote what, and any client can send it once more: it reads its own in the text of its Query, and others'
// in pg_stat_activity. What tells the proxy's from the borrowed ones:
//
//   - The proxy signs what it says: session, counter, server process, user, statement.
//   - The first note of a transaction is *witnessed*: a row of the outbox, or a message that pgtee.sign() has signed for
//     this transaction. Only our functions can have written it, they read process and user from the server, and
//     they write nothing but what a statement of the proxy's has called them for, no function, DO or CALL. It binds the transaction to
//     its session.
//   - A later note is a plain message. It counts in a transaction that is bound to its session.
//   - The notes of a session are counted, and no number counts twice (replay.go).

// binding is what the witnessed notes of a transaction have bound it to.
type binding struct {
	bound   bool
	session counting
	counter uint32 // of the last note
	trust   Trust  // Verified, or how far its session is known
}

// judge reads a note and says how far it is to be trusted.
func (a *Assembler) judge(n *Note, c *noteColumns) Trust {
	if !a.readPayload(n, c) {
		return Forged
	}
	if !a.verifier.hasKeys() {
		return Unverified
	}
	if !a.verifier.check(n) {
		return Forged
	}
	trust := a.bind(n, c.witnessed)
	if !trust.lies() && a.replays.seen(n, uint32(a.current.XID)) {
		return Replayed
	}
	return trust
}

// bind says what a note that a proxy has made is worth in this transaction.
func (a *Assembler) bind(n *Note, witnessed bool) Trust {
	of := n.origin()
	switch b := &a.binding; {
	case witnessed:
		trust := n.known()
		switch {
		case trust.lies():
		case b.bound && b.session == of && int32(n.Counter-b.counter) <= 0: // prepared transactions, too, count upwards
			return Replayed
		default:
			*b = binding{true, of, n.Counter, trust}
		}
		return trust
	case n.Flags&(FlagRow|FlagSigned) != 0: // taken from a witnessed one
		return Forged
	case !b.bound:
		return Unbound
	case b.session != of:
		return Forged
	case int32(n.Counter-b.counter) <= 0:
		return Replayed
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
