package consume

import (
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	maxBatchBytes   = 8 << 20 // of lines
	maxBatchRecords = 50_000
)

// batch is what goes into one transaction. Its lines are in one piece of memory, which is used again once it is written.
type batch struct {
	arena     []byte
	rows      []row
	positions map[int32]*position
	rawBytes  int // of the records
}

// row is what a record became: a line of COPY, or a reason why not.
type row struct {
	record     *kgo.Record
	start, end int // of its line in the arena
	keyEnd     int // of its key, the line's first columns
	mask       uint64
	deletes    bool   // a tombstone: the line is the key
	dead       string // the reason
	state      string // SQLSTATE of it, if the server has found it
}

// position is how far a batch takes a partition.
type position struct {
	next    int64
	leader  int32 // epoch of the leader that had the last record
	records int64
}

func newBatch() *batch { return &batch{positions: map[int32]*position{}} }

func (b *batch) empty() bool { return len(b.positions) == 0 }
func (b *batch) full() bool {
	return len(b.arena) >= maxBatchBytes || b.rawBytes >= 4*maxBatchBytes || len(b.rows) >= maxBatchRecords
}

func (b *batch) reset() {
	clear(b.rows) // records are let go
	clear(b.positions)
	b.arena, b.rows, b.rawBytes = b.arena[:0], b.rows[:0], 0
	if cap(b.arena) > 4*maxBatchBytes {
		b.arena = nil
	}
}

// pass moves the position of a partition behind a record.
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
func (b *batch) key(r *row) []byte  { return b.arena[r.start:r.keyEnd] }
