package apply

import (
	"bytes"
	"fmt"
	"math"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// LSN is a position in the WAL of the source.
type LSN = pgoutput.LSN

// place is the place of a record in the order of the source: the commit LSN of its transaction, the ordinal of its change in the transaction, and the
// number of the record among those of the change.
type place struct {
	commit  LSN
	ordinal uint32
	repeat  uint32
}

func (p place) less(other place) bool {
	if p.commit != other.commit {
		return p.commit < other.commit
	}
	if p.ordinal != other.ordinal {
		return p.ordinal < other.ordinal
	}
	return p.repeat < other.repeat
}

// behind is the ordinal of records that follow all changes of a transaction.
const behind = math.MaxUint32

// eventID is the event id header of a record: system/slot/timeline[.cuts]/LSN/number. The LSN itself contains a slash.
type eventID struct {
	place
	source   []byte // system/slot
	slot     []byte
	timeline int32
	cuts     int    // number of repairs that had set the stream back
	snapshot []byte // id of the copy that has read the row; nil: the record is a change from the WAL
}

var (
	snapshotMark = []byte("snapshot.")
	slash        = []byte("/")
	dot          = []byte(".")
)

// parseEventID parses an event id. The slices of id are parts of header.
func parseEventID(header []byte) (id eventID, err error) {
	malformed := func() (eventID, error) {
		return eventID{}, fmt.Errorf("event id %q: want system/slot/timeline[.cuts]/LSN/number", header)
	}
	rest, found := header, false
	var parts [5][]byte
	for i := range parts {
		if parts[i], rest, found = bytes.Cut(rest, slash); !found {
			return malformed()
		}
	}
	id.source, id.slot = header[:len(parts[0])+1+len(parts[1])], parts[1]
	timeline, cuts, cut := bytes.Cut(parts[2], dot)
	number, ok := parseDecimal(timeline)
	if !ok {
		return malformed()
	}
	id.timeline = int32(number)
	if cut {
		if number, ok = parseDecimal(cuts); !ok {
			return malformed()
		}
		id.cuts = int(number)
	}
	high, ok := parseHex(parts[3])
	low, fits := parseHex(parts[4])
	if !ok || !fits {
		return malformed()
	}
	id.commit = LSN(uint64(high)<<32 | uint64(low))
	if after, is := bytes.CutPrefix(rest, snapshotMark); is {
		end := bytes.LastIndex(after, dot)
		if end < 0 {
			return malformed()
		}
		id.snapshot, id.ordinal = after[:end], behind
		return id, nil
	}
	ordinal, repeat, repeated := bytes.Cut(rest, dot)
	switch string(ordinal) {
	case "begin":
		return id, nil
	case "end", "audit":
		id.ordinal = behind
		return id, nil
	}
	if id.ordinal, ok = parseDecimal(ordinal); !ok {
		return malformed()
	}
	if repeated {
		if id.repeat, ok = parseDecimal(repeat); !ok {
			return malformed()
		}
	}
	return id, nil
}

func parseHex(text []byte) (n uint32, ok bool) {
	if len(text) == 0 || len(text) > 8 {
		return 0, false
	}
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		n = n<<4 | uint32(c)
	}
	return n, true
}

func parseDecimal(text []byte) (uint32, bool) {
	if len(text) == 0 || len(text) > 9 {
		return 0, false
	}
	n := uint32(0)
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint32(c-'0')
	}
	return n, true
}
