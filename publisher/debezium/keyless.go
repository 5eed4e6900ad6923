package debezium

import (
	"slices"

	"github.com/pgtee/pgtee/publisher/record"
)

// Records of which a table's schemas know nothing: keys that stand in for those that a compacted topic needs, and what a flat
// stream says of TRUNCATE. Both have schemas of their own, under subjects of their own, so that no schema of a table has to be
// compatible with them. Readers find them by the schema's id, as all others.

// standInField is the only field of a key that stands in.
const standInField = "pgtee_event_id"

var standInSchema = &record.Schema{
	Type: record.Struct, Name: "pgtee.StandInKey",
	Fields: []record.Field{{Name: standInField, Schema: &record.Schema{Type: record.String}}},
}

// AppendStandInKey implements publisher.StandInKeys: {"pgtee_event_id":"…"}.
func (e *Encoder) AppendStandInKey(dst []byte, eventID []byte) ([]byte, error) {
	start := len(dst)
	dst = record.AppendJSONString(append(dst, `{"`+standInField+`":`...), string(eventID))
	dst = append(dst, '}')
	if e.config.Framing == nil {
		return dst, nil
	}
	return e.config.Framing.Append(dst[:start], record.KeyPart, e.topics.standIn, standInSchema, slices.Clone(dst[start:]))
}

// opField says what a flat record without a row is, whatever other fields are chosen.
const opField = FlatFieldPrefix + "op"

// flatTruncate appends {"__op":"t"} and the other fields that flat records have beside their row.
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

// truncateSchema describes what flatTruncate appends.
func (c *FlatConfig) truncateSchema(prefix string) *record.Schema {
	s := &record.Schema{Type: record.Struct, Name: prefix + ".Truncate", Fields: []record.Field{{Name: opField, Schema: &record.Schema{Type: record.String}}}}
	for _, f := range c.Fields {
		if f.as != opField {
			s.Fields = append(s.Fields, record.Field{Name: f.as, Schema: f.schema()})
		}
	}
	return s
}
