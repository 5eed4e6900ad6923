package main

import (
	"os"
	"runtime/debug"
)

// boundGarbage has garbage collected when it is half of what lives, not as much as it, unless GOGC says otherwise. The
// publisher makes little garbage, so that costs hardly any time, and queues make up most of its memory.
func boundGarbage() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}

// collectorBytes is the memory of one publisher near which garbage is collected more often: half of it is in use at
// most, and the other half would only be garbage.
const collectorBytes = 128 << 20

// boundMemory bounds the garbage of that many publishers, unless GOMEMLIMIT says otherwise.
func boundMemory(publishers int) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(publishers) * collectorBytes)
	}
}
