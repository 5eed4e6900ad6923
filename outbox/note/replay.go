package note

// A note may be used only once. A client could read a note, which is part of the text of its own Query, and call pgtee.note() with it again in the
// same session, where its HMAC is valid, so that rows would be attributed to another statement.

// Origin identifies the notes of one session: they are numbered from 1, and no number occurs twice before the counter wraps around.
type Origin struct {
	proxy   uint32
	session SessionID
}

// Origin returns the origin of a note.
func (n *Note) Origin() Origin { return Origin{n.ProxyID, n.Session} }

// newest is the latest counter of a session, and the transaction in which it was used.
type newest struct {
	counter uint32
	xid     uint32
}

// Replays keeps the latest counters of recent sessions. It forgets a session once at least maxCounted other sessions have written, and all of them when
// the stream ends.
type Replays struct {
	young, old map[Origin]newest
}

// maxCounted is the minimum number of sessions that are kept; the maximum is twice as many, 4 MB.
const maxCounted = 32 << 10

// Seen reports whether a note made by a proxy is a replay. The transactions of a session follow each other, and so do their ids: a lower counter is
// genuine only in an older transaction, which was prepared and committed later. The counter is used up only if the note is known to come from its
// session (own): otherwise whoever sends a copy of a note before its transaction commits would make the session's own notes replays.
func (r *Replays) Seen(n *Note, xid uint32, own bool) bool {
	key := n.Origin()
	last, known := r.young[key]
	if !known {
		last, known = r.old[key]
	}
	if known && int32(n.Counter-last.counter) <= 0 {
		return !precedes(xid, last.xid)
	}
	if !own {
		return false
	}
	if r.young == nil || len(r.young) >= maxCounted {
		r.young, r.old = map[Origin]newest{}, r.young
	}
	r.young[key] = newest{n.Counter, xid}
	return false
}

// precedes compares transaction ids, which wrap around ("Routine Vacuuming", PostgreSQL documentation 24.1.5).
func precedes(a, b uint32) bool { return int32(a-b) < 0 }
