package debezium

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// masked returns the codec of a column with a mask; found is the codec of its type. Masked and hashed values are strings whatever the column's type,
// in keys and in rows.
func (c *codecs) masked(found codec, m *shape.Mask, of pgoutput.Column) (codec, error) {
	if m == nil {
		return found, nil
	}
	if m.Kind() == shape.Truncate {
		whole := found.append
		found.append = func(dst, value []byte) ([]byte, bool) { return whole(dst, m.Text(value)) }
		longest, _, err := c.extent(of.Type, of.TypeMod)
		if longest > m.Length() {
			found.schema.Parameters = parameters(found.schema, "truncateLength", strconv.Itoa(m.Length()))
		}
		return found, err
	}
	text, err := c.find(oidText, -1)
	text.append = func(dst, value []byte) ([]byte, bool) { return appendText(dst, m.Text(value)) }
	text.schema.Parameters = parameters(text.schema, "masked", "true")
	return text, err
}

// parameters returns the parameters of a schema plus the one that Debezium adds for a masked column.
func parameters(s record.Schema, name, value string) []record.Parameter {
	return append(slices.Clip(s.Parameters), record.Parameter{Name: name, Value: value})
}

// apply hides a column, or sets its fixed value. The default of a masked column is not published.
func (c *column) apply(shape shape.Column) {
	c.hidden = c.hidden || shape.Hidden
	c.masked = shape.Mask != nil
	if c.masked && shape.Mask.Fixed() != "" {
		c.null, c.absent, c.unavailable = shape.Mask.Fixed(), shape.Mask.Fixed(), shape.Mask.Fixed()
	}
}

// Column gives a Filter access to a value of the row.
func (r *row) Column(i int) (kind byte, text []byte) { return r.values[i].kind, r.values[i].text }

// undecided is the error for a row whose filter depends on a TOAST value that the statement did not change.
func undecided(t *table) error {
	return &halt.Halt{
		Reason: halt.ErrShape,
		Detail: fmt.Sprintf("the filter of %s.%s depends on a value that is not in the WAL, because the statement did not change it", t.relation.Schema, t.relation.Name),
		Repair: "filter by another column; with REPLICA IDENTITY FULL the WAL has the value from then on",
	}
}

// decide returns the operation that a change is for consumers who see only the rows that pass the filter; 0 means none. If the WAL does not show
// whether the old row passed, decide assumes that it did: a superfluous delete does no harm, but a missing one leaves a row behind.
func (e *Encoder) decide(t *table, op outbox.Op) (outbox.Op, error) {
	if t.filter == nil || op == outbox.Truncate {
		return op, nil
	}
	was, is := filter.False, filter.False
	if op != outbox.Insert && op != outbox.Read {
		was = t.filter.Match(e.rowBefore(t))
	}
	if op != outbox.Delete {
		if is = t.filter.Match(&e.after); is == filter.Unknown {
			return 0, undecided(t)
		}
	}
	published := was == filter.True || was == filter.Unknown
	switch {
	case is == filter.True && published:
		return outbox.Update, nil
	case is == filter.True && op == outbox.Read:
		return outbox.Read, nil
	case is == filter.True:
		return outbox.Insert, nil
	case published:
		if !e.before.present {
			e.before, e.identity = e.identity, e.before
		}
		return outbox.Delete, nil
	}
	return 0, nil
}

// rowBefore returns the row before the change. If the WAL does not have it, the columns of the replica identity did not change, and only their values
// are known.
func (e *Encoder) rowBefore(t *table) *row {
	if e.before.present {
		return &e.before
	}
	e.identity.present, e.identity.values = true, e.identity.values[:0]
	for i, v := range e.after.values {
		if !slices.Contains(t.identity.Columns, i) {
			v = value{kind: t.missing}
		}
		e.identity.values = append(e.identity.values, v)
	}
	return &e.identity
}
