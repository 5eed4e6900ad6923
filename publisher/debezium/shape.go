package debezium

import (
	"errors"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
)

// apply hides or masks a column that was planned as its type says. Masked and hashed values are strings, of
// whatever type the column is, in the key as in the rows.
func (c *column) apply(shape publisher.ColumnShape, placeholder string) {
	c.hidden = c.hidden || shape.Hidden
	m := shape.Mask
	if m == nil {
		return
	}
	c.masked = true
	whole, text := c.codec.append, &publisher.Schema{Type: publisher.String, Optional: c.schema.Optional}
	switch m.Kind() {
	case publisher.Asterisks:
		c.null, c.absent, c.unavailable = m.Fixed(), m.Fixed(), m.Fixed()
		c.schema, c.codec = text, codec{append: func(dst, _ []byte) ([]byte, bool) { return append(dst, m.Fixed()...), true }}
	case publisher.Hash:
		if c.absent != "null" {
			c.absent = `""`
		}
		c.unavailable = placeholder
		c.schema, c.codec = text, codec{append: func(dst, value []byte) ([]byte, bool) { return appendText(dst, m.Text(value)) }}
	case publisher.Truncate:
		c.codec.append = func(dst, value []byte) ([]byte, bool) { return whole(dst, m.Text(value)) }
	}
}

// Column makes a row readable for a Filter.
func (r *row) Column(i int) (kind byte, text []byte) { return r.values[i].kind, r.values[i].text }

var errUndecided = errors.New("the filter depends on a value that the log does not have (TOAST that the statement did not touch): run ALTER TABLE ... REPLICA IDENTITY FULL, or filter by another column")

// decide says what a change is to those who see only the rows that the filter lets through; 0 for nothing.
// Where the log does not tell whether the old row was among them, it is taken for one: a delete too many
// does no harm, one too few leaves a row behind.
func (e *Encoder) decide(t *table, op outbox.Op) (outbox.Op, error) {
	if t.filter == nil || op == outbox.Truncate {
		return op, nil
	}
	was, is := publisher.False, publisher.False
	if op != outbox.Insert {
		was = t.filter.Match(e.oldRow(t))
	}
	if op != outbox.Delete {
		if is = t.filter.Match(&e.after); is == publisher.Unknown {
			return 0, errUndecided
		}
	}
	published := was == publisher.True || was == publisher.Unknown
	switch {
	case is == publisher.True && published:
		return outbox.Update, nil
	case is == publisher.True:
		return outbox.Insert, nil
	case published:
		if !e.before.present {
			e.before, e.identity = e.identity, e.before
		}
		return outbox.Delete, nil
	}
	return 0, nil
}

// oldRow is the row before the change. If the log has none, its replica identity did not change: that is
// known, and nothing else.
func (e *Encoder) oldRow(t *table) *row {
	if e.before.present {
		return &e.before
	}
	e.identity.present, e.identity.partial, e.identity.values = true, true, e.identity.values[:0]
	for i, v := range e.after.values {
		if !t.columns[i].identity {
			v = value{kind: absent}
		}
		e.identity.values = append(e.identity.values, v)
	}
	return &e.identity
}
