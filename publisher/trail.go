package publisher

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// Trail is what the audit topic reports about the transactions in Kafka after some position. A repair uses it to find where the histories of Kafka
// and the database diverge, and which tables have rows of lost transactions.
type Trail struct {
	Whole bool // the topic reaches back to that position
	of    map[trailed]tables
}

// Trails is a Log whose audit topic can be read backwards, from its end to a transaction that ends at or before a position. names are those that the
// database has and had.
type Trails interface {
	Trail(ctx context.Context, back outbox.LSN, names []string) (*Trail, error)
}

func NewTrail() *Trail { return &Trail{Whole: true, of: map[trailed]tables{}} }

// Full reports whether the trail has reached its limit. It then does not reach back to the position.
func (t *Trail) Full() bool { return len(t.of) > maxTrail }

// trailed identifies a transaction across histories.
type trailed struct {
	end    outbox.LSN
	xid    outbox.XID
	micros int64 // commit time in microseconds since 1970
}

// tables are the tables that a transaction changed.
type tables struct {
	names   []string // schema.table
	omitted bool     // the transaction changed further tables
}

// maxTrail bounds the memory of a trail to about 100 MB. Transactions further back cannot be compared.
const maxTrail = 1 << 19

func trailedOf(tx *outbox.Transaction) trailed {
	return trailed{tx.EndLSN, tx.XID, tx.CommitTime.UnixMicro()}
}

// has reports whether a transaction is in Kafka.
func (t *Trail) has(tx *outbox.Transaction) bool {
	_, found := t.of[trailedOf(tx)]
	return found
}

// lostAfter returns the number of transactions that end after a position, and the tables they changed. all reports whether other tables may have been
// changed too.
func (t *Trail) lostAfter(position outbox.LSN) (n int, names []string, all bool) {
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

// Add adds a record of the audit topic and returns the end LSN of its transaction, 0 if the record is not about one.
func (t *Trail) Add(value []byte, names []string) outbox.LSN {
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
	if json.Unmarshal(value, &record) != nil || !slices.Contains(names, record.Database) || record.Via == "repair" {
		return 0 // of another database, or of a repair
	}
	changed := tables{omitted: record.Omitted > 0}
	for _, table := range record.Tables {
		changed.names = append(changed.names, table.Table)
	}
	t.of[trailed{record.End, record.XID, record.Time.UnixMicro()}] = changed
	return record.End
}
