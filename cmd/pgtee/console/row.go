package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	published "github.com/pgtee/pgtee/publisher/record"
)

// rowPage shows every change of one row, with its author and statement, and who wrote the current value of each column.
type rowPage struct {
	Stream  string
	Table   string
	Key     string
	Asked   bool
	Topic   string
	Tables  []string // to choose from
	Example string   // an example key of the table
	Changes []*change
	Blame   []blame
	Deleted *change // the change that deleted the row, or emptied its table or topic
	Paged   bool    // it shows the changes before a position, so it does not know the current row
	Older   string  // URL of older changes
	Whole   bool    // there are no older changes
	Others  bool    // older changes can only be in other partitions than Partition
	Recent  []*change
	c       *Console

	Partition int32 // where records of the key are written now
}

// shownChanges is the maximum number of changes of one row on a page.
const shownChanges = 200

// blame says who wrote the current value of a column.
type blame struct {
	Column string
	Value  value
	By     *change         // nil: a change before those that were read, or a missing one; of a snapshot: an unknown one before it
	known  json.RawMessage // last known value; nil: none
}

func (c *Console) row(r *http.Request, _ person) (any, error) {
	s, err := c.stream(r)
	if err != nil {
		return nil, err
	}
	p := &rowPage{Stream: s.Prefix, Table: strings.TrimSpace(r.FormValue("table")), Key: strings.TrimSpace(r.FormValue("key")), c: c}
	if s.Tables != nil {
		if list, err := s.Tables(r.Context()); err == nil { // the list only helps to choose
			for _, t := range list {
				p.Tables = append(p.Tables, t.Schema+"."+t.Name)
			}
		}
	}
	if p.Table == "" {
		return p, nil
	}
	if !strings.Contains(p.Table, ".") {
		p.Table = "public." + p.Table
	}
	of, err := c.topics.ofTable(r.Context(), s.Prefix, p.Table)
	p.Topic = of.topic
	if errors.Is(err, errNoTopic) {
		return nil, notFound("there is no topic %s: nothing of table %s was published yet, or its topic has another name (--topic-template, tables:)", p.Topic, p.Table)
	}
	if err != nil {
		return nil, err
	}
	reading := c.topics.begin()
	if err := p.recent(r.Context(), reading, of); err != nil || p.Key == "" {
		return p, err
	}
	p.Asked = true
	key, err := p.keyBytes()
	if err != nil {
		return nil, err
	}
	return p, p.history(r, reading, key, of)
}

// recent reads the last changes of the table: they show the form of its keys, and are links to rows.
func (p *rowPage) recent(ctx context.Context, from *reading, of extent) error {
	records, _, err := from.find(ctx, search{topic: of.topic, starts: of.starts, before: of.ends, want: 12, keep: func(r *kgo.Record) bool {
		return r.Key != nil && r.Value != nil && !empties(r) && isOf(r, p.Table)
	}})
	for _, r := range records {
		p.Recent = append(p.Recent, changeOf(r))
	}
	if len(p.Recent) > 0 {
		p.Example = p.Recent[0].KeyText()
	}
	return err
}

// keyBytes builds the key from the user's input: a JSON object, NAME=VALUE, or only the value of a single-column key. It is then written exactly like
// the keys in the topic, byte for byte, because the bytes determine the partition.
func (p *rowPage) keyBytes() ([]byte, error) {
	given, err := fieldsOf([]byte(p.Key))
	isObject := err == nil && len(given) > 0
	if strings.HasPrefix(p.Key, "{") && !isObject {
		return nil, badRequest("the key is not a JSON object: want one such as %s", p.example())
	}
	if len(p.Recent) == 0 {
		if isObject {
			p.Key = string(compact([]byte(p.Key)))
			return []byte(p.Key), nil
		}
		return nil, notFound("no row of table %s with a key was published yet, so there is none to find", p.Table)
	}
	columns, err := fieldsOf(p.Recent[0].Key)
	if err != nil || len(columns) == 0 {
		return nil, badRequest("the keys of topic %s are not JSON objects: rows of it cannot be found here", p.Topic)
	}
	if !isObject {
		given = typedKey(p.Key, columns)
	}
	text := []byte{'{'}
	for i, column := range columns {
		raw := get(given, column.Name)
		if raw == nil {
			return nil, badRequest("the key of table %s has the column %q: want one such as %s", p.Table, column.Name, p.example())
		}
		if i > 0 {
			text = append(text, ',')
		}
		text = append(published.AppendJSONString(text, column.Name), ':')
		text = append(text, canonical(raw)...)
	}
	p.Key = string(append(text, '}'))
	return []byte(p.Key), nil
}

// canonical returns a value as it is written in topics.
func canonical(raw json.RawMessage) []byte {
	var text string
	if raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return published.AppendJSONString(nil, text)
	}
	return compact(raw)
}

// typedKey parses NAME=VALUE,NAME=VALUE. For a key of one column, it is the value with or without the name, and may contain commas.
func typedKey(typed string, columns []field) (given []field) {
	if len(columns) == 1 {
		name := columns[0].Name
		if before, value, found := strings.Cut(typed, "="); found && strings.TrimSpace(before) == name {
			typed = value
		}
		return []field{{name, typedValue(typed, columns[0].Raw)}}
	}
	for part := range strings.SplitSeq(typed, ",") {
		name, value, _ := strings.Cut(part, "=")
		name = strings.TrimSpace(name)
		given = append(given, field{name, typedValue(value, get(columns, name))})
	}
	return given
}

// typedValue returns a typed value as JSON: text if the column's values in the topic are, such as like, or if it is nothing else.
func typedValue(typed string, like json.RawMessage) json.RawMessage {
	raw := json.RawMessage(strings.TrimSpace(typed))
	if like == nil || like[0] == '"' || !json.Valid(raw) {
		return published.AppendJSONString(nil, []byte(raw))
	}
	return raw
}

func (p *rowPage) example() string {
	if p.Example == "" {
		return `{"id":7}`
	}
	return p.Example
}

// history reads backwards through the partition of the key, then through the other partitions: if partitions have been added to the topic, older records
// of the key can be in another one.
func (p *rowPage) history(r *http.Request, from *reading, key []byte, of extent) error {
	starts, ends := of.starts, of.ends
	before, paged := startOf(r.FormValue("before"), starts, ends)
	p.Paged = paged
	here := before // what this page searches
	// Without a schema, these are the bytes of the key in all of the row's records.
	if len(p.Recent) > 0 && string(p.Recent[0].Key) == string(p.Recent[0].Record.Key) {
		p.Partition = partitionOf(p.Topic, key, len(ends))
		others := clonePosition(before)
		delete(others, p.Partition)
		if here = (position{p.Partition: before[p.Partition]}); here.reached(starts) {
			here = others
		}
	}
	records, more, err := from.find(r.Context(), search{topic: p.Topic, starts: starts, before: here, want: shownChanges, keep: func(r *kgo.Record) bool {
		return r.Value != nil && (sameKey(payloadOf(r.Key), key) || empties(r)) && isOf(r, p.Table)
	}})
	if err != nil {
		return err
	}
	for _, record := range records {
		p.Changes = append(p.Changes, changeOf(record))
	}
	next := clonePosition(before)
	for partition := range here {
		next[partition] = starts[partition]
	}
	maps.Copy(next, more)
	p.Whole = next.reached(starts)
	p.Others = more == nil && !p.Whole
	if !p.Whole {
		p.Older = p.c.link("/row", p.Stream, "table", p.Table, "key", p.Key, "before", next.String())
	}
	p.blame()
	return nil
}

// partitionOf returns the partition to which the publisher assigns a key, as Kafka's Java client does.
func partitionOf(topic string, key []byte, partitions int) int32 {
	byKey := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
	return int32(byKey.Partition(&kgo.Record{Topic: topic, Key: key}, partitions))
}

// empties reports whether a record says that all earlier rows of its partition are gone: after a TRUNCATE, or before a resync publishes them again.
func empties(r *kgo.Record) bool {
	return bytes.Contains(r.Value, []byte(`"op":"t"`)) && changeOf(r).Op == "t"
}

// blame determines for each column the change that wrote its current value. If the old row of an update is not in the WAL, a column counts as changed
// if it differs from the previous change. It removes the changes that emptied the table while the row was not in it.
func (p *rowPage) blame() {
	var last *change
	var concerned []*change
	gone := p.Whole // before the first change
	for _, c := range slices.Backward(p.Changes) {
		if c.Op == "t" && gone && (c.Resync() || p.Blame == nil) {
			continue
		}
		concerned = append(concerned, c)
		if c.Broken != "" {
			continue
		}
		c.fillBefore(last)
		p.Deleted, last, gone = nil, c, false
		if c.Op == "d" || c.Op == "t" {
			p.Deleted, gone = c, true
			if !c.Resync() { // otherwise the row may be there all the time
				p.Blame = nil
			}
			continue
		}
		for _, f := range c.after {
			p.blameColumn(c, f, get(c.before, f.Name))
		}
	}
	slices.Reverse(concerned)
	p.Changes = concerned
}

func (p *rowPage) blameColumn(c *change, f field, before json.RawMessage) {
	now := valueOf(f.Raw)
	at := -1
	for i := range p.Blame {
		if p.Blame[i].Column == f.Name {
			at = i
		}
	}
	if at < 0 {
		p.Blame = append(p.Blame, blame{Column: f.Name})
		at = len(p.Blame) - 1
	}
	b := &p.Blame[at]
	if now.Absent { // the statement did not change it
		if b.known == nil {
			b.Value = now
		}
		return
	}
	differs := string(b.known) != string(f.Raw) // also if there is none
	switch {
	case c.Op == "c", c.Op == "r" && differs, before != nil && string(before) != string(f.Raw):
		b.By = c
	case c.Op == "u" && before == nil && differs: // the change between the two is missing
		b.By = nil
	}
	b.Value, b.known = now, f.Raw
}

// TransactionURL returns the page of the transaction that made a change.
func (p *rowPage) TransactionURL(c *change) string {
	return p.c.link("/transaction", p.Stream, "id", transactionID(c.ID))
}

// RowURL returns the page of another row of the table.
func (p *rowPage) RowURL(c *change) string {
	return p.c.link("/row", p.Stream, "table", p.Table, "key", c.KeyText())
}

// RecordURL returns the page of a record.
func (p *rowPage) RecordURL(c *change) string {
	return p.c.recordURL(p.Stream, c.Record.Topic, c.Record.Partition, c.Record.Offset)
}

// Looked says which changes the page covers.
func (p *rowPage) Looked() string {
	switch {
	case p.Paged:
		return fmt.Sprintf("older changes in topic %s", p.Topic)
	case p.Whole:
		return fmt.Sprintf("every change that topic %s keeps", p.Topic)
	case p.Others:
		return fmt.Sprintf("every change in partition %d of topic %s, where those of this row are written now", p.Partition, p.Topic)
	}
	return fmt.Sprintf("the newest changes in topic %s", p.Topic)
}
