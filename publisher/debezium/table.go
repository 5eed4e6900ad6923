package debezium

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// table is the plan of one version of a table: everything that is the same for all its rows.
type table struct {
	relation *pgoutput.Relation
	version  version
	excluded bool   // the table has no records
	name     []byte // "schema.table" as JSON
	topic    string
	filter   *filter.Filter // nil: every row
	source   []byte         // the table's part of the source block
	columns  []column
	key      []int // columns of the record key in key order; nil: null key
	identity record.Identity
	missing  byte  // what NULL means in a partial old row: absent, or Unchanged as for a TOAST value that the statement did not touch
	texts    []int // columns whose values must be UTF-8

	insertOnly error // why UPDATE and DELETE have no records; nil: they do
	schemas    tableSchemas
	router     *router // for an outbox table of the application; nil for any other table
	events     *collection
	warned     []string // what the operator was told of it: see warnOnce
}

// version identifies what a plan depends on in addition to the Relation and the catalog.
type version struct {
	shape int // the shape may assign another topic
	keys  int // round of the keys
}

func (e *Encoder) version() version { return version{e.config.Shape.Version(), e.config.Keys.Round()} }

// column says how one column becomes a field of a JSON object.
type column struct {
	name        string // "name":
	codec       codec
	schema      *record.Schema
	keySchema   *record.Schema // without the parameters of the source type
	key         *column        // how it is written in keys; nil: as in rows
	hidden      bool           // not in rows; still in the key if it is a key column
	masked      bool
	long        bool   // values may be stored out of line
	null        string // for NULL
	absent      string // for a value that an old row does not have; "": the field is left out
	unavailable string // for an unchanged TOAST value
	misfit      string // for a value that the schema cannot carry
	placeholder string // text for an unchanged TOAST value
}

// absent is the kind of a value that is not in the WAL, in addition to the kinds of a Tuple.
const absent = 0

type value struct {
	kind byte
	text []byte
}

// isMissing reports whether the WAL does not have the value.
func (v value) isMissing() bool { return v.kind == absent || v.kind == pgoutput.Unchanged }

// row is a decoded tuple. It is reused for the next change.
type row struct {
	present bool
	values  []value
}

// warnOnce warns the operator of a table, unless its plan before was warned of the same: the server sends a Relation again when nothing in it has changed.
func (e *Encoder) warnOnce(t *table, finding, text string) {
	t.warned = append(t.warned, text)
	if before := e.tables[t.relation.OID]; e.config.Warn != nil && (before == nil || !slices.Contains(before.warned, text)) {
		e.config.Warn(finding, text)
	}
}

// plan makes the plan of a table. It reads the catalog once per version of the table.
func (e *Encoder) plan(ctx context.Context, relation *pgoutput.Relation, at record.Place) (*table, error) {
	shape, err := e.config.Shape.Table(relation)
	version := e.version()
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
		source:   sourceTable(relation.Schema, relation.Name),
		columns:  make([]column, len(relation.Columns)),
		events:   e.collection(relation.Schema + "." + relation.Name),
	}
	known, found, err := e.config.Catalog.Table(ctx, relation.OID, at)
	if err != nil {
		return nil, err
	}
	t.identity = identityOf(relation, &known, shape.Key != nil)
	for i := range relation.Columns {
		if t.columns[i], err = e.column(ctx, relation, i, &known, shape.Columns[i], at); err != nil {
			return nil, err
		}
	}
	if t.router, err = e.planRouter(t); err != nil {
		return nil, err
	}
	switch t.key = shape.Key; {
	case t.key == nil:
		t.key = e.chooseKey(relation, &known)
		e.warnOfKey(t, &known, found)
	case !t.identity.Whole:
		t.insertOnly = t.unloggedKeyColumn(known.Partitioned)
	}
	t.markMissing(&known, e.config.Framing != nil)
	e.warnOfFilter(t, known.Partitioned)
	e.warnOfLossyKey(t)
	t.texts = t.textual(shape.Columns)
	if e.config.Framing != nil {
		t.schemas = e.describe(t)
	}
	return t, e.config.Shape.CheckKey(relation, t.key != nil)
}

// unloggedKeyColumn returns the error for UPDATE and DELETE if old rows lack a column of the configured key.
func (t *table) unloggedKeyColumn(partitioned bool) error {
	for _, i := range t.key {
		if !slices.Contains(t.identity.Columns, i) {
			return shape.UnloggedKey(t.relation, t.relation.Columns[i].Name, partitioned)
		}
	}
	return nil
}

// column plans one column.
func (e *Encoder) column(ctx context.Context, relation *pgoutput.Relation, i int, known *Table, shape shape.Column, at record.Place) (column, error) {
	c := &relation.Columns[i]
	found, err := e.codecs.of(ctx, c, at)
	if err != nil {
		return column{}, fmt.Errorf("column %s: %w", c.Name, err)
	}
	notNull := slices.Contains(known.NotNull, c.Name)
	planned, err := e.codecs.planned(*c, found, shape.Mask, notNull, known.Defaults[c.Name])
	if err != nil {
		return column{}, fmt.Errorf("column %s: %w", c.Name, err)
	}
	if shape.Mask == nil { // as in Debezium, a masked column has the mask's parameter instead
		err = e.propagate(ctx, &planned, relation, i, known.Defaults[c.Name], at)
	} else {
		planned.key = new(column)
		*planned.key, err = e.codecs.planned(*c, found, shape.Mask.InKey(), notNull, known.Defaults[c.Name])
	}
	if err != nil {
		return column{}, fmt.Errorf("column %s: %w", c.Name, err)
	}
	planned.hidden = planned.hidden || shape.Hidden
	planned.long = (found.unavailable != "" || found.detachable) && !found.short && !isShort(c)
	if e.config.Envelope == Plain {
		planned.absent, planned.unavailable = "", ""
	}
	return planned, nil
}

// planned plans a column with a mask, or without one (nil). The default of a column whose values are masked is not published.
func (c *codecs) planned(of pgoutput.Column, found codec, m *shape.Mask, notNull bool, expression string) (column, error) {
	found, masks, err := c.masked(found, m, of)
	if err != nil {
		return column{}, err
	}
	if masks {
		expression = ""
	}
	planned := newColumn(of, found, notNull, expression)
	planned.placeholder, planned.masked = c.placeholders.raw, masks
	planned.fix(m)
	return planned, nil
}

// inKey returns how a column is written in keys.
func (c *column) inKey() *column {
	if c.key != nil {
		return c.key
	}
	return c
}

// markMissing sets how a value is written that an old row lacks. Without a key the old row is all that says which row has changed: it tells what it lacks,
// like other values that are not in the WAL. In the old row of a leaf partition of a table with a key, the field is left out, or is written like that if
// the schema needs it. A table with a replica identity of its own and a key keeps what Debezium writes: null, or zero.
func (t *table) markMissing(known *Table, framed bool) {
	own := record.LoggedIdentity(t.relation)
	switch leaf := known.Partitioned && (own.Whole || len(own.Columns) == 0); {
	case t.key == nil || leaf && framed:
		t.missing = pgoutput.Unchanged
	case leaf:
		for i := range t.columns {
			if !t.columns[i].masked {
				t.columns[i].absent = ""
			}
		}
	}
}

func newColumn(c pgoutput.Column, found codec, notNull bool, expression string) column {
	schema := found.schema
	schema.Default = found.defaultOf(expression)
	schema.Optional = schema.Optional || !notNull
	inKey := schema // a key is always in the WAL
	schema.Optional = schema.Optional || found.detachable
	planned := column{
		name:        string(record.AppendJSONString(nil, c.Name)) + ":",
		codec:       found,
		schema:      &schema,
		keySchema:   &inKey,
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

// read decodes tuple into r. In an old row that is not complete, NULL means that the WAL does not have the value, since identity columns cannot be
// null.
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

// omit handles a value that was too long to be kept in memory: if no record and no filter needs it, it counts as a value that is not in the WAL;
// otherwise it is an error.
func (t *table) omit(v *value, i int) error {
	if i < len(t.columns) && !(t.columns[i].hidden && t.filter == nil) {
		return &record.TooLarge{What: "column " + t.relation.Columns[i].Name, Bytes: binary.BigEndian.Uint64(v.text)}
	}
	*v = value{kind: pgoutput.Unchanged}
	return nil
}

// fill copies values that are unchanged in the new row from the old row, where the old row has them.
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

// appendRow appends a row as a JSON object, or null if there is none.
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
		dst = append(dst, c.name...)
		start := len(dst)
		dst = c.append(dst, r.values[i], lost)
		if r.values[i].kind == pgoutput.Text && lost.mistakable(dst[start:]) {
			lost.add(c, r.values[i])
		}
	}
	return append(dst, '}')
}

// omits reports whether a value that is not in the WAL is left out.
func (c *column) omits(v value) bool {
	return v.kind == absent && c.absent == "" || v.kind == pgoutput.Unchanged && c.unavailable == ""
}

// append appends a value. A value that its schema cannot carry becomes null, or zero where null is not allowed, and its text is added to lost. If
// lost is nil there is no schema, and the value becomes a JSON string of its text.
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

// appendFit appends a value. It returns false if the schema cannot carry it.
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

// appendKey appends the key columns as a JSON object. A key column that is not in the WAL is an error: another key would identify another row.
func (t *table) appendKey(dst []byte, r *row, lost *lost) ([]byte, error) {
	dst = append(dst, '{')
	for n, i := range t.key {
		c, v := t.columns[i].inKey(), r.values[i]
		if v.isMissing() {
			return dst, fmt.Errorf("%s.%s: the WAL lacks key column %s of this row: give every partition the same replica identity as the table, then resync the table",
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
