package outbox

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Visible is the snapshot of a query: the value of pg_current_snapshot() ("pg_snapshot Components" in the PostgreSQL documentation). Its numbers are
// 64-bit ids of top-level transactions.
type Visible struct {
	Xmin, Xmax uint64   // every transaction below Xmin had ended; no transaction from Xmax on had
	InProgress []uint64 // transactions between the two that had not ended, in ascending order
}

// ParseVisible reads "xmin:xmax:xid,xid,...".
func ParseVisible(text string) (Visible, error) {
	var v Visible
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return v, fmt.Errorf("snapshot %.100q: want xmin:xmax:list", text)
	}
	var err error
	if v.Xmin, err = strconv.ParseUint(parts[0], 10, 64); err != nil {
		return v, fmt.Errorf("snapshot: %w", err)
	}
	if v.Xmax, err = strconv.ParseUint(parts[1], 10, 64); err != nil {
		return v, fmt.Errorf("snapshot: %w", err)
	}
	if parts[2] == "" {
		return v, nil
	}
	for number := range strings.SplitSeq(parts[2], ",") {
		xid, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return v, fmt.Errorf("snapshot: %w", err)
		}
		v.InProgress = append(v.InProgress, xid)
	}
	slices.Sort(v.InProgress)
	return v, nil
}

// Sees reports whether the effects of a committed transaction were visible. The stream only has the low 32 bits of the id; Sees chooses the id
// nearest to the snapshot, since two ids less than 2^31 apart differ in these bits.
func (v *Visible) Sees(xid XID) bool {
	full := v.Xmax + uint64(int64(int32(uint32(xid)-uint32(v.Xmax))))
	if full < v.Xmin {
		return true
	}
	if full >= v.Xmax {
		return false
	}
	_, running := slices.BinarySearch(v.InProgress, full)
	return !running
}
