package publisher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
)

// trail is what the audit topic says of the transactions that are in Kafka, from some position on. A repair finds by it where
// the histories of Kafka and the database part, and which tables have rows of the one that was lost.
type trail struct {
	whole bool // the topic reaches back to that position
	of    map[trailed]tables
}

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

// trailTimeout bounds the time that reading it takes.
const trailTimeout = 5 * time.Minute

func trailedOf(tx *outbox.Transaction) trailed {
	return trailed{tx.EndLSN, tx.XID, tx.CommitTime.UnixMicro()}
}

// has says whether a transaction is in Kafka.
func (t *trail) has(tx *outbox.Transaction) bool {
	_, found := t.of[trailedOf(tx)]
	return found
}

// behind returns how many of the transactions end behind a position, and which tables they changed; all is true if others may
// be among those.
func (t *trail) behind(position outbox.LSN) (n int, names []string, all bool) {
	all = !t.whole
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

// add takes a record of the audit topic, and returns the position that it tells of, 0 for none.
func (t *trail) add(value []byte, database string) outbox.LSN {
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

// trail reads the audit topic from its end back to a transaction that ends at or before a position.
func (l *kafkaLog) trail(ctx context.Context, back outbox.LSN) (*trail, error) {
	ctx, cancel := context.WithTimeout(ctx, trailTimeout)
	defer cancel()
	t := &trail{whole: true, of: map[trailed]tables{}}
	topic := l.topics.audit
	details, err := kadm.NewClient(l.client).ListTopics(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("look for %s: %w", topic, err)
	}
	if !details.Has(topic) || errors.Is(details[topic].Err, kerr.UnknownTopicOrPartition) {
		return &trail{}, nil
	}
	for _, partition := range details[topic].Partitions.Sorted() {
		r := tailReader{client: l.client, topic: topic, partition: partition.Partition}
		if err := r.locate(ctx); err != nil {
			return nil, fmt.Errorf("locate %s: %w", topic, err)
		}
		if err := t.read(ctx, &r, back, l.cfg.Database); err != nil {
			return nil, fmt.Errorf("read %s: %w", topic, err)
		}
	}
	return t, nil
}

// read reads one partition, whose transactions stand in commit order: window by window, from its end.
func (t *trail) read(ctx context.Context, r *tailReader, back outbox.LSN, database string) error {
	window := int64(firstWindow)
	for to := r.end; ; window *= 2 {
		if to == r.start {
			t.whole = t.whole && r.start == 0
			return nil
		}
		if len(t.of) > maxTrail {
			t.whole = false
			return nil
		}
		from, reached := max(r.start, to-window), false
		err := r.each(ctx, from, to, func(record *kgo.Record) {
			end := t.add(record.Value, database)
			reached = reached || end != 0 && end <= back
		})
		if err != nil || reached {
			return err
		}
		to = from
	}
}
