package debezium

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher"
)

// table is the plan for one version of a table: what is the same for each of its rows.
type table struct {
	relation *pgoutput.Relation
	excluded bool   // no record at all
	name     []byte // "schema.table" as JSON
	topic    string
	filter   *publisher.Filter // nil: every row
	source   []byte            // its part of the source block
	columns  []column
	key      []int // columns of the record key, in its order; nil: null key

	insertOnly error // why UPDATE and DELETE have no record; nil: they have
	schemas    tableSchemas
	router     *router // of an outbox of the application; nil for any other table
	events     *collection
}

// column is how one column becomes a field of a JSON object.
type column struct {
	name        string // "name":
	codec       codec
	schema      *publisher.Schema
	hidden      bool // not in rows; in the key if it is part of that
	masked      bool
	identity    bool   // part of the replica identity
	null        string // for NULL
	absent      string // for a value that an old tuple of the identity's columns does not have
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
	partial bool // of a tuple that has the replica identity only
	values  []value
}

// plan asks the catalog, once for each version of the table.
func (e *Encoder) plan(relation *pgoutput.Relation) (*table, error) {
	shape, err := e.config.Shape.Table(relation)
	if err != nil || shape.Excluded {
		return &table{relation: relation, excluded: true}, err
	}
	t := &table{
		relation: relation,
		name:     publisher.AppendJSONString(nil, relation.Schema+"."+relation.Name),
		topic:    shape.Topic,
		filter:   shape.Filter,

		insertOnly: shape.InsertOnly,

		source:  sourceTable(relation.Schema, relation.Name),
		columns: make([]column, len(relation.Columns)),
		events:  e.collection(relation.Schema + "." + relation.Name),
	}
	known, _, err := e.config.Catalog.Table(relation.OID)
	if err != nil {
		return nil, err
	}
	for i, c := range relation.Columns {
		found, err := e.codecs.find(c.Type, c.TypeMod)
		if err == nil {
			found, err = e.codecs.masked(found, shape.Columns[i].Mask)
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		expression := known.Defaults[c.Name]
		if shape.Columns[i].Mask != nil {
			expression = ""
		}
		t.columns[i] = newColumn(c, found, slices.Contains(known.NotNull, c.Name), expression)
		t.columns[i].placeholder = e.codecs.placeholders.raw
		t.columns[i].apply(shape.Columns[i])
		if e.config.Envelope == Plain {
			t.columns[i].absent, t.columns[i].unavailable = "", ""
		}
	}
	if t.router, err = e.route(t); err != nil {
		return nil, err
	}
	if t.key = shape.Key; t.key == nil {
		t.key = chooseKey(relation, known.Keys)
	}
	if e.config.Framing != nil {
		t.schemas = e.describe(t)
	}
	return t, e.config.Shape.CheckKey(relation, t.key != nil)
}

func newColumn(c pgoutput.Column, found codec, notNull bool, expression string) column {
	schema := found.schema
	schema.Default = found.defaultOf(expression)
	schema.Optional = schema.Optional || !notNull
	planned := column{
		name:        string(publisher.AppendJSONString(nil, c.Name)) + ":",
		codec:       found,
		schema:      &schema,
		hidden:      found.omitted,
		identity:    c.Key,
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

// chooseKey returns the columns of the record key: those of the first candidate (the primary key, if
// there is one) whose values the log has in every old tuple. It is the replica identity if the
// catalog knows no such key.
func chooseKey(relation *pgoutput.Relation, candidates [][]string) []int {
	var identity []int
	for i, c := range relation.Columns {
		if c.Key {
			identity = append(identity, i)
		}
	}
	for _, names := range candidates {
		if relation.Identity == 'd' && len(identity) > 0 && len(names) != len(identity) {
			continue // the log flags the primary key of that time: this one came later
		}
		if key := locate(relation, names, len(identity) > 0); key != nil {
			return key
		}
	}
	if relation.Identity == 'f' { // it flags every column
		return nil
	}
	return identity
}

// locate returns where the named columns are, nil if one is missing or not of the identity.
func locate(relation *pgoutput.Relation, names []string, identityOnly bool) []int {
	var key []int
	for _, name := range names {
		i := slices.IndexFunc(relation.Columns, func(c pgoutput.Column) bool { return c.Name == name })
		if i < 0 || identityOnly && !relation.Columns[i].Key {
			return nil
		}
		key = append(key, i)
	}
	return key
}

// read makes r the row of tuple; kind is Change.OldKind for an old tuple, else 0.
func (t *table) read(r *row, tuple pgoutput.Tuple, kind byte) error {
	r.present, r.partial, r.values = tuple != nil, kind == 'K', r.values[:0]
	if tuple == nil {
		return nil
	}
	for c := tuple.Columns(); c.Next(); {
		v := value{c.Kind(), c.Value()}
		if v.kind == pgoutput.Binary {
			return fmt.Errorf("%s.%s: binary values are not supported: start replication without the option binary", t.relation.Schema, t.relation.Name)
		}
		// A leaf of a partitioned table may tell more than the identity of its root: what is there is kept.
		if i := len(r.values); r.partial && v.kind == pgoutput.Null && i < len(t.columns) && !t.columns[i].identity {
			v = value{kind: absent}
		}
		if v.kind == pgoutput.Omitted {
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
		return &publisher.TooLarge{What: "column " + t.relation.Columns[i].Name, Bytes: binary.BigEndian.Uint64(v.text)}
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

// omits says whether a value that is not in the log is left out.
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
	case lost != nil:
		lost.add(c, v)
		return append(dst[:start], c.misfit...)
	case v.kind != pgoutput.Text || c.masked:
		return append(dst[:start], "null"...)
	}
	return publisher.AppendJSONString(dst[:start], v.text)
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
		if v.kind == pgoutput.Unchanged || v.kind == absent || v.kind == pgoutput.Null && r.partial {
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
