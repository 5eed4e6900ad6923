package debezium

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// table is the plan for one version of a table: what is the same for each of its rows.
type table struct {
	relation *pgoutput.Relation
	version  int    // of the shape
	excluded bool   // no record at all
	name     []byte // "schema.table" as JSON
	topic    string
	filter   *filter.Filter // nil: every row
	source   []byte         // its part of the source block
	columns  []column
	key      []int // columns of the record key, in its order; nil: null key
	identity record.Identity
	missing  byte  // what NULL in an old row that is not whole means: absent, or as if it were TOAST that nobody touched
	texts    []int // columns whose values have to be UTF-8

	insertOnly error // why UPDATE and DELETE have no record; nil: they have
	schemas    tableSchemas
	router     *router // of an outbox of the application; nil for any other table
	events     *collection
}

// column is how one column becomes a field of a JSON object.
type column struct {
	name        string // "name":
	codec       codec
	schema      *record.Schema
	keySchema   *record.Schema // without the parameters that tell the source's type
	hidden      bool           // not in rows; in the key if it is part of that
	masked      bool
	null        string // for NULL
	absent      string // for a value that an old row does not have; "": it is left out
	unavailable string // for an unchanged TOAST value
	misfit      string // for a value that the schema cannot carry
	placeholder string // text of an unchanged TOAST value
}

// absent is the kind of a column that is not in the log, beside the kinds of a Tuple.
const absent = 0

type value struct {
	kind byte
	text []byte
}

// row is a tuple that has been read. It is used again for the next change.
type row struct {
	present bool
	values  []value
}

// plan asks the catalog, once for each version of the table.
func (e *Encoder) plan(relation *pgoutput.Relation, at record.Place) (*table, error) {
	shape, err := e.config.Shape.Table(relation)
	version := e.config.Shape.Version()
	if err != nil || shape.Excluded {
		return &table{relation: relation, version: version, excluded: true, identity: record.LoggedIdentity(relation)}, err
	}
	if err := checkNames(relation); err != nil {
		return nil, err
	}
	t := &table{
		relation: relation,
		version:  version,
		name:     record.AppendJSONString(nil, relation.Schema+"."+relation.Name),
		topic:    shape.Topic,
		filter:   shape.Filter,

		insertOnly: shape.InsertOnly,

		source:  sourceTable(relation.Schema, relation.Name),
		columns: make([]column, len(relation.Columns)),
		events:  e.collection(relation.Schema + "." + relation.Name),
	}
	known, found, err := e.config.Catalog.Table(relation.OID, at)
	if err != nil {
		return nil, err
	}
	t.identity = identityOf(relation, &known)
	for i := range relation.Columns {
		if t.columns[i], err = e.column(relation, i, &known, shape.Columns[i], at); err != nil {
			return nil, err
		}
	}
	t.leaveOut(&known, e.config.Framing != nil)
	if t.router, err = e.route(t); err != nil {
		return nil, err
	}
	if t.key = shape.Key; t.key == nil {
		t.key = e.chooseKey(relation, &known)
		e.warnOfKey(t, &known, found)
	}
	t.texts = t.textual(shape.Columns)
	if e.config.Framing != nil {
		t.schemas = e.describe(t)
	}
	return t, e.config.Shape.CheckKey(relation, t.key != nil)
}

// column plans one column.
func (e *Encoder) column(relation *pgoutput.Relation, i int, known *Table, shape shape.Column, at record.Place) (column, error) {
	c := &relation.Columns[i]
	found, err := e.codecs.of(c, at)
	if err == nil {
		found, err = e.codecs.masked(found, shape.Mask, *c)
	}
	if err != nil {
		return column{}, fmt.Errorf("column %s: %w", c.Name, err)
	}
	expression := known.Defaults[c.Name]
	if shape.Mask != nil {
		expression = ""
	}
	planned := newColumn(*c, found, slices.Contains(known.NotNull, c.Name), expression)
	planned.placeholder = e.codecs.placeholders.raw
	if shape.Mask == nil { // Debezium's mask takes the parameters' place, too
		if err := e.propagate(&planned, relation, i, known.Defaults[c.Name], at); err != nil {
			return column{}, fmt.Errorf("column %s: %w", c.Name, err)
		}
	}
	planned.apply(shape)
	if e.config.Envelope == Plain {
		planned.absent, planned.unavailable = "", ""
	}
	return planned, nil
}

// leaveOut says how a value is written that an old row of a leaf does not have: not at all, where the record may lack it, else as the log's
// other values that it does not have. Of a table with a replica identity of its own, it is what Debezium writes: null, or zero.
func (t *table) leaveOut(known *Table, framed bool) {
	if own := record.LoggedIdentity(t.relation); !known.Partitioned || len(own.Columns) > 0 && !own.Whole {
		return
	}
	if framed {
		t.missing = pgoutput.Unchanged
		return
	}
	for i := range t.columns {
		if !t.columns[i].masked {
			t.columns[i].absent = ""
		}
	}
}

func newColumn(c pgoutput.Column, found codec, notNull bool, expression string) column {
	schema := found.schema
	schema.Default = found.defaultOf(expression)
	schema.Optional = schema.Optional || !notNull
	planned := column{
		name:        string(record.AppendJSONString(nil, c.Name)) + ":",
		codec:       found,
		schema:      &schema,
		keySchema:   &schema,
		hidden:      found.omitted,
		null:        "null",
		absent:      "null",
		unavailable: "null",
		misfit:      "null",
	}
	if !schema.Optional {
		planned.misfit = found.zero
	}
	if notNull {
		planned.absent = found.zero
	}
	if notNull && schema.Default != nil {
		planned.absent = string(schema.Default)
	}
	if found.unavailable != "" {
		planned.unavailable = found.unavailable
	}
	return planned
}

// read makes r the row of tuple. Of an old one that is not whole, NULL is a value that the log does not have: columns of an identity are not null.
func (t *table) read(r *row, tuple pgoutput.Tuple, old bool) error {
	r.present, r.values = tuple != nil, r.values[:0]
	if tuple == nil {
		return nil
	}
	partial := old && !t.identity.Whole
	for c := tuple.Columns(); c.Next(); {
		v := value{c.Kind(), c.Value()}
		switch {
		case v.kind == pgoutput.Binary:
			return fmt.Errorf("%s.%s: binary values are not supported: start replication without the option binary", t.relation.Schema, t.relation.Name)
		case v.kind == pgoutput.Null && partial:
			v = value{kind: t.missing}
		case v.kind == pgoutput.Omitted:
			if err := t.omit(&v, len(r.values)); err != nil {
				return err
			}
		}
		r.values = append(r.values, v)
	}
	if len(r.values) != len(t.columns) {
		return fmt.Errorf("%s.%s: row of %d columns, the relation has %d", t.relation.Schema, t.relation.Name, len(r.values), len(t.columns))
	}
	return nil
}

// omit takes a value that was too long to be held for one that is not in the log, if nobody needs it.
func (t *table) omit(v *value, i int) error {
	if i < len(t.columns) && !(t.columns[i].hidden && t.filter == nil) {
		return &record.TooLarge{What: "column " + t.relation.Columns[i].Name, Bytes: binary.BigEndian.Uint64(v.text)}
	}
	*v = value{kind: pgoutput.Unchanged}
	return nil
}

// fill takes what the new row says is unchanged from the old one, where that has it.
func (r *row) fill(old *row) {
	if !old.present {
		return
	}
	for i := range r.values {
		if r.values[i].kind == pgoutput.Unchanged && old.values[i].kind != absent {
			r.values[i] = old.values[i]
		}
	}
}

// appendRow appends the JSON object of a row, null if there is none.
func (t *table) appendRow(dst []byte, r *row, lost *lost) []byte {
	if r == nil {
		return append(dst, "null"...)
	}
	dst = append(dst, '{')
	first := true
	for i := range t.columns {
		c := &t.columns[i]
		if c.hidden || c.omits(r.values[i]) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = c.append(append(dst, c.name...), r.values[i], lost)
	}
	return append(dst, '}')
}

// omits reports whether a value that is not in the log is left out.
func (c *column) omits(v value) bool {
	return v.kind == absent && c.absent == "" || v.kind == pgoutput.Unchanged && c.unavailable == ""
}

// append appends a value. What its schema cannot carry is null, or a zero where that must not be, and its
// text is lost; without lost no schema binds, and it is a JSON string of its text.
func (c *column) append(dst []byte, v value, lost *lost) []byte {
	start := len(dst)
	dst, ok := c.appendFit(dst, v)
	switch {
	case ok:
		return dst
	case lost != nil && !lost.bare:
		lost.add(c, v)
		return append(dst[:start], c.misfit...)
	case lost != nil && v.kind == pgoutput.Unchanged:
		lost.add(c, v)
		return append(dst[:start], "null"...)
	case v.kind != pgoutput.Text || c.masked:
		return append(dst[:start], "null"...)
	}
	return record.AppendJSONString(dst[:start], v.text)
}

// appendFit is false for a value that the schema cannot carry.
func (c *column) appendFit(dst []byte, v value) ([]byte, bool) {
	switch v.kind {
	case pgoutput.Null:
		return append(dst, c.null...), c.schema.Optional || c.null != "null"
	case pgoutput.Unchanged:
		return append(dst, c.unavailable...), c.unavailable != "null"
	case absent:
		return append(dst, c.absent...), true
	}
	return c.codec.append(dst, v.text)
}

// appendKey appends the JSON object of the key columns. It is an error if the log does not have them:
// another key would name another row.
func (t *table) appendKey(dst []byte, r *row, lost *lost) ([]byte, error) {
	dst = append(dst, '{')
	for n, i := range t.key {
		c, v := &t.columns[i], r.values[i]
		if v.kind == pgoutput.Unchanged || v.kind == absent {
			return dst, fmt.Errorf("%s.%s: the log does not have key column %s of this row: give every partition the same replica identity as the table, and take a new snapshot of it",
				t.relation.Schema, t.relation.Name, t.relation.Columns[i].Name)
		}
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = c.append(append(dst, c.name...), v, lost)
	}
	if lost != nil && len(lost.json) > 0 {
		return dst, fmt.Errorf("%s.%s: the type of a key column cannot carry the value of this row: choose another handling mode for its type, or no schemas", t.relation.Schema, t.relation.Name)
	}
	return append(dst, '}'), nil
}
