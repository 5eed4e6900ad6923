package debezium

import (
	"fmt"
	"strings"
)

// Operations is a set of operations of records.
type Operations uint8

const (
	SkipCreate Operations = 1 << iota
	SkipUpdate
	SkipDelete
	SkipTruncate
)

var operationNames = map[string]Operations{"c": SkipCreate, "u": SkipUpdate, "d": SkipDelete, "t": SkipTruncate}

// ParseOperations reads skipped.operations: c, u, d and t, or none.
func ParseOperations(list []string) (set Operations, err error) {
	for _, name := range list {
		name = strings.ToLower(strings.TrimSpace(name))
		if name == "none" && len(list) == 1 {
			return 0, nil
		}
		operation, known := operationNames[name]
		if !known {
			return 0, fmt.Errorf("operation %q: want c, u, d and t, or none alone", name)
		}
		set |= operation
	}
	return set, nil
}

// has reports whether the set contains the operation with this letter. A snapshot's r is in no set.
func (o Operations) has(op byte) bool {
	switch op {
	case 'c':
		return o&SkipCreate != 0
	case 'u':
		return o&SkipUpdate != 0
	case 'd':
		return o&SkipDelete != 0
	case 't':
		return o&SkipTruncate != 0
	}
	return false
}
