package outbox

import "github.com/pgtee/pgtee/outbox/note"

// arena is the memory of transactions. Consecutive transactions share it, so that a row needs no allocation of its own. Nothing in it is reused: the
// garbage collector frees a chunk when no transaction refers to it any more.
//
// Transactions are dropped in order, so an old transaction must not keep more than one chunk alive. Therefore a transaction that did not fit into the
// current chunk shares its slabs with no later transaction.
type arena struct {
	chunk   []byte
	spilled bool // the current transaction refers to more than one chunk
	changes slab[Change]
	notes   slab[note.Note]
}

const (
	chunkBytes = 256 << 10
	slabLength = 1024
)

// begin prepares the arena for the next transaction.
func (m *arena) begin() {
	if m.spilled {
		m.spilled = false
		m.changes, m.notes = slab[Change]{}, slab[note.Note]{}
	}
}

// room returns size zero bytes that are not used elsewhere; nil for 0.
func (m *arena) room(size int) []byte {
	if size == 0 {
		return nil
	}
	if size > cap(m.chunk)-len(m.chunk) {
		m.spilled = true
		if size > chunkBytes/4 {
			return make([]byte, size)
		}
		m.chunk = make([]byte, 0, chunkBytes)
	}
	start, end := len(m.chunk), len(m.chunk)+size
	m.chunk = m.chunk[:end]
	return m.chunk[start:end:end]
}

// copy returns a copy of data; nil for none.
func (m *arena) copy(data []byte) []byte {
	room := m.room(len(data))
	copy(room, data)
	return room
}

// slab cuts slices out of a longer one: next extends the current slice, take ends it.
type slab[T any] struct {
	items []T
	start int // of the current slice
}

// next appends a zero item. The pointer is valid until the next call.
func (s *slab[T]) next() *T {
	if len(s.items) == cap(s.items) {
		s.grow()
	}
	s.items = s.items[:len(s.items)+1]
	return &s.items[len(s.items)-1]
}

// grow moves the current slice, and only that one, to a new and longer array.
func (s *slab[T]) grow() {
	kept := s.current()
	s.items = append(make([]T, 0, max(slabLength, 2*len(kept))), kept...)
	s.start = 0
}

// current returns the slice that take would return.
func (s *slab[T]) current() []T { return s.items[s.start:] }

func (s *slab[T]) len() int { return len(s.items) - s.start }

// take returns the current slice, nil if empty, and starts the next one.
func (s *slab[T]) take() []T {
	end := len(s.items)
	if end == s.start {
		return nil
	}
	taken := s.items[s.start:end:end]
	s.start = end
	return taken
}
