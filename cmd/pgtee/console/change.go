package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	published "github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/subscriber"
)

// change is a record of a table's topic: one row, before and after.
type change struct {
	subscriber.Row
	Record    *kgo.Record
	Key       []byte // without its schema
	ID        string
	Ordinal   int // of the change in its transaction
	Broken    string
	Derived   bool // before is the row after the change before this one: the log does not have it
	before    []field
	after     []field
	unchanged int
}

// changeOf reads a record. One in another form than Debezium's JSON is shown as what it is.
func changeOf(r *kgo.Record) *change {
	c := &change{Record: r, Key: payloadOf(r.Key), ID: header(r, published.EventIDHeader)}
	_, ordinal, _ := cutLast(c.ID, "/")
	ordinal, _, _ = strings.Cut(ordinal, ".")
	c.Ordinal, _ = strconv.Atoi(ordinal)
	if r.Value == nil {
		c.Op = "tombstone"
		return c
	}
	if err := c.read(payloadOf(r.Value)); err != nil {
		c.Broken = "the record is not in Debezium's JSON (--format, --envelope): " + err.Error()
	}
	return c
}

func (c *change) read(value []byte) (err error) {
	if c.Row, err = subscriber.ParseRow(subscriber.Event{Topic: c.Record.Topic, Partition: c.Record.Partition, Offset: c.Record.Offset, Value: value}); err != nil {
		return errNoObject
	}
	if c.Op == "" {
		return fmt.Errorf("it has no field op")
	}
	if c.before, err = fieldsOf(c.Before); err != nil {
		return err
	}
	c.after, err = fieldsOf(c.After)
	return err
}

// Table is SCHEMA.TABLE.
func (c *change) Table() string { return c.Source.Schema + "." + c.Source.Table }

// KeyText is the key as it stands in Kafka.
func (c *change) KeyText() string { return string(c.Key) }

// Name is the key for people: "id 7".
func (c *change) Name() string {
	list, err := fieldsOf(c.Key)
	if err != nil || len(list) == 0 {
		return cut(strings.ToValidUTF8(string(c.Key), "\uFFFD"), 100)
	}
	var parts []string
	for _, f := range list {
		parts = append(parts, f.Name+" "+cut(valueOf(f.Raw).Text, 100))
	}
	return strings.Join(parts, ", ")
}

// column is one column of a change.
type column struct {
	Name          string
	Before, After value
	Changed       bool
	Key           bool
}

// Columns compares before and after: what has changed first comes first, what has not is left out, but for the key.
func (c *change) Columns() []column {
	keys, _ := fieldsOf(c.Key)
	var list []column
	c.unchanged = 0
	for _, name := range c.names() {
		before, after := get(c.before, name), get(c.after, name)
		col := column{Name: name, Before: valueOf(before), After: valueOf(after), Key: get(keys, name) != nil}
		switch c.Op {
		case "c", "r":
			col.Before = value{None: true}
			col.Changed = !col.After.Null
		case "d":
			col.After = value{None: true}
			col.Changed = !col.Before.Null && !col.Before.Absent
		default:
			isNew := c.Derived && before == nil && col.After.Null // the column
			col.Changed = !col.After.Absent && c.before != nil && !bytes.Equal(before, after) && !isNew
			if c.before == nil && !col.Key { // whether it has changed is not known
				list = append(list, col)
				continue
			}
		}
		if !col.Changed && !col.Key {
			c.unchanged++
			continue
		}
		list = append(list, col)
	}
	return list
}

// Unchanged counts the columns that Columns has left out: unchanged, not in the log, or null in a row that came or went.
func (c *change) Unchanged() int { return c.unchanged }

// follows has an update whose row before the log does not have take it from the change before. What that one does not have either
// stays unknown.
func (c *change) follows(last *change) {
	if c.NoBefore() && last != nil && last.after != nil {
		c.before, c.Derived = last.after, true
	}
}

// NoBefore reports whether the log does not have the row as it was before: a table with the default replica identity.
func (c *change) NoBefore() bool { return c.Op == "u" && c.before == nil }

func (c *change) names() (names []string) {
	for _, f := range slices.Concat(c.after, c.before) {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// sameKey compares keys by what they mean: {"id": 7} is {"id":7}.
func sameKey(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	one, err := fieldsOf(a)
	other, err2 := fieldsOf(b)
	if err != nil || err2 != nil || len(one) == 0 || len(one) != len(other) {
		return false
	}
	for _, f := range one {
		if raw := get(other, f.Name); raw == nil || !bytes.Equal(compact(f.Raw), compact(raw)) {
			return false
		}
	}
	return true
}

func compact(raw json.RawMessage) []byte {
	var text bytes.Buffer
	if json.Compact(&text, raw) != nil {
		return raw
	}
	return text.Bytes()
}
