package debezium

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/publisher/record"
)

// FlatConfig says how rows are flattened, with the settings of Debezium's ExtractNewRecordState. A record is the row after the change. The record of
// a TRUNCATE, which ExtractNewRecordState drops, has no row: see flatTruncate.
type FlatConfig struct {
	Deletes DeleteMode  // delete.tombstone.handling.mode
	Fields  []FlatField // add.fields
	Headers []FlatField // add.headers
}

// DeleteMode says which records a delete produces.
type DeleteMode byte

const (
	DeleteTombstone            DeleteMode = iota // a tombstone
	DeleteDrop                                   // no record
	DeleteRewrite                                // the row before the delete, with "__deleted":"true"; other records have "false"
	DeleteRewriteWithTombstone                   // both
)

var deleteModes = []string{"tombstone", "drop", "rewrite", "rewrite-with-tombstone"}

// ParseDeleteMode reads "tombstone", "drop", "rewrite" or "rewrite-with-tombstone". Debezium's "delete-to-tombstone" is meant for streams without
// tombstones; here it gives the same records as "tombstone".
func ParseDeleteMode(name string) (DeleteMode, error) {
	if name == "delete-to-tombstone" {
		return DeleteTombstone, nil
	}
	if i := slices.Index(deleteModes, name); i >= 0 {
		return DeleteMode(i), nil
	}
	return 0, fmt.Errorf("delete mode %q: want tombstone, drop, rewrite or rewrite-with-tombstone", name)
}

func (m DeleteMode) rewrites() bool { return m == DeleteRewrite || m == DeleteRewriteWithTombstone }

// FlatField is an additional field of a flat record, beside the columns of its row.
type FlatField struct {
	from string // "source", "transaction", or "" for the envelope itself
	name string // name in that block
	as   string
}

// flatFieldPrefix is the default of add.fields.prefix and add.headers.prefix.
const flatFieldPrefix = "__"

// ParseFlatFields reads add.fields: a list of fields of the envelope (op, ts_ms, pgtee), the source or the transaction. A name may be qualified by
// "source." or "transaction.", and a colon and a new name may follow it. With the prefix __, "op,table,source.ts_ms,lsn:position" becomes __op,
// __table, __source_ts_ms, __position.
func ParseFlatFields(list []string, prefix string) ([]FlatField, error) {
	var fields []FlatField
	for _, text := range list {
		path, as, renamed := strings.Cut(strings.TrimSpace(text), ":")
		f := FlatField{name: path, as: path}
		if from, name, ok := strings.Cut(path, "."); ok {
			f = FlatField{from, name, from + "_" + name}
		} else {
			f.from = blockOf(path)
		}
		if renamed {
			f.as = as
		}
		f.as = prefix + f.as
		if f.schema() == nil {
			return nil, fmt.Errorf("added field %q: there is no such field in the envelope, its source or its transaction", text)
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// blockOf returns the block in which Debezium looks up an unqualified field name.
func blockOf(name string) string {
	switch name {
	case "id", "total_order", "data_collection_order":
		return "transaction"
	case "op", "ts_ms", "ts_us", "ts_ns", "pgtee":
		return ""
	}
	return "source"
}

// schema returns the schema of the field; nil if there is no such field.
func (f FlatField) schema() *record.Schema {
	fields := map[string][]record.Field{"": envelopeFields, "source": sourceSchema.Fields, "transaction": blockSchema.Fields}[f.from]
	for _, field := range fields {
		if field.Name == f.name {
			optional := *field.Schema
			optional.Optional, optional.Default = true, nil
			return &optional
		}
	}
	return nil
}

var envelopeFields = []record.Field{
	{Name: "op", Schema: record.Nullable(record.String)},
	{Name: "ts_ms", Schema: record.Nullable(record.Int64)},
	{Name: "ts_us", Schema: record.Nullable(record.Int64)},
	{Name: "ts_ns", Schema: record.Nullable(record.Int64)},
	{Name: "pgtee", Schema: record.PgteeSchema()},
}

// schema returns the schema of flat records. It is not optional, unlike that of the row: ExtractNewRecordState makes it anew.
func (c *FlatConfig) schema(row *record.Schema) *record.Schema {
	flat := *row
	flat.Fields, flat.Optional = slices.Clone(row.Fields), false
	if c.Deletes.rewrites() {
		flat.Fields = append(flat.Fields, record.Field{Name: "__deleted", Schema: record.Nullable(record.String)})
	}
	for _, f := range c.Fields {
		flat.Fields = append(flat.Fields, record.Field{Name: f.as, Schema: f.schema()})
	}
	return &flat
}

// flat appends the row after the change, or for a delete the row before it.
func (w *writer) flat(op byte, before, after *row) error {
	b, lost := w.batch, w.collectLost()
	r := after
	if r == nil {
		r = before
	}
	b.Buf = w.table.appendRow(b.Buf, r, lost.in("after"))
	b.Buf = b.Buf[:len(b.Buf)-1]
	if w.config.Flat.Deletes.rewrites() {
		b.Buf = append(appendName(b.Buf, "__deleted"), '"')
		b.Buf = append(strconv.AppendBool(b.Buf, after == nil), '"')
	}
	hasPgtee := false
	for _, f := range w.config.Flat.Fields {
		hasPgtee = hasPgtee || f.name == "pgtee"
		w.addField(f, op, lost)
	}
	b.Buf = append(b.Buf, '}')
	// An unchanged value that is null is Debezium's, too. A zero would overwrite the value at the reader; only the row of a delete may have one.
	if lost != nil && (lost.some || lost.zero && after != nil) && !hasPgtee {
		return fmt.Errorf("%s.%s: a column's type cannot carry the value of this row, or say that it is unchanged, and no other field does: add the field pgtee, or choose another handling mode for the type",
			w.table.relation.Schema, w.table.relation.Name)
	}
	return nil
}

// appendName appends the name of the next field of an object whose opening brace has been written.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(record.AppendJSONString(dst, name), ':')
}

func (w *writer) addField(f FlatField, op byte, lost *lost) {
	b := w.batch
	b.Buf = appendName(b.Buf, f.as)
	if f.name == "pgtee" {
		b.Buf = w.appendPgtee(b, w.tx, w.index, lost)
		return
	}
	b.Buf = w.appendFlat(b.Buf, f, op)
}

// appendFlat appends the value of any additional field but pgtee.
func (w *writer) appendFlat(dst []byte, f FlatField, op byte) []byte {
	switch {
	case f.from == "source":
		w.origin = w.appendSource(w.origin[:0], w.tx, w.index, w.table.source)
		return appendField(dst, w.origin, f.name)
	case f.from == "transaction":
		return appendField(dst, w.block, f.name)
	case f.name == "op":
		return append(append(dst, '"', op), '"')
	case f.name == "ts_us":
		return appendInt(dst, w.now.UnixMicro())
	case f.name == "ts_ns":
		return appendInt(dst, w.now.UnixNano())
	}
	return appendInt(dst, w.now.UnixMilli())
}

// flatHeaders adds the headers of add.headers to the last record.
func (w *writer) flatHeaders(op byte) {
	if w.config.Envelope != Flat {
		return
	}
	for _, f := range w.config.Flat.Headers {
		w.scratch = w.appendFlat(w.scratch[:0], f, op)
		w.batch.Header(f.as, headerText(w.scratch))
	}
}

// tombstoneHeaders adds the headers of the delete to its tombstone. A tombstone beside a rewritten delete passes through the transformation too, and has
// the operation once more; any other one is the delete, transformed.
func (w *writer) tombstoneHeaders() {
	w.flatHeaders('d')
	if w.config.Envelope != Flat || w.config.Flat.Deletes != DeleteRewriteWithTombstone {
		return
	}
	for _, f := range w.config.Flat.Headers {
		if f.from == "" && f.name == "op" {
			w.batch.Header(f.as, []byte{'d'})
		}
	}
}

// headerText returns the text of a JSON scalar, nil for null.
func headerText(json []byte) []byte {
	switch {
	case string(json) == "null":
		return nil
	case json[0] != '"':
		return json
	case bytes.IndexByte(json, '\\') < 0:
		return json[1 : len(json)-1]
	}
	text, err := strconv.Unquote(string(json))
	if err != nil {
		return json
	}
	return []byte(text)
}

// appendField appends the value of a field of an object, or null if the object has no such field.
func appendField(dst, object []byte, field string) []byte {
	found := []byte("null")
	pairs(object, func(name, value []byte) {
		if string(name) == field {
			found = value
		}
	})
	return append(dst, found...)
}

// opField holds the operation of a flat record without a row, whatever additional fields are configured.
const opField = flatFieldPrefix + "op"

// flatTruncate appends the flat record of a TRUNCATE: {"__op":"t"} and the configured additional fields. It has a schema and a subject of its own, like a
// stand-in key.
func (w *writer) flatTruncate() error {
	b, start, lost := w.batch, len(w.batch.Buf), w.collectLost()
	b.Buf = append(b.Buf, `{"`+opField+`":"t"`...)
	for _, f := range w.config.Flat.Fields {
		if f.as != opField {
			w.addField(f, 't', lost)
		}
	}
	b.Buf = append(b.Buf, '}')
	return w.frame(start, record.ValuePart, w.topics.truncate, w.truncation)
}

// truncateSchema describes the output of flatTruncate.
func (c *FlatConfig) truncateSchema(prefix string) *record.Schema {
	s := &record.Schema{Type: record.Struct, Name: prefix + ".Truncate", Fields: []record.Field{{Name: opField, Schema: &record.Schema{Type: record.String}}}}
	for _, f := range c.Fields {
		if f.as != opField {
			s.Fields = append(s.Fields, record.Field{Name: f.as, Schema: f.schema()})
		}
	}
	return s
}
