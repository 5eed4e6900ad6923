package console

import (
	"cmp"
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
	shownRows   = 200
	settles     = 2 * time.Second // rows reach their topics at most this long after the audit record, by the brokers' clocks
	searchSteps = 40
)

// transactionPage shows one transaction: its author, its statements in order, the rows of each, and where they are in Kafka. Rows are searched
// backwards from the audit record, table after table: a large transaction has several pages, the last rows of each table first.
type transactionPage struct {
	*item
	Steps      []*step
	Tables     []*tableRows
	SkipRows   int    // rows on the pages before this one
	ShownRows  int    // rows on this page
	MoreRows   string // URL that continues the search; "" if all topics were searched
	Missing    int    // rows that were found on no page, if all topics were searched
	SessionURL string // of its playback
}

// step is a statement and its rows.
type step struct {
	subscriber.Statement
	Known   bool // false: rows that were written by no known statement
	Changes []*change
	Hidden  int // number of its rows on other pages
}

// tableRows says where the rows of one table are.
type tableRows struct {
	Table                                 string
	Inserted, Updated, Deleted, Truncated int
	Topic                                 string
	Searched                              bool // on this page
	Found                                 int  // rows on this page
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
		p.SessionURL = c.link("/session", s.Prefix, "id", e.Session.ID)
	}
	p.SkipRows = max(0, atoi(r.FormValue("skip")))
	return p, p.readRows(r.Context(), s, r.FormValue("table"), parsePosition(r.FormValue("before")))
}

func atoi(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// findTransaction returns the audit record of a transaction. It looks first at the place at, where the record was last seen. If it is not there, it
// searches for the id.
func (c *Console) findTransaction(ctx context.Context, s *Stream, id, at string) (*kgo.Record, error) {
	topic, reading := c.tails[s.Prefix].topic, c.topics.begin()
	p, o, _ := strings.Cut(at, ".")
	partition, err := strconv.ParseInt(p, 10, 32)
	offset, err2 := strconv.ParseInt(o, 10, 64)
	if err == nil && err2 == nil {
		one, err := reading.one(ctx, topic, int32(partition), offset)
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
	return reading.searchTransaction(ctx, topic, id)
}

// searchTransaction does a binary search for the id in each partition: its transactions are in commit order.
func (r *reading) searchTransaction(ctx context.Context, topic, id string) (*kgo.Record, error) {
	wanted, ok := commitOf(id)
	if !ok {
		return nil, badRequest("%q is not a transaction id", cut(id, 200))
	}
	starts, ends, err := r.bounds(ctx, topic)
	if err != nil {
		return nil, err
	}
	for partition := range ends {
		low, high := starts[partition], ends[partition] // if the record is in this partition, it is in [low, high)
		for range searchSteps {
			if low >= high {
				break
			}
			middle := low + (high-low)/2
			one, err := r.next(ctx, topic, partition, middle, high)
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
			if at, _ := commitOf(have); at.compare(wanted) < 0 {
				low = one.Offset + 1
			} else {
				high = middle
			}
		}
	}
	return nil, nil
}

// commit is the place of a transaction in the order in which transactions are published: number of times that a repair has set the stream back,
// timeline, LSN of the commit record.
type commit struct{ cuts, timeline, lsn uint64 }

func (c commit) compare(other commit) int {
	return cmp.Or(cmp.Compare(c.cuts, other.cuts), cmp.Compare(c.timeline, other.timeline), cmp.Compare(c.lsn, other.lsn))
}

// commitOf returns the commit with which a transaction id ends: "…/1/0/16B3748", or after a repair "…/1.1/0/16B3748".
func commitOf(id string) (c commit, ok bool) {
	parts := strings.Split(id, "/")
	if len(parts) < 3 {
		return c, false
	}
	timeline, cuts, _ := strings.Cut(parts[len(parts)-3], ".")
	high, err := strconv.ParseUint(parts[len(parts)-2], 16, 32)
	low, err2 := strconv.ParseUint(parts[len(parts)-1], 16, 32)
	c.lsn = high<<32 | low
	c.timeline, _ = strconv.ParseUint(timeline, 10, 64)
	c.cuts, _ = strconv.ParseUint(cuts, 10, 64)
	return c, err == nil && err2 == nil
}

// readRows searches the topics of the tables, beginning with the given table and, in its topic, before the given position. It assigns the rows that it
// finds to their statements.
func (p *transactionPage) readRows(ctx context.Context, s *Stream, table string, before position) error {
	reading := p.c.topics.begin()
	searching, left := table == "", shownRows
	var more position
	var found [][]*change // by table
	for _, t := range p.event.Tables {
		row := &tableRows{Table: t.Table, Inserted: t.Inserted, Updated: t.Updated, Deleted: t.Deleted, Truncated: t.Truncated, Topic: published.TopicName(s.Prefix, t.Table)}
		p.Tables = append(p.Tables, row)
		if searching = searching || t.Table == table; !searching || more != nil {
			continue
		}
		of, err := reading.ofTable(ctx, s.Prefix, t.Table)
		var changes []*change
		var next position
		switch {
		case err == nil:
			row.Topic = of.topic
			changes, next, err = p.changes(ctx, reading, t.Table, of, before, left)
		case errors.Is(err, errNoTopic):
			row.Problem, err = "there is no topic of this name: the table is not published, or its topic has another name (--topic-template, tables:)", nil
		}
		if err != nil {
			return err
		}
		row.Searched, row.Found = true, rowsOf(changes)
		found, left = append(found, changes), left-len(changes)
		table, before, more = t.Table, nil, next
	}
	if !searching {
		return badRequest("the transaction did not write to a table %q", cut(table, 200))
	}
	for _, changes := range found {
		if err := p.c.findBefore(ctx, reading, changes); err != nil {
			return err
		}
	}
	p.show(slices.Concat(found...), more != nil)
	if more != nil {
		p.MoreRows = p.c.link("/transaction", p.Stream, "id", transactionID(p.ID), "at", p.Place(), "table", table, "before", more.String(), "skip", strconv.Itoa(p.SkipRows+p.ShownRows))
	}
	return nil
}

// changes returns the last rows of the transaction in the topic of one table before a position (nil: all rows), in order, and the position to continue
// from (nil: there are no more).
func (p *transactionPage) changes(ctx context.Context, from *reading, table string, of extent, before position, want int) (list []*change, more position, err error) {
	if before == nil {
		if before, err = from.at(ctx, of.topic, p.At.Add(settles)); err != nil {
			return nil, nil, err
		}
	}
	id := transactionID(p.ID)
	own, _ := commitOf(id)
	records, more, err := from.find(ctx, search{topic: of.topic, starts: of.starts, before: within(before, of.starts, of.ends), want: want,
		keep: func(r *kgo.Record) bool {
			return r.Value != nil && transactionID(header(r, published.EventIDHeader)) == id && isOf(r, table)
		},
		stop: func(r *kgo.Record) bool {
			have := header(r, published.EventIDHeader)
			at, ok := commitOf(transactionID(have))
			return ok && !ofSnapshot(have) && at.compare(own) < 0
		},
	})
	for _, r := range slices.Backward(records) {
		list = append(list, changeOf(r))
	}
	return list, more, err
}

// rowsOf counts rows: an update of the key has two records.
func rowsOf(changes []*change) int {
	ordinals := map[int]bool{}
	for _, c := range changes {
		ordinals[c.Ordinal] = true
	}
	return len(ordinals)
}

// show assigns rows to their statements. further means that there are more on other pages.
func (p *transactionPage) show(changes []*change, further bool) {
	for i := range p.Statements {
		p.Steps = append(p.Steps, &step{Statement: p.Statements[i], Known: p.Statements[i].Command != ""})
	}
	slices.SortStableFunc(changes, func(a, b *change) int { return a.Ordinal - b.Ordinal })
	for _, change := range changes {
		p.put(change)
	}
	p.ShownRows = rowsOf(changes)
	if !further {
		p.Missing = max(0, p.Wanted()-p.SkipRows-p.ShownRows)
	}
	if further || p.SkipRows > 0 {
		for _, s := range p.Steps {
			s.Hidden = max(0, s.Rows-rowsOf(s.Changes))
		}
	}
}

// Wanted returns the number of rows that the transaction wrote; a TRUNCATE counts as one.
func (p *transactionPage) Wanted() (rows int) {
	for _, t := range p.event.Tables {
		rows += t.Inserted + t.Updated + t.Deleted + t.Truncated
	}
	return rows
}

// Limits of the search for old rows.
const (
	maxBeforeRows    = 100    // per topic
	maxBeforeRecords = 20_000 // records that are read
)

// findBefore searches for the previous records of rows that were updated without the old row in the WAL. The changes are of one topic.
func (c *Console) findBefore(ctx context.Context, from *reading, changes []*change) error {
	last := map[string]*change{} // by key, in this transaction
	first := map[string]*change{}
	before, topic := position{}, ""
	for _, change := range changes {
		key := string(change.Key)
		change.fillBefore(last[key])
		last[key] = change
		if change.NoBefore() && first[key] == nil && len(first) < maxBeforeRows {
			first[key], topic = change, change.Record.Topic
			before[change.Record.Partition] = max(before[change.Record.Partition], change.Record.Offset)
		}
	}
	if len(first) == 0 {
		return nil
	}
	starts, _, err := from.bounds(ctx, topic)
	if err != nil {
		return err
	}
	for partition, at := range before {
		starts[partition] = max(starts[partition], at-maxBeforeRecords)
	}
	found := map[string]bool{}
	records, _, err := from.find(ctx, search{topic: topic, starts: starts, before: before, want: len(first), keep: func(r *kgo.Record) bool {
		key := string(payloadOf(r.Key))
		of := first[key]
		if of == nil || found[key] || r.Value == nil || r.Partition != of.Record.Partition || r.Offset >= of.Record.Offset {
			return false
		}
		found[key] = true
		return true
	}})
	for _, r := range records {
		first[string(payloadOf(r.Key))].fillBefore(changeOf(r))
	}
	return err
}

// put assigns a row to its statement.
func (p *transactionPage) put(change *change) {
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
	p.Steps[i].Changes = append(p.Steps[i].Changes, change)
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
