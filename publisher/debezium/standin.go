package debezium

import (
	"slices"

	"github.com/pgtee/pgtee/publisher/record"
)

// The records of this file are not described by the schemas of a table: the stand-in keys that a compacted topic needs, and the flat record of a
// TRUNCATE. Both have schemas and subjects of their own, so that no table schema has to be compatible with them. Readers find these schemas by id,
// like all others.

// standInField is the only field of a stand-in key.
const standInField = "pgtee_event_id"

var standInSchema = &record.Schema{
	Type: record.Struct, Name: "pgtee.StandInKey",
	Fields: []record.Field{{Name: standInField, Schema: &record.Schema{Type: record.String}}},
}

// AppendStandInKey implements record.StandInKeys: {"pgtee_event_id":"…"}.
func (e *Encoder) AppendStandInKey(dst []byte, eventID []byte) ([]byte, error) {
	start := len(dst)
	dst = record.AppendJSONString(append(dst, `{"`+standInField+`":`...), string(eventID))
	dst = append(dst, '}')
	if e.config.Framing == nil {
		return dst, nil
	}
	return e.config.Framing.Append(dst[:start], record.KeyPart, e.topics.standIn, standInSchema, slices.Clone(dst[start:]))
}

// opField holds the operation of a flat record without a row, whatever additional fields are configured.
const opField = FlatFieldPrefix + "op"

// flatTruncate appends {"__op":"t"} and the configured additional fields of flat records.
func (w *writer) flatTruncate() error {
	b, start, lost := w.batch, len(w.batch.Buf), w.losing()
	b.Buf = append(b.Buf, `{"`+opField+`":"t"`...)
	for _, f := range w.config.Flat.Fields {
		if f.as != opField {
			w.addField(f, 't', lost)
		}
	}
	b.Buf = append(b.Buf, '}')
	return w.frame(b, start, record.ValuePart, w.topics.truncate, w.truncation)
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
