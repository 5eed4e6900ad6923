package main

import "testing"

// What a publisher may hold leaves room for garbage: else it would do little but collect it.
func TestMemoryLimit(t *testing.T) {
	const (
		queue, overlay, chunks = 16 << 20, 64 << 20, 36 << 20
		flights                = 3 * 4 << 20
	)
	for _, f := range []publisherFlags{
		{PartBytes: 4 << 20, MaxRecord: 1_000_012},
		{PartBytes: 64 << 20, MaxRecord: 1_000_012},
		{PartBytes: 4 << 20, MaxRecord: 90 << 20},
	} {
		row := max(8<<20, 2*int64(f.MaxRecord)) // that is held
		held := queue + overlay + chunks + flights + 2*int64(f.PartBytes) + 3*row + 2*int64(f.MaxRecord)
		if limit := f.memoryLimit(); limit < held*5/4 {
			t.Errorf("parts of %d and records of %d bytes: limit %d, %d may be held", f.PartBytes, f.MaxRecord, limit, held)
		}
	}
}
