package main

import (
	"os"
	"runtime/debug"
)

// boundGarbage lowers GOGC to 35, unless it is set: the heap may grow by a third between collections instead of doubling. The publisher
// makes little garbage, so this costs hardly any CPU time, and most of its memory is queues.
func boundGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(35)
	}
}

// collectorBytes is above what one publisher has in use while it copies tables (SNAPSHOT.md: chunks that wait, what the stream
// has overtaken), and a third as much garbage. A limit below what is in use would have garbage collected all the time.
const collectorBytes = 256 << 20

const (
	largeRecordBytes = 4 << 20
	// largeGarbage is the percentage of garbage where records are large: they are few, so it costs little to look at them.
	largeGarbage = 20
)

// boundMemory bounds the garbage of that many publishers, unless GOMEMLIMIT or GOGC say otherwise.
func (f publisherFlags) boundMemory(publishers int) {
	if os.Getenv("GOGC") == "" && f.MaxRecord > largeRecordBytes {
		debug.SetGCPercent(largeGarbage)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(publishers) * f.memoryLimit())
	}
}

// memoryLimit is the memory of one publisher near which garbage is collected more often. It grows with what one part of a
// transaction, and one record on its way from a row to Kafka, may take.
func (f publisherFlags) memoryLimit() int64 {
	return collectorBytes + 4*int64(f.PartBytes) + 12*int64(f.MaxRecord)
}
