package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	published "github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/subscriber"
)

// Limits of a transaction's page.
const (
	shownRows   = 200             // of all tables together; the rest is on further pages
	nearby      = 2 * time.Second // a transaction's records are written together: they are searched this far before its audit record
	far         = 2 * time.Hour   // and this far if they are not found there, or if it became visible in parts
	searchSteps = 40
)

// transactionPage shows one transaction: its author, its statements in order, the rows of each, and where they are in Kafka.
type transactionPage struct {
	*item
	Found      bool
	Steps      []*step
	Tables     []tableRows
	Beyond     bool   // there are more rows than shown
	Wider      string // URL that searches further back for rows that were not found
	MoreRows   string // URL of the next rows; "" if there are none
	SkipRows   int    // rows before those shown
	SessionURL string
}

// step is a statement and its rows.
type step struct {
	subscriber.Statement
	Known   bool // false: rows that were written by no known statement
	Changes []*change
	Hidden  int // number of its rows that are not shown
}

// tableRows says where the rows of one table are.
type tableRows struct {
	Table                                 string
	Inserted, Updated, Deleted, Truncated int
	Topic                                 string
	Found                                 int
	Problem                               string
}

func (c *Console) transaction(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	id := r.FormValue("id")
	record, err := c.findTransaction(r.Context(), s, id, r.FormValue("at"))
	if err != nil {
		return nil, err
	}
	if record == nil {
		return nil, notFound("transaction %q is not in topic %s: it is older than what the topic keeps, or of another stream", cut(id, 200), c.tails[s.Prefix].topic)
	}
	e := eventOf(s.Prefix, record)
	p := &transactionPage{item: &item{e, c}}
	if e.Broken != "" {
		return p, nil
	}
	if e.Session != nil {
		p.SessionURL = p.By("session", e.Session.ID)
	}
	p.SkipRows = max(0, atoi(r.FormValue("skip")))
	back := nearby
	if e.Parts > 1 || r.FormValue("wider") != "" {
		back = far
	}
	if err := p.readRows(r.Context(), c, s, back); err != nil {
		return nil, err
	}
	p.links(back)
	return p, nil
}

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// findTransaction returns the audit record with an id. Its former position is a hint; without it, the id is used to search, because the transactions
// in a partition are in the order of their commits.
func (c *Console) findTransaction(ctx context.Context, s *Stream, id, at string) (*kgo.Record, error) {
	topic := c.tails[s.Prefix].topic
	p, o, _ := strings.Cut(at, ".")
	partition, err := strconv.ParseInt(p, 10, 32)
	offset, err2 := strconv.ParseInt(o, 10, 64)
	if err == nil && err2 == nil {
		one, err := c.topics.one(ctx, topic, int32(partition), offset)
		if err != nil {
			return nil, err
		}
		if one != nil && (id == "" || transactionID(header(one, published.EventIDHeader)) == id) {
			return one, nil
		}
	}
	if id == "" {
		return nil, badRequest("the address names no transaction")
	}
	return c.searchTransaction(ctx, topic, id)
}

// searchTransaction does a binary search for the id in each partition.
func (c *Console) searchTransaction(ctx context.Context, topic, id string) (*kgo.Record, error) {
	wanted, ok := commitOf(id)
	if !ok {
		return nil, badRequest("%q is no transaction id", cut(id, 200))
	}
	starts, ends, err := c.topics.bounds(ctx, topic)
	if err != nil {
		return nil, err
	}
	for partition := range ends {
		low, high := starts[partition], ends[partition] // the record is not before low, and before high
		for range searchSteps {
			if low >= high {
				break
			}
			middle := low + (high-low)/2
			one, err := c.topics.next(ctx, topic, partition, middle, high)
			if err != nil {
				return nil, err
			}
			if one == nil {
				high = middle
				continue
			}
			have := transactionID(header(one, published.EventIDHeader))
			if have == id {
				return one, nil
			}
			if at, _ := commitOf(have); at < wanted {
				low = one.Offset + 1
			} else {
				high = middle
			}
		}
	}
	return nil, nil
}

// commitOf returns the LSN of a commit, with which a transaction id ends: "…/0/16B3748".
func commitOf(id string) (lsn uint64, ok bool) {
	parts := strings.Split(id, "/")
	if len(parts) < 2 {
		return 0, false
	}
	high, err := strconv.ParseUint(parts[len(parts)-2], 16, 32)
	low, err2 := strconv.ParseUint(parts[len(parts)-1], 16, 32)
	return high<<32 | low, err == nil && err2 == nil
}

// next returns the first record at or after an offset and before another, or nil if there is none.
func (t *topics) next(ctx context.Context, topic string, partition int32, from, to int64) (one *kgo.Record, err error) {
	_, err = t.read(ctx, topic, position{partition: from}, position{partition: to}, func(r *kgo.Record) bool {
		one = r
		return false
	})
	return one, err
}

// readRows finds the rows in the topics of the tables, and assigns them to their statements.
func (p *transactionPage) readRows(ctx context.Context, c *Console, s *Stream, back time.Duration) error {
	for i := range p.Statements {
		p.Steps = append(p.Steps, &step{Statement: p.Statements[i], Known: p.Statements[i].Command != ""})
	}
	var all []*change
	for _, t := range p.event.Tables {
		found := tableRows{Table: t.Table, Inserted: t.Inserted, Updated: t.Updated, Deleted: t.Deleted, Truncated: t.Truncated,
			Topic: published.TopicName(s.Prefix, t.Table)}
		changes, err := p.changes(ctx, c, found.Topic, back)
		switch {
		case errors.Is(err, errNoTopic):
			found.Problem = "there is no topic of this name: the table is not published, or its topic has another name (--topic-template, tables:)"
		case err != nil:
			return err
		}
		if err := c.findBefore(ctx, changes); err != nil {
			return err
		}
		found.Found = len(changes)
		all = append(all, changes...)
		p.Tables = append(p.Tables, found)
	}
	slices.SortStableFunc(all, func(a, b *change) int { return a.Ordinal - b.Ordinal })
	for i, change := range all {
		p.put(change, i >= p.SkipRows && i < p.SkipRows+shownRows)
	}
	p.Beyond = len(all) > p.SkipRows+shownRows
	return nil
}

// changes returns the rows of the transaction in one topic.
func (p *transactionPage) changes(ctx context.Context, c *Console, topic string, back time.Duration) (list []*change, err error) {
	_, ends, err := c.topics.bounds(ctx, topic)
	if err != nil {
		return nil, err
	}
	from, err := c.topics.at(ctx, topic, p.At.Add(-back))
	if err != nil {
		return nil, err
	}
	id := transactionID(p.ID)
	commit, _ := commitOf(id)
	left := clonePosition(ends)
	_, err = c.topics.read(ctx, topic, from, ends, func(r *kgo.Record) bool {
		have := transactionID(header(r, published.EventIDHeader))
		if have == id {
			if r.Value != nil {
				list = append(list, changeOf(r))
			}
		} else if at, ok := commitOf(have); ok && at > commit && r.Timestamp.After(p.At) {
			delete(left, r.Partition) // no further rows of the transaction can follow there
		}
		return len(left) > 0 && len(list) < maxReadRecords/10
	})
	return list, err
}

// Limits of the search for former rows.
const (
	maxBeforeRows    = 100    // per topic
	maxBeforeRecords = 20_000 // records that are read
)

// findBefore searches the preceding record of updates whose former row is not in the WAL.
func (c *Console) findBefore(ctx context.Context, changes []*change) error {
	last := map[string]*change{} // by key, in this transaction
	first := map[string]*change{}
	before, topic := position{}, ""
	for _, change := range changes {
		key := string(change.Key)
		change.follows(last[key])
		last[key] = change
		if change.NoBefore() && first[key] == nil && len(first) < maxBeforeRows {
			first[key], topic = change, change.Record.Topic
			before[change.Record.Partition] = max(before[change.Record.Partition], change.Record.Offset)
		}
	}
	if len(first) == 0 {
		return nil
	}
	starts, _, err := c.topics.bounds(ctx, topic)
	if err != nil {
		return err
	}
	for partition, at := range before {
		starts[partition] = max(starts[partition], at-maxBeforeRecords)
	}
	wanted := len(first)
	records, _, err := c.topics.find(ctx, topic, starts, before, wanted, func(r *kgo.Record) bool {
		of := first[string(payloadOf(r.Key))]
		return of != nil && r.Value != nil && r.Offset < of.Record.Offset
	})
	for _, r := range records { // newest first
		if of := first[string(payloadOf(r.Key))]; of.NoBefore() {
			of.follows(changeOf(r))
		}
	}
	return err
}

// put assigns a row to its statement.
func (p *transactionPage) put(change *change, show bool) {
	i := -1
	if change.Pgtee.Statement.Command != "" {
		i = slices.IndexFunc(p.Steps, func(s *step) bool { return s.Number == change.Pgtee.Statement.Number })
	}
	if i < 0 {
		i = slices.IndexFunc(p.Steps, func(s *step) bool { return !s.Known })
	}
	if i < 0 {
		p.Steps = append(p.Steps, &step{})
		i = len(p.Steps) - 1
	}
	if show {
		p.Steps[i].Changes = append(p.Steps[i].Changes, change)
	} else {
		p.Steps[i].Hidden++
	}
}

// links sets the links to what the page does not show.
func (p *transactionPage) links(back time.Duration) {
	wanted, found := 0, 0
	for _, t := range p.Tables {
		wanted += t.Inserted + t.Updated + t.Deleted
		found += t.Found
	}
	here := func(name, value string) string {
		return p.c.link("/transaction", p.Stream, "id", transactionID(p.ID), "at", p.Place(), name, value)
	}
	if found < wanted && back < far {
		p.Wider = here("wider", "1")
	}
	if p.Beyond {
		p.MoreRows = here("skip", strconv.Itoa(p.SkipRows+shownRows))
	}
}

// RowURL returns the page of a row's history.
func (p *transactionPage) RowURL(change *change) string {
	return p.c.link("/row", p.Stream, "table", change.Table(), "key", change.KeyText())
}

// RecordURL returns the page of a record.
func (p *transactionPage) RecordURL(change *change) string {
	return p.c.recordURL(p.Stream, change.Record.Topic, change.Record.Partition, change.Record.Offset)
}

// AuditURL returns the page of the audit record.
func (p *transactionPage) AuditURL() string {
	return p.c.recordURL(p.Stream, p.Topic, p.Partition, p.Offset)
}

func (c *Console) recordURL(stream, topic string, partition int32, offset int64) string {
	return c.link("/record", stream, "topic", topic, "partition", strconv.Itoa(int(partition)), "offset", strconv.FormatInt(offset, 10))
}
