package debezium

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/publisher"
)

// FlatConfig is how rows are flattened, by the settings of Debezium's ExtractNewRecordState. A record is the
// row after the change. That of TRUNCATE, which ExtractNewRecordState drops, has no row: see flatTruncate.
type FlatConfig struct {
	Deletes DeleteMode  // delete.tombstone.handling.mode
	Fields  []FlatField // add.fields
}

// DeleteMode says what becomes of a delete.
type DeleteMode byte

const (
	DeleteTombstone            DeleteMode = iota // a record without a value
	DeleteDrop                                   // no record
	DeleteRewrite                                // the row before it, with "__deleted":"true"; others say "false"
	DeleteRewriteWithTombstone                   // both
)

var deleteModes = []string{"tombstone", "drop", "rewrite", "rewrite-with-tombstone"}

// ParseDeleteMode reads "tombstone", "drop", "rewrite" or "rewrite-with-tombstone".
func ParseDeleteMode(name string) (DeleteMode, error) {
	if i := slices.Index(deleteModes, name); i >= 0 {
		return DeleteMode(i), nil
	}
	return 0, fmt.Errorf("delete mode %q: want tombstone, drop, rewrite or rewrite-with-tombstone", name)
}

func (m DeleteMode) rewrites() bool { return m == DeleteRewrite || m == DeleteRewriteWithTombstone }

// FlatField is a field that a flat record has beside its row.
type FlatField struct {
	from string // "source", "transaction", or "" for the envelope itself
	name string // there
	as   string
}

// flatFieldPrefix is the default of add.fields.prefix.
const flatFieldPrefix = "__"

// ParseFlatFields reads add.fields: names of fields of the envelope (op, ts_ms, pgtee), of its source or its
// transaction, after "source." or "transaction." or by themselves, with a new name after a colon:
// "op,table,source.ts_ms,lsn:position" become __op, __table, __source_ts_ms, __position.
func ParseFlatFields(list []string) ([]FlatField, error) {
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
		f.as = flatFieldPrefix + f.as
		if f.schema() == nil {
			return nil, fmt.Errorf("added field %q: there is no such field in the envelope, its source or its transaction", text)
		}
		fields = append(fields, f)
	}
	return fields, nil
}

// blockOf returns where Debezium looks for a field that is named by itself.
func blockOf(name string) string {
	switch name {
	case "id", "total_order", "data_collection_order":
		return "transaction"
	case "op", "ts_ms", "pgtee":
		return ""
	}
	return "source"
}

// schema describes the field; nil if there is none.
func (f FlatField) schema() *publisher.Schema {
	fields := map[string][]publisher.Field{"": envelopeFields, "source": sourceSchema.Fields, "transaction": blockSchema.Fields}[f.from]
	for _, field := range fields {
		if field.Name == f.name {
			optional := *field.Schema
			optional.Optional, optional.Default = true, nil
			return &optional
		}
	}
	return nil
}

var envelopeFields = []publisher.Field{
	{Name: "op", Schema: publisher.Nullable(publisher.String)},
	{Name: "ts_ms", Schema: publisher.Nullable(publisher.Int64)},
	{Name: "pgtee", Schema: publisher.PgteeSchema()},
}

func (c *FlatConfig) schema(row *publisher.Schema) *publisher.Schema {
	flat := *row
	flat.Fields = slices.Clone(row.Fields)
	if c.Deletes.rewrites() {
		flat.Fields = append(flat.Fields, publisher.Field{Name: "__deleted", Schema: publisher.Nullable(publisher.String)})
	}
	for _, f := range c.Fields {
		flat.Fields = append(flat.Fields, publisher.Field{Name: f.as, Schema: f.schema()})
	}
	return &flat
}

// flat appends the row after the change, or that before it for a delete.
func (w *writer) flat(op byte, before, after *row) error {
	b, lost := w.batch, w.losing()
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
	told := false
	for _, f := range w.config.Flat.Fields {
		told = told || f.name == "pgtee"
		w.addField(f, op, lost)
	}
	b.Buf = append(b.Buf, '}')
	if lost != nil && len(lost.json) > 0 && !told {
		return fmt.Errorf("%s.%s: a column's type cannot carry the value of this row, and no field tells it: add the field pgtee, or choose another handling mode for the type",
			w.table.relation.Schema, w.table.relation.Name)
	}
	return nil
}

// appendName appends the name of a further field of an object that has begun.
func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(publisher.AppendJSONString(dst, name), ':')
}

func (w *writer) addField(f FlatField, op byte, lost *lost) {
	b := w.batch
	b.Buf = appendName(b.Buf, f.as)
	switch {
	case f.name == "pgtee":
		b.Buf = w.appendPgtee(b, w.tx, w.index, lost)
	case f.from == "source":
		w.origin = w.appendSource(w.origin[:0], w.tx, w.index, w.table.source)
		b.Buf = appendField(b.Buf, w.origin, f.name)
	case f.from == "transaction":
		b.Buf = appendField(b.Buf, w.block, f.name)
	case f.name == "op":
		b.Buf = append(append(b.Buf, '"', op), '"')
	default:
		b.Buf = appendInt(b.Buf, w.now.UnixMilli())
	}
}

// appendField appends the value of a field of an object, null if there is none.
func appendField(dst, object []byte, field string) []byte {
	found := []byte("null")
	pairs(object, func(name, value []byte) {
		if string(name) == field {
			found = value
		}
	})
	return append(dst, found...)
}
