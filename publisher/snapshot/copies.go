package snapshot

import "github.com/pgtee/pgtee/outbox"

// copies records what happened to the copies of a row while its table is copied, in the order of the records. The WAL does not say which of several
// equal rows was deleted, so copies are counted: a reader removes one of those that it has; only if it has none must a copy that was read before the
// DELETE not follow it.
type copies []tally

// tally counts copies that a transaction has added, or has removed if n is negative.
type tally struct {
	xid outbox.XID // read: they come from a chunk of the current copy
	n   int
}

// read is the xid of a tally of copies that chunks have published. No transaction has this id.
const read outbox.XID = 0

func (c copies) size(key string) int { return overtakenBytes + len(key) + 16*cap(c) }

func (c copies) add(xid outbox.XID, n int) copies {
	if last := len(c) - 1; last >= 0 && c[last].xid == xid && (c[last].n < 0) == (n < 0) {
		c[last].n += n
		return c
	}
	return append(c, tally{xid, n})
}

// without returns the tallies but those that drop reports; nil if none is left.
func (c copies) without(drop func(outbox.XID) bool) (rest copies) {
	for _, t := range c {
		if !drop(t.xid) {
			rest = append(rest, t)
		}
	}
	return rest
}

// removed returns how many copies of a chunk the stream has removed: for these DELETEs a reader has no other copy.
func (c copies) removed(v *outbox.Visible) int { return c.cancel(v, 0) }

// cancel takes back up to n of those removals, since a chunk has left the copies out, and returns how many remain. A reader has the copies of former
// chunks, and those that the stream has added; if the chunk sees the latter, it has them too.
func (c copies) cancel(v *outbox.Visible, n int) (remaining int) {
	former, added := 0, 0
	for i := range c {
		t := &c[i]
		switch {
		case t.xid == read:
			former += t.n
		case v.Sees(t.xid):
			former = max(0, former+min(0, t.n))
		case t.n > 0:
			added += t.n
		default:
			lacking := -t.n
			lacking -= take(&added, lacking)
			lacking -= take(&former, lacking)
			canceled := min(n, lacking)
			t.n += canceled
			n -= canceled
			remaining += lacking - canceled
		}
	}
	return remaining
}

// take takes up to n from a stock, and returns how many there were.
func take(stock *int, n int) int {
	n = min(n, *stock)
	*stock -= n
	return n
}

// share is what becomes of the copies of one row in a chunk.
type share struct{ removed, left, published int }

// leaveOut decides about the next copy.
func (s *share) leaveOut() bool {
	if s.left < s.removed {
		s.left++
		return true
	}
	s.published++
	return false
}

// settle records what a chunk has published and left out.
func (o *overlay) settle(t *overtakenTable, key string, v *outbox.Visible, s *share) {
	t.copies[key].cancel(v, s.left)
	if s.published > 0 {
		o.count(t, key, read, s.published)
	}
}

// forgetRead forgets what chunks have published: the rows of another copy are published again.
func (o *overlay) forgetRead() {
	for _, t := range o.tables {
		o.filter(t, func(xid outbox.XID) bool { return xid == read })
	}
}

// filter removes tallies of a table.
func (o *overlay) filter(t *overtakenTable, drop func(outbox.XID) bool) {
	for key, c := range t.copies {
		o.bytes -= c.size(key)
		if t.copies[key] = c.without(drop); t.copies[key] == nil {
			delete(t.copies, key)
			continue
		}
		o.bytes += t.copies[key].size(key)
	}
}
