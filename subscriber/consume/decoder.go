package consume

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/decode"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// decoder converts records to lines of COPY. It must be used by one goroutine at a time.
type decoder struct {
	cfg    *Config
	table  *table
	cells  []cell // of the current record, one per column
	fields map[string]*field
	whole  []int // columns filled with the whole value
	layout []*field
	next   int    // next index in layout
	text   []byte // text produced for cells of the current record
	line   []cell // fields of a CSV or TSV line

	value, key schemaHint
	schema     *schema // of the current value

	readable *bool // a schema of the registry could be read
	doubt    error // until then: why a record's schema could not

	take func(name, value []byte) error // d.takeField, bound once
}

// cell is the value of a column before it is converted to COPY's format.
type cell struct {
	form form
	text []byte
}

type form uint8

const (
	absent form = iota
	null
	asJSON  // text is a JSON value
	asText  // text is plain text
	asBytes // text is raw bytes
)

// field is a top-level name of a JSON object, with the columns that it fills.
type field struct {
	name    string
	columns []int
}

// badRecord is the reason why a record cannot become a row.
type badRecord string

func (b badRecord) Error() string { return string(b) }

const nulByte badRecord = "a NUL byte, which no text of PostgreSQL can hold"

func (c *Config) newDecoder(t *table) *decoder {
	d := &decoder{cfg: c, table: t, cells: make([]cell, len(t.columns)), fields: map[string]*field{}, readable: new(bool)}
	d.take = d.takeField
	for i := range t.columns {
		o, name := &t.columns[i].origin, t.columns[i].name
		switch o.kind {
		case byPath:
			if len(o.path) == 0 || o.path[0].index >= 0 {
				d.whole = append(d.whole, i)
				continue
			}
			name = o.path[0].name
		case byName, byKey:
		default:
			continue
		}
		if c.Format != JSON && c.Format != Avro {
			continue
		}
		f := d.fields[name]
		if f == nil {
			f = &field{name: name}
			d.fields[name] = f
		}
		f.columns = append(f.columns, i)
	}
	return d
}

// add decodes a record into a batch. An error is never caused by the record itself.
func (d *decoder) add(ctx context.Context, b *batch, record *kgo.Record) error {
	b.pass(record)
	if record.Attrs.IsControl() {
		return nil
	}
	r, err := d.row(ctx, b, record)
	if err != nil {
		var bad badRecord
		if !errors.As(err, &bad) {
			return fmt.Errorf("topic %s, partition %d, offset %d: %w", record.Topic, record.Partition, record.Offset, err)
		}
		b.arena = b.arena[:r.start]
		r = row{record: record, dead: string(bad)}
	}
	if b.doubt = d.doubt; *d.readable {
		b.doubt = nil
	}
	b.rows = append(b.rows, r)
	b.rawBytes += len(record.Key) + len(record.Value)
	return nil
}

func (d *decoder) row(ctx context.Context, b *batch, record *kgo.Record) (r row, err error) {
	r = row{record: record, start: len(b.arena), end: len(b.arena)}
	clear(d.cells)
	d.text, d.schema = d.text[:0], nil
	r.deletes = record.Value == nil
	switch {
	case r.deletes && d.table.keys == 0:
		return r, badRecord("a tombstone, and no --key says which row it deletes")
	case r.deletes:
	default:
		if err = d.readValue(ctx, record.Value); err != nil {
			return r, err
		}
	}
	if err = d.readKey(ctx, record); err != nil {
		return r, err
	}
	if !r.deletes {
		d.readPlace(record)
	}
	if err = d.checkKey(r.deletes); err != nil {
		return r, err
	}
	return r, d.render(b, &r)
}

// checkKey returns an error if the row has no key: NULL is not equal to NULL.
func (d *decoder) checkKey(deletes bool) error {
	for i := range d.table.keys {
		if c := d.cells[i].form; c != absent && c != null {
			continue
		}
		name := d.table.columns[i].name
		if deletes {
			return badRecord("a tombstone whose key says nothing for column " + name)
		}
		return badRecord("no value for column " + name + ", which --key names")
	}
	return nil
}

// readValue fills cells from the record's value.
func (d *decoder) readValue(ctx context.Context, value []byte) error {
	switch d.cfg.Format {
	case Raw:
		d.fill(d.whole, cell{asBytes, value})
		return nil
	case Text, CSV, TSV:
		if !utf8.Valid(value) {
			return badRecord("the value is not valid UTF-8")
		}
	}
	switch d.cfg.Format {
	case Text:
		d.fill(d.whole, cell{asText, value})
		return nil
	case CSV, TSV:
		return d.readLine(value)
	}
	value, schema, err := d.unframe(ctx, value, &d.value)
	if err != nil {
		return err
	}
	if string(value) == "null" { // the payload of a tombstone may come with a schema
		return badRecord("the value is null")
	}
	d.schema = schema
	for _, i := range d.whole {
		if err := d.dig(i, d.table.columns[i].origin.path, value, schema); err != nil {
			return err
		}
	}
	if len(d.fields) == 0 {
		return nil
	}
	if value[0] != '{' {
		return badRecord("the value is not a JSON object: --map COLUMN=$ takes a value as a whole")
	}
	d.next = 0
	return decode.Fields(value, d.take)
}

// unframe converts a key or value to JSON, and returns the Connect schema beside it.
func (d *decoder) unframe(ctx context.Context, framed []byte, hint *schemaHint) ([]byte, *schema, error) {
	if d.cfg.Format == Avro {
		if len(framed) < 5 || framed[0] != 0 {
			return nil, nil, badRecord("it is not in Confluent's Avro wire format")
		}
		text, err := d.cfg.Avro(ctx, framed)
		return text, nil, d.avroError(err)
	}
	if !utf8.Valid(framed) {
		return nil, nil, badRecord("it is not valid UTF-8")
	}
	if !json.Valid(framed) {
		return nil, nil, badRecord("it is not valid JSON")
	}
	framed = bytes.TrimSpace(framed)
	text, payload := splitSchema(framed)
	if payload == nil {
		return framed, nil, nil
	}
	schema, err := hint.of(text)
	return payload, schema, err
}

// doubtful is the Halt for a batch in which no schema could be read.
type doubtful struct{ Halt }

func (d doubtful) Unwrap() error { return d.Halt }

// avroError interprets an error of Config.Avro. That the schema of a record cannot be read is the record's fault only if those of others can: the registry
// may be another one than the producers'.
func (d *decoder) avroError(err error) error {
	unreadable, unknown := decode.SchemaError{}, decode.UnknownSchema("")
	var bad badRecord
	switch {
	case errors.As(err, &unreadable):
		bad = badRecord(unreadable.Error())
	case errors.Is(err, decode.ErrNoSchema):
		bad = "the registry does not have its Avro schema"
	case errors.As(err, &unknown):
		*d.readable = true
		return badRecord(unknown.Error())
	case errors.Is(err, decode.ErrAvro):
		*d.readable = true
		return badRecord("it does not match its Avro schema")
	case err == nil:
		*d.readable = true
		return nil
	default:
		return err
	}
	if d.doubt == nil {
		d.doubt = doubtful{Halt{err.Error(), "check that --schema-registry is the registry of the producers and that their schemas are Avro; a record becomes a dead letter for this only if the schema of another one can be read"}}
	}
	return bad
}

// takeField fills the columns of one field of the value. Fields usually come in the same order as in the preceding record.
func (d *decoder) takeField(name, value []byte) error {
	var f *field
	if d.next < len(d.layout) && d.layout[d.next] != nil && string(name) == d.layout[d.next].name {
		f = d.layout[d.next]
	} else if f = d.fields[string(name)]; f == nil && bytes.IndexByte(name, '\\') >= 0 {
		f = d.fields[plainName(name)]
	}
	if d.next < len(d.layout) {
		d.layout[d.next] = f
	} else if d.next < 1<<10 {
		d.layout = append(d.layout, f)
	}
	d.next++
	if f == nil {
		return nil
	}
	schema := d.schema.field(f.name)
	for _, i := range f.columns {
		var p path
		if o := &d.table.columns[i].origin; o.kind == byPath {
			p = o.path[1:]
		}
		if err := d.dig(i, p, value, schema); err != nil {
			return err
		}
	}
	return nil
}

// dig fills a column with the value at a path.
func (d *decoder) dig(i int, p path, value []byte, s *schema) (err error) {
	d.cells[i] = cell{}
	if value = p.find(value); value != nil {
		d.cells[i], err = d.cell(value, s.at(p))
	}
	return err
}

func (d *decoder) fill(columns []int, c cell) {
	for _, i := range columns {
		d.cells[i] = c
	}
}

// readKey fills the key columns from the record's key. Columns that the key does not fill keep the value of the field with their name.
func (d *decoder) readKey(ctx context.Context, record *kgo.Record) error {
	if d.table.keys == 0 {
		return nil
	}
	if record.Key != nil && (record.Value == nil || d.usesKey()) {
		return d.takeKey(ctx, record.Key)
	}
	return nil
}

// usesKey reports whether a column needs the record's key even if there is a value.
func (d *decoder) usesKey() bool {
	for i := range d.table.columns[:d.table.keys] {
		if d.table.columns[i].origin.kind == byKey {
			return true
		}
	}
	return false
}

func (d *decoder) takeKey(ctx context.Context, key []byte) error {
	text, schema, isJSON, err := d.keyJSON(ctx, key)
	if err != nil {
		return err
	}
	if !isJSON && d.table.keys > 1 {
		return badRecord("the key is not a JSON object, and --key has several columns")
	}
	for i := range d.table.keys {
		if !isJSON {
			d.cells[i] = cell{asText, key}
			continue
		}
		p := d.table.columns[i].keyPath(text)
		value := p.find(text)
		if value == nil {
			continue
		}
		if d.cells[i], err = d.cell(value, schema.at(p)); err != nil {
			return err
		}
	}
	return nil
}

// keyPath returns the path of a key column in a key: the one of --key, or the field with its name, or all of a key that is not an object.
func (c *column) keyPath(key []byte) path {
	object := bytes.HasPrefix(key, []byte{'{'})
	switch {
	case c.origin.kind == byKey && (object || c.origin.name != ""):
		return c.origin.path
	case object:
		return path{{c.name, -1}}
	}
	return nil
}

// keyJSON reads a key as JSON. A key that is not JSON is plain text, as written by kcat and many producers.
func (d *decoder) keyJSON(ctx context.Context, key []byte) (text []byte, schema *schema, isJSON bool, err error) {
	if d.cfg.Format == Avro && len(key) > 5 && key[0] == 0 || d.cfg.Format != Avro && json.Valid(key) {
		text, schema, err = d.unframe(ctx, key, &d.key)
		return text, schema, true, err
	}
	if !utf8.Valid(key) {
		return nil, nil, false, badRecord("the key is not valid UTF-8")
	}
	return key, nil, false, nil
}

// readPlace fills the columns for headers, offset, partition and time.
func (d *decoder) readPlace(record *kgo.Record) {
	for i := range d.table.columns {
		c := &d.cells[i]
		start := len(d.text)
		switch o := &d.table.columns[i].origin; o.kind {
		case byHeader:
			for _, h := range record.Headers {
				if h.Key == o.name && h.Value != nil {
					*c = cell{asText, h.Value}
					if d.table.columns[i].kind == binary {
						c.form = asBytes
					}
				}
			}
			continue
		case byOffset:
			d.text = strconv.AppendInt(d.text, record.Offset, 10)
		case byPartition:
			d.text = strconv.AppendInt(d.text, int64(record.Partition), 10)
		case byTimestamp:
			d.text = record.Timestamp.UTC().AppendFormat(d.text, time.RFC3339Nano)
		default:
			continue
		}
		*c = cell{asText, d.text[start:len(d.text):len(d.text)]}
	}
}

// render writes the line of a record, with tabs between the columns and a line feed at the end.
func (d *decoder) render(b *batch, r *row) (err error) {
	for i := range d.table.columns {
		if r.deletes && i >= d.table.keys {
			break
		}
		if i >= d.table.always {
			if d.cells[i].form == absent {
				continue
			}
			r.mask |= 1 << (i - d.table.always)
		}
		if b.arena, err = d.append(b.arena, &d.cells[i], d.table.columns[i].kind); err != nil {
			return err
		}
		b.arena = append(b.arena, '\t')
	}
	if len(b.arena) == r.start {
		return badRecord("no field of it has a column")
	}
	if d.table.keys > 0 { // for the stage
		b.arena = append(strconv.AppendInt(b.arena, int64(len(b.rows)), 10), '\t')
		b.arena = append(strconv.AppendBool(b.arena, r.deletes), '\t')
	}
	r.end = len(b.arena)
	b.arena[r.end-1] = '\n'
	return nil
}

// append appends a value in COPY text format.
func (d *decoder) append(dst []byte, c *cell, k kind) ([]byte, error) {
	switch c.form {
	case absent, null:
		return append(dst, '\\', 'N'), nil
	case asBytes:
		if k == binary {
			return hex.AppendEncode(append(dst, `\\x`...), c.text), nil
		}
		fallthrough
	case asText:
		if !utf8.Valid(c.text) {
			return dst, badRecord("a value that is not valid UTF-8")
		}
		return appendText(dst, c.text)
	}
	switch first := c.text[0]; {
	case k == document || k == documents && first != '[':
		return postgres.AppendCopyText(dst, c.text), nil
	case first == '[' && (k == list || k == documents):
		text, err := appendList(nil, c.text, k, 1)
		if err != nil {
			return dst, err
		}
		return appendText(dst, text)
	case first != '"':
		return postgres.AppendCopyText(dst, c.text), nil
	case bytes.IndexByte(c.text, '\\') < 0:
		return postgres.AppendCopyText(dst, c.text[1:len(c.text)-1]), nil
	}
	start := len(d.text)
	var err error
	if d.text, err = decode.AppendUnquoted(d.text, c.text); err != nil {
		return dst, badRecord(err.Error())
	}
	return appendText(dst, d.text[start:])
}

func appendText(dst, text []byte) ([]byte, error) {
	if bytes.IndexByte(text, 0) >= 0 {
		return dst, nulByte
	}
	return postgres.AppendCopyText(dst, text), nil
}

// maxDimensions is how many dimensions an array of PostgreSQL can have.
const maxDimensions = 6

// appendList appends an array literal; nested arrays are further dimensions.
func appendList(dst, array []byte, k kind, dimension int) ([]byte, error) {
	if dimension > maxDimensions {
		return dst, badRecord("an array of more dimensions than PostgreSQL supports")
	}
	s := decode.Scanner{Text: array}
	if !s.Take('[') {
		return dst, badRecord("a value that is not a JSON array")
	}
	dst = append(dst, '{')
	if s.Take(']') {
		return append(dst, '}'), nil
	}
	for {
		item, err := s.Value()
		if err != nil {
			return dst, badRecord("a value that is not a JSON array")
		}
		switch {
		case string(item) == "null":
			dst = append(dst, "NULL"...)
		case item[0] == '[' && k == list:
			if dst, err = appendList(dst, item, k, dimension+1); err != nil {
				return dst, err
			}
		default:
			if item[0] == '"' && k == list {
				if item, err = decode.AppendUnquoted(nil, item); err != nil {
					return dst, badRecord(err.Error())
				}
			}
			dst = appendItem(dst, item)
		}
		if s.Take(']') {
			return append(dst, '}'), nil
		}
		if !s.Take(',') {
			return dst, badRecord("a value that is not a JSON array")
		}
		dst = append(dst, ',')
	}
}

// appendItem appends an item of an array literal in quotes.
func appendItem(dst, text []byte) []byte {
	dst = append(dst, '"')
	for _, c := range text {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}
