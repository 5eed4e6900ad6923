package debezium

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// masked returns the codec of a column with a mask; found is the codec of its type. Masked and hashed values are strings whatever the column's type.
// masks reports whether the mask changes values of this column.
func (c *codecs) masked(found codec, m *shape.Mask, of pgoutput.Column) (masked codec, masks bool, err error) {
	if m == nil {
		return found, false, nil
	}
	if m.Kind() == shape.Truncate {
		return c.truncated(found, m, of)
	}
	text, err := c.find(oidText, -1)
	text.append = func(dst, value []byte) ([]byte, bool) { return appendText(dst, m.Text(value)) }
	zero, _ := text.append(nil, nil)
	text.zero = string(zero)
	text.schema.Parameters = parameters(text.schema, "masked", "true")
	return text, true, err
}

// truncated cuts what Debezium's TruncateColumn cuts: strings and bytes in the form in which they are published. A type that cannot be longer than the
// mask allows is not touched.
func (c *codecs) truncated(found codec, m *shape.Mask, of pgoutput.Column) (codec, bool, error) {
	longest, _, err := c.extent(of.Type, of.TypeMod)
	if err != nil {
		return found, false, err
	}
	cut := c.cutOf(&found.schema, m.Length())
	if cut == nil && m.Named() {
		return found, false, halt.New(halt.ErrShape, fmt.Sprintf("column %s is published neither as a string nor as bytes and cannot be truncated", of.Name), "mask, hash or exclude it")
	}
	if longest <= m.Length() {
		return found, false, nil
	}
	found.schema.Parameters = parameters(found.schema, "truncateLength", strconv.Itoa(m.Length()))
	if cut == nil {
		return found, false, nil
	}
	whole := found.append
	found.append = func(dst, value []byte) ([]byte, bool) {
		start := len(dst)
		dst, fits := whole(dst, value)
		if !fits || len(dst) == start || dst[start] != '"' {
			return dst, fits
		}
		return cut(dst, start), true
	}
	return found, true, nil
}

// cutOf returns what cuts a JSON string that starts at an offset to n characters, or to n of the bytes that it stands for. It returns nil for a schema
// without such values.
func (c *codecs) cutOf(s *record.Schema, n int) func(dst []byte, start int) []byte {
	switch {
	case s.Type == record.String:
		return func(dst []byte, start int) []byte { return cutJSON(dst, start, n) }
	case s.Type == record.Bytes && s.Name == "": // not a number or a bit string
		return func(dst []byte, start int) []byte {
			raw, err := base64.StdEncoding.AppendDecode(c.raw.raw[:0], dst[start+1:len(dst)-1])
			c.raw.raw = raw
			if err != nil || len(raw) <= n {
				return dst
			}
			return record.AppendJSONBase64(dst[:start], raw[:n])
		}
	}
	return nil
}

// cutJSON cuts the JSON string from start to the end of dst to n characters.
func cutJSON(dst []byte, start, n int) []byte {
	i := start + 1
	for ; n > 0 && i < len(dst)-1; n-- {
		switch {
		case dst[i] == '\\' && dst[i+1] == 'u':
			i += len(`\u0000`)
		case dst[i] == '\\':
			i += len(`\n`)
		default:
			_, width := utf8.DecodeRune(dst[i:])
			i += width
		}
	}
	return append(dst[:i], '"')
}

// parameters returns the parameters of a schema plus the one that Debezium adds for a masked column.
func parameters(s record.Schema, name, value string) []record.Parameter {
	return append(slices.Clip(s.Parameters), record.Parameter{Name: name, Value: value})
}

// fix sets the value that replaces every value of the column, if the mask has one.
func (c *column) fix(m *shape.Mask) {
	if m != nil && m.Fixed() != "" {
		c.null, c.absent, c.unavailable = m.Fixed(), m.Fixed(), m.Fixed()
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

// shortLength is the length, in characters, up to which a column of limited length is not expected to be stored out of line: a row needs 2 kB for that.
const shortLength = 255

func isShort(c *pgoutput.Column) bool {
	return (c.Type == oidVarchar || c.Type == oidBPChar) && c.TypeMod >= 0 && c.TypeMod-4 <= shortLength
}

// warnOfFilter warns the operator if a row that an UPDATE brings into the view of the filter may lack values: the WAL has no value that is stored out of
// line and that the statement left as it was, and no record before had it.
func (e *Encoder) warnOfFilter(t *table, partitioned bool) {
	if t.filter == nil || t.identity.Whole || len(t.identity.Columns) == 0 { // without an identity no UPDATE is captured
		return
	}
	i := slices.IndexFunc(t.columns, func(c column) bool { return c.long && !c.hidden })
	if i < 0 {
		return
	}
	name := t.relation.Schema + "." + t.relation.Name
	e.warnOnce(t, "filter-needs-full", fmt.Sprintf("rows that an UPDATE brings into the filter of table %s may lack long values, such as those of column %s, because the WAL does not have what the statement left unchanged: %s",
		name, t.relation.Columns[i].Name, shape.FullIdentity(t.relation, partitioned)))
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
