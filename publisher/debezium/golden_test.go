package debezium

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/record"
)

var (
	update    = flag.Bool("update", false, "write the golden files again")
	captures  = flag.String("captures", "testdata/golden", "folder of the captured records that TestGolden compares with; its README says what is in one")
	published = flag.String("published", "", "folder of records that pgtee published, which TestGolden compares in place of what it encodes itself; files as those of the captures")
	summary   = flag.String("summary", "", "file that takes TestGolden's last line")
)

// TestGolden encodes the write-ahead log of a folder of captures and compares it with what Debezium made of
// the same work, setting by setting.
func TestGolden(t *testing.T) {
	folder := capture{*captures}
	excuses := folder.excuses(t)
	var total comparison
	for _, file := range folder.files(t) {
		if !file.comparable() {
			continue
		}
		t.Run(file.name, func(t *testing.T) {
			c := comparison{T: t, captured: file, excuses: excuses}
			if *published != "" {
				got := captured{capture{*published}, file.name, file.settings}.wanted(t, true)
				c.records(dropEmpty(file.wanted(t, true)), dropEmpty(got))
			} else {
				want := file.wanted(t, false) // the log has no snapshot
				c.records(dropEmpty(want), dropEmpty(file.encoded(t, len(want[record.TopicsOf(file.settings["topic.prefix"]).Heartbeat]))))
			}
			total.add(&c)
		})
	}
	own, err := os.Stat(flag.Lookup("captures").DefValue)
	if err != nil {
		t.Fatal(err)
	}
	given, err := os.Stat(*captures)
	folderIsOurs := err == nil && os.SameFile(own, given)
	for _, e := range excuses {
		if e.snapshot == (*published != "") && folderIsOurs && !e.used && !strings.HasPrefix(e.reason, "by timing: ") {
			t.Errorf("excuse %s %q was not needed", e.where, e.what)
		}
	}
	if total.compared == 0 && (folderIsOurs || *published != "") {
		t.Error("nothing was compared")
	}
	line := fmt.Sprintf("golden files=%d records=%d differences=%d excused=%d\n", total.files, total.compared, total.differences, total.excused)
	t.Log(line)
	if *summary == "" || total.files == 0 {
		return
	}
	if err := os.WriteFile(*summary, []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
}

// comparable reports whether there is something to compare a file with.
func (f captured) comparable() bool {
	if *published != "" {
		return capture{*published}.has(f.name + ".jsonl")
	}
	return f.has(f.log()) && f.has("catalog.json") // the log names types and tables by OIDs of its database
}

// comparison counts what is equal, different, and different for a reason that was stated.
type comparison struct {
	*testing.T
	captured
	excuses []*excuse
	topic   string // without the prefix and schema
	read    bool   // compared are rows that a snapshot has read

	files, compared, differences, excused int
}

// excuse is one line of excuses.tsv: a difference to Debezium that is meant. One of a column is of its schema, too.
type excuse struct {
	where        string // name of a file, or setting=value; several with commas; * for all
	what, reason string
	snapshot     bool // of rows that a snapshot has read only
	used         bool
}

func (e *excuse) covers(f *captured, what string) bool {
	table, all := strings.CutSuffix(e.what, ".*")
	return slices.ContainsFunc(strings.Split(e.where, ","), f.is) &&
		(e.what == what || e.what == strings.TrimSuffix(what, " schema") || all && strings.HasPrefix(what, table+"."))
}

// is reports whether an excuse is of this file.
func (f *captured) is(where string) bool {
	name, value, setting := strings.Cut(where, "=")
	return where == "*" || where == f.name || setting && f.settings[name] == value
}

func (c *comparison) add(o *comparison) {
	c.files++
	c.compared += o.compared
	c.differences += o.differences
	c.excused += o.excused
}

// different counts a difference, which an excuse may cover.
func (c *comparison) different(what, format string, args ...any) {
	for _, e := range c.excuses {
		if e.covers(&c.captured, what) && (c.read || !e.snapshot) {
			e.used = true
			c.excused++
			return
		}
	}
	c.differences++
	c.Errorf("%s: %s", what, fmt.Sprintf(format, args...))
}

func (c *comparison) records(want, got map[string][]line) {
	c.cutHeartbeats(want, got)
	surplus := slices.DeleteFunc(sortedKeys(got), func(topic string) bool { return want[topic] != nil })
	switch {
	case !c.listsTables() && len(surplus) > 0:
		c.Logf("not compared, because the settings have no list of tables: %s", strings.Join(surplus, ", "))
	default:
		for _, topic := range surplus {
			c.different("topic "+tableOf(topic), "is not Debezium's")
		}
	}
	for _, topic := range sortedKeys(want) {
		c.topic = tableOf(topic)
		records := c.dropLoose(want[topic])
		if surplus := len(records) - len(got[topic]); surplus > 0 && *published == "" && c.hidesOperation() {
			records = records[surplus:] // of the snapshot, which the log does not have
		}
		c.compareTopic(records, got[topic])
	}
}

// cutHeartbeats compares as many heartbeats as both have: how many there are is a matter of time.
func (c *comparison) cutHeartbeats(want, got map[string][]line) {
	topic := record.TopicsOf(c.settings["topic.prefix"]).Heartbeat
	n := min(len(want[topic]), len(got[topic]))
	if n > 0 {
		want[topic], got[topic] = want[topic][:n], got[topic][:n]
	}
}

// tableOf returns what a topic is named after: a table, or one of Debezium's own.
func tableOf(topic string) string {
	parts := strings.SplitN(topic, ".", 3)
	return parts[len(parts)-1]
}

// dropLoose leaves out messages that were not transactional.
func (c *comparison) dropLoose(records []line) []line {
	if c.topic != "message" {
		return records
	}
	return slices.DeleteFunc(records, func(l line) bool {
		id := l.value.payload().at("source", "txId")
		loose := id != nil && id.scalar == "null"
		if loose {
			c.different("message", "is not there")
		}
		return loose
	})
}

// compareTopic compares the rows that a snapshot has read, in the order of their keys, then what the stream brought.
func (c *comparison) compareTopic(want, got []line) {
	wantRead, want := cutRead(want)
	gotRead, got := cutRead(got)
	c.read = true
	if len(wantRead) == len(gotRead) {
		c.compareLines(wantRead, gotRead)
	} else {
		c.different(c.topic+" records", "%d of a snapshot, want %d", len(gotRead), len(wantRead))
	}
	c.read = false
	if len(want) != len(got) {
		c.different(c.topic+" records", "%d, want %d", len(got), len(want))
	}
	c.compareLines(want, got)
}

// cutRead returns the rows that a snapshot has read, by their keys, and the other records.
func cutRead(lines []line) (read, rest []line) {
	for _, l := range lines {
		if l.isRead() {
			read = append(read, l)
		} else {
			rest = append(rest, l)
		}
	}
	slices.SortStableFunc(read, func(a, b line) int { return strings.Compare(a.key.String(), b.key.String()) })
	return read, rest
}

func (c *comparison) compareLines(want, got []line) {
	for i := range min(len(want), len(got)) {
		c.compared++
		report := func(path []string, format string, args ...any) { c.different(c.name(path), format, args...) }
		want[i].key.diff(got[i].key, []string{"key"}, report)
		want[i].value.diff(got[i].value, []string{"value"}, report)
		want[i].headers.diff(got[i].headers, []string{"header"}, report)
	}
}

// name turns the path of a difference into the name that an excuse has: "t_num.n" for a column in a row,
// "t_num.n schema" for its schema, "t_num key", "t_num header", else "t_num value.source.lsn".
func (c *comparison) name(path []string) string {
	part, suffix, rest := path[0], "", slices.Clone(path[1:])
	if len(rest) > 0 && (rest[0] == "payload" || rest[0] == "schema") {
		if rest[0] == "schema" {
			suffix = " schema"
		}
		rest = slices.DeleteFunc(rest[1:], func(name string) bool { return name == "fields" })
	}
	switch {
	case part == "value" && len(rest) > 1 && (rest[0] == "before" || rest[0] == "after"):
		return c.topic + "." + rest[1] + suffix
	case part == "value" && len(rest) == 1 && c.flat():
		return c.topic + "." + rest[0] + suffix
	case part == "key" || part == "header":
		return c.topic + " " + part + suffix
	}
	return c.topic + " " + strings.Join(append([]string{part}, rest...), ".") + suffix
}

// dropEmpty leaves out transactions without an event: which of them the server tells of depends on its version and on the
// publication, and pgtee has its own.
func dropEmpty(records map[string][]line) map[string][]line {
	for topic, lines := range records {
		if tableOf(topic) != "transaction" {
			continue
		}
		var kept []line
		for i := 1; i < len(lines); i += 2 {
			if count := lines[i].value.payload().at("event_count"); count == nil || count.scalar != "0" {
				kept = append(kept, lines[i-1], lines[i])
			}
		}
		records[topic] = kept
	}
	return records
}

// encoded makes records of the log of a capture, and as many heartbeats as Debezium had time for.
func (f *captured) encoded(t *testing.T, heartbeats int) map[string][]line {
	encoder, volatile := New(f.config(t)), f.volatile()
	records := map[string][]line{}
	batch := testBatch()
	keep := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range batch.Records() {
			records[r.Topic] = append(records[r.Topic], lineOf(t, r, volatile))
		}
		batch.Reset()
	}
	for _, tx := range f.transactions(t) {
		keep(encodeAll(t.Context(), encoder, &batch, tx))
	}
	for range heartbeats {
		keep(encoder.AppendHeartbeat(t.Context(), &batch))
	}
	return records
}

// encodeAll does what the publisher does with a transaction.
func encodeAll(ctx context.Context, e *Encoder, b *record.Batch, tx *outbox.Transaction) error {
	b.Begin(tx)
	err := e.Begin(ctx, b, tx)
	for i := range tx.Changes {
		b.At(tx, i)
		err = errors.Join(err, e.Append(ctx, b, tx, i))
	}
	return errors.Join(err, e.End(ctx, b, tx))
}

func lineOf(t *testing.T, r record.Record, volatile []string) line {
	l := line{Topic: r.Topic, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		if h.Key != record.EventIDHeader && h.Key != record.EventSourceHeader {
			l.Headers = append(l.Headers, [2]json.RawMessage{quoted(h.Key), headerJSON(h.Value)})
		}
	}
	l.read(t, volatile)
	return l
}
