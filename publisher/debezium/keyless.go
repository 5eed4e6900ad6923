package debezium

import (
	"slices"

	"github.com/pgtee/pgtee/publisher"
)

// Records of which a table's schemas know nothing: keys that stand in for those that a compacted topic needs, and what a flat
// stream says of TRUNCATE. Both have schemas of their own, under subjects of their own, so that no schema of a table has to be
// compatible with them. Readers find them by the schema's id, as all others.

// standInField is the only field of a key that stands in.
const standInField = "pgtee_event_id"

var standInSchema = &publisher.Schema{
	Type: publisher.Struct, Name: "pgtee.StandInKey",
	Fields: []publisher.Field{{Name: standInField, Schema: &publisher.Schema{Type: publisher.String}}},
}

// AppendStandInKey implements publisher.StandInKeys: {"pgtee_event_id":"…"}.
func (e *Encoder) AppendStandInKey(dst []byte, eventID []byte) ([]byte, error) {
	start := len(dst)
	dst = publisher.AppendJSONString(append(dst, `{"`+standInField+`":`...), string(eventID))
	dst = append(dst, '}')
	if e.config.Framing == nil {
		return dst, nil
	}
	return e.config.Framing.Append(dst[:start], publisher.KeyPart, e.topics.standIn, standInSchema, slices.Clone(dst[start:]))
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
	return w.frame(b, start, publisher.ValuePart, w.topics.truncate, w.truncation)
}

// truncateSchema describes what flatTruncate appends.
func (c *FlatConfig) truncateSchema(prefix string) *publisher.Schema {
	s := &publisher.Schema{Type: publisher.Struct, Name: prefix + ".Truncate", Fields: []publisher.Field{{Name: opField, Schema: &publisher.Schema{Type: publisher.String}}}}
	for _, f := range c.Fields {
		if f.as != opField {
			s.Fields = append(s.Fields, publisher.Field{Name: f.as, Schema: f.schema()})
		}
	}
	return s
}
