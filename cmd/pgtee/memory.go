package main

import (
	"os"
	"runtime/debug"
)

// limitGarbage lowers GOGC to 35, unless it is set: the heap may grow by a third between collections instead of doubling. The publisher produces
// little garbage, so this costs hardly any CPU time, and most of its memory is queues.
func limitGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(35)
	}
}

// baseMemoryBytes is more than the memory that one publisher uses while it copies tables (SNAPSHOT.md: waiting chunks, the overlay), plus a third of
// that as garbage. A limit below the memory in use would cause permanent garbage collection.
const baseMemoryBytes = 256 << 20

const (
	largeRecordBytes = 4 << 20
	// largeGarbage is GOGC if records are large: there are few objects, so collecting them costs little.
	largeGarbage = 20
)

// limitMemory sets the memory limit for this number of publishers, and a lower GOGC for large records, unless GOMEMLIMIT or GOGC are set.
func (f publisherFlags) limitMemory(publishers int) {
	if os.Getenv("GOGC") == "" && f.MaxRecord > largeRecordBytes {
		debug.SetGCPercent(largeGarbage)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(publishers) * f.memoryLimit())
	}
}

// memoryLimit returns the soft memory limit for one publisher. It grows with the size of a part of a transaction, and of a record.
func (f publisherFlags) memoryLimit() int64 {
	return baseMemoryBytes + 4*int64(f.PartBytes) + 12*int64(f.MaxRecord)
}
