package publisher

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// Trail is what the audit topic says of the transactions that are in Kafka, from some position on. A repair finds by it where
// the histories of Kafka and the database part, and which tables have rows of the one that was lost.
type Trail struct {
	Whole bool // the topic reaches back to that position
	of    map[trailed]tables
}

// Trails is a Log that can be read back: from its end to a transaction that ends at or before a position.
type Trails interface {
	Trail(ctx context.Context, back outbox.LSN) (*Trail, error)
}

func NewTrail() *Trail { return &Trail{Whole: true, of: map[trailed]tables{}} }

// Full reports whether the trail has no room for more. Then it does not reach back.
func (t *Trail) Full() bool { return len(t.of) > maxTrail }

// trailed names a transaction as no other history can.
type trailed struct {
	end    outbox.LSN
	xid    outbox.XID
	micros int64 // of its commit, since 1970
}

// tables are those that a transaction changed.
type tables struct {
	names   []string // schema.table
	omitted bool     // and others
}

// maxTrail bounds the memory of a trail: 100 MB or so. What is behind that many transactions cannot be told apart.
const maxTrail = 1 << 19

func trailedOf(tx *outbox.Transaction) trailed {
	return trailed{tx.EndLSN, tx.XID, tx.CommitTime.UnixMicro()}
}

// has reports whether a transaction is in Kafka.
func (t *Trail) has(tx *outbox.Transaction) bool {
	_, found := t.of[trailedOf(tx)]
	return found
}

// behind returns how many of the transactions end behind a position, and which tables they changed; all is true if others may
// be among those.
func (t *Trail) behind(position outbox.LSN) (n int, names []string, all bool) {
	all = !t.Whole
	for tx, changed := range t.of {
		if tx.end > position {
			n++
			names = append(names, changed.names...)
			all = all || changed.omitted
		}
	}
	slices.Sort(names)
	return n, slices.Compact(names), all
}

// Add takes a record of the audit topic, and returns the position that it tells of, 0 for none.
func (t *Trail) Add(value []byte, database string) outbox.LSN {
	var record struct {
		Database string     `json:"database"`
		XID      outbox.XID `json:"xid"`
		End      outbox.LSN `json:"end_lsn"`
		Time     time.Time  `json:"commit_time"`
		Via      string     `json:"via"`
		Tables   []struct {
			Table string `json:"table"`
		} `json:"tables"`
		Omitted int `json:"tables_omitted"`
	}
	if json.Unmarshal(value, &record) != nil || record.Database != database || record.Via == "repair" {
		return 0 // somebody else's
	}
	changed := tables{omitted: record.Omitted > 0}
	for _, table := range record.Tables {
		changed.names = append(changed.names, table.Table)
	}
	t.of[trailed{record.End, record.XID, record.Time.UnixMicro()}] = changed
	return record.End
}
