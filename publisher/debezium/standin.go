package debezium

import (
	"context"
	"slices"

	"github.com/pgtee/pgtee/publisher/record"
)

// A stand-in key is what a record without a key gets in a compacted topic. It has a schema and a subject of its own, so that no table schema has to be
// compatible with it. Readers find the schema by id, like all others.

// standInField is the only field of a stand-in key.
const standInField = "pgtee_event_id"

var standInSchema = &record.Schema{
	Type: record.Struct, Name: "pgtee.StandInKey",
	Fields: []record.Field{{Name: standInField, Schema: &record.Schema{Type: record.String}}},
}

// AppendStandInKey implements record.StandInKeys: {"pgtee_event_id":"…"}.
func (e *Encoder) AppendStandInKey(ctx context.Context, dst []byte, eventID []byte) ([]byte, error) {
	start := len(dst)
	dst = record.AppendJSONString(append(dst, `{"`+standInField+`":`...), string(eventID))
	dst = append(dst, '}')
	if e.config.Framing == nil {
		return dst, nil
	}
	return e.config.Framing.Append(ctx, dst[:start], record.KeyPart, e.topics.standIn, standInSchema, slices.Clone(dst[start:]))
}
