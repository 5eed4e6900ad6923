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
