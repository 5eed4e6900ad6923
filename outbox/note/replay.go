package note

// A note is good once: whoever reads one (it stands in the text of the client's own Query) could call pgtee.note()
// with it again in the same session, where its HMAC is right, and have rows told as another statement's.

// Origin is what identifies the notes of one session: they are counted from 1, and no number comes twice before the
// counter wraps around.
type Origin struct {
	proxy   uint32
	session SessionID
}

// Origin is that of a note.
func (n *Note) Origin() Origin { return Origin{n.ProxyID, n.Session} }

// newest is the latest counter of a session, and the transaction that brought it.
type newest struct {
	counter uint32
	xid     uint32
}

// Replays remembers the sessions of late. It forgets those that have written least recently: after maxCounted
// others, or with the stream.
type Replays struct {
	young, old map[Origin]newest
}

// maxCounted sessions are remembered at least, twice as many at most: 4 MB.
const maxCounted = 32 << 10

// Seen reports whether a verified note is a replay. The transactions of a session follow each other, and so do
// their ids: a lower counter is genuine only in an older transaction, which was prepared and committed late.
func (r *Replays) Seen(n *Note, xid uint32) bool {
	key := n.Origin()
	last, known := r.young[key]
	if !known {
		last, known = r.old[key]
	}
	if known && int32(n.Counter-last.counter) <= 0 {
		return !precedes(xid, last.xid)
	}
	if r.young == nil || len(r.young) >= maxCounted {
		r.young, r.old = map[Origin]newest{}, r.young
	}
	r.young[key] = newest{n.Counter, xid}
	return false
}

// precedes compares transaction ids, which wrap around ("Routine Vacuuming", PostgreSQL documentation 24.1.5).
func precedes(a, b uint32) bool { return int32(a-b) < 0 }
