package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

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
	Ordinal   int // number of the change within its transaction
	Broken    string
	Derived   bool // before is taken from the previous change of the row, because it is not in the WAL
	before    []field
	after     []field
	unchanged int
}

// changeOf parses a record. A record in another format than Debezium's JSON is shown as it is.
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

// Table returns SCHEMA.TABLE.
func (c *change) Table() string { return c.Source.Schema + "." + c.Source.Table }

// isOf reports whether a record is of a table: topics may be shared by several. A record that cannot be read may be of any.
func isOf(r *kgo.Record, table string) bool {
	c := changeOf(r)
	return c.Broken != "" || c.Table() == table
}

// Committed returns the commit time of the change, or the time at which a snapshot read the row; zero if the record has neither. The record's own
// timestamp is the time at which it was sent to Kafka.
func (c *change) Committed() time.Time {
	if c.Source.CommitMillis == 0 {
		return time.Time{}
	}
	return time.UnixMilli(c.Source.CommitMillis)
}

// KeyText returns the key as it is in Kafka.
func (c *change) KeyText() string { return string(c.Key) }

// Name returns the key in readable form: "id 7".
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

// Resync reports whether the record comes from a resync, which publishes all rows of the table again.
func (c *change) Resync() bool { return header(c.Record, published.ResyncHeader) != "" }

// Trust says how well the author is known, or is "snapshot" if the record does not come from a write.
func (c *change) Trust() string {
	if c.Op == "r" || c.Resync() {
		return "snapshot"
	}
	return trust(c.Pgtee.Session, c.Pgtee.Verified)
}

// Columns compares before and after: changed columns come first, and unchanged ones are left out, except for the key.
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
			isNew := c.Derived && before == nil && col.After.Null // the column is new
			col.Changed = !col.After.Absent && c.before != nil && !bytes.Equal(before, after) && !isNew
			if c.before == nil && !col.Key { // it is not known whether it has changed
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

// Unchanged returns the number of columns that Columns has left out: unchanged, not in the WAL, or null in a row that was inserted or deleted.
func (c *change) Unchanged() int { return c.unchanged }

// fillBefore completes an update whose old row is not in the WAL with the row of the previous change. Values that are missing there as well remain
// unknown.
func (c *change) fillBefore(last *change) {
	if c.NoBefore() && last != nil && last.after != nil {
		c.before, c.Derived = last.after, true
	}
}

// NoBefore reports whether the old row is not in the WAL, because the table has the default replica identity.
func (c *change) NoBefore() bool { return c.Op == "u" && c.before == nil }

func (c *change) names() (names []string) {
	for _, f := range slices.Concat(c.after, c.before) {
		if !slices.Contains(names, f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}

// sameKey compares keys by content: {"id": 7} equals {"id":7}.
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
