package consume

import (
	"cmp"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBatchBytes   = 8 << 20 // bytes of lines
	maxBatchRecords = 50_000
)

// batch is the content of one transaction. All its lines are in one arena, which is reused once the batch is written.
type batch struct {
	arena     []byte
	rows      []row
	positions map[int32]*position
	rawBytes  int   // size of the records
	doubt     error // why records are dead that may be good ones; nil: there are none
}

// row is the result of decoding a record: a line of COPY, or the reason why there is none.
type row struct {
	record     *kgo.Record
	start, end int // the line in the arena
	shape
	dead  string // why the record is dead; "": it is not
	state string // SQLSTATE of the reason, if the server refused the row
}

// shape says which columns a line has.
type shape struct {
	mask    uint64 // the optional ones
	deletes bool   // a tombstone: the line is only the key
}

func (s shape) compare(other shape) int {
	switch {
	case s.deletes && !other.deletes:
		return -1
	case !s.deletes && other.deletes:
		return 1
	}
	return cmp.Compare(s.mask, other.mask)
}

// position is the position of a partition after a batch.
type position struct {
	next    int64
	leader  int32 // leader epoch of the last record
	records int64
}

func newBatch() *batch { return &batch{positions: map[int32]*position{}} }

func (b *batch) empty() bool { return len(b.positions) == 0 }
func (b *batch) full() bool {
	return len(b.arena) >= maxBatchBytes || b.rawBytes >= 4*maxBatchBytes || len(b.rows) >= maxBatchRecords
}

func (b *batch) reset() {
	clear(b.rows) // release the records
	clear(b.positions)
	b.arena, b.rows, b.rawBytes, b.doubt = b.arena[:0], b.rows[:0], 0, nil
	if cap(b.arena) > 4*maxBatchBytes {
		b.arena = nil
	}
}

// pass moves the position of a partition past a record.
func (b *batch) pass(record *kgo.Record) {
	p := b.positions[record.Partition]
	if p == nil {
		p = &position{}
		b.positions[record.Partition] = p
	}
	p.next, p.leader = record.Offset+1, record.LeaderEpoch
	if !record.Attrs.IsControl() {
		p.records++
	}
}

func (b *batch) line(r *row) []byte { return b.arena[r.start:r.end] }

// alive appends the indices of the rows that are not dead.
func (b *batch) alive(to []int32) []int32 {
	for i := range b.rows {
		if b.rows[i].dead == "" {
			to = append(to, int32(i))
		}
	}
	return to
}
