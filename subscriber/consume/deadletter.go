package consume

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
)

// buryOne replaces the dead letter of a group that has started again.
const buryOne = `INSERT INTO pgtee.dead_letters ("group", topic, topic_id, partition, "offset", "timestamp", key, value, headers, reason, sqlstate)
VALUES ($1, $2, $3, $4::int4, $5::int8, $6::timestamptz, $7::bytea, $8::bytea, $9::json, $10, $11)
ON CONFLICT ("group", topic, topic_id, partition, "offset") DO UPDATE SET reason = excluded.reason, sqlstate = excluded.sqlstate, tries = dead_letters.tries + 1, dead_at = excluded.dead_at`

// buryFormats are the parameter formats of buryOne: bytes are sent in binary format.
var buryFormats = []int16{0, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0}

// bury sends the dead records of a batch.
func (t *target) bury(pipeline *pgconn.Pipeline, b *batch) {
	for i := range b.rows {
		r := &b.rows[i]
		if r.dead == "" {
			continue
		}
		var state []byte
		if r.state != "" {
			state = []byte(r.state)
		}
		pipeline.SendQueryParams(buryOne, [][]byte{
			[]byte(t.cfg.group()), []byte(r.record.Topic), []byte(t.topicID), strconv.AppendInt(nil, int64(r.record.Partition), 10), strconv.AppendInt(nil, r.record.Offset, 10),
			timestampOf(r.record), r.record.Key, r.record.Value, headersOf(r.record), []byte(r.dead), state,
		}, nil, buryFormats, nil)
	}
}

// timestampOf returns null for a time that PostgreSQL cannot read in this format, since producers may set any time.
func timestampOf(record *kgo.Record) []byte {
	at := record.Timestamp.UTC()
	if year := at.Year(); year < 1 || year > 9999 {
		return nil
	}
	return []byte(at.Format(time.RFC3339Nano))
}

// header is a record header as stored in pgtee.dead_letters.
type header struct {
	Key   string `json:"key"`
	Value []byte `json:"value"` // null, or base64
}

func headersOf(record *kgo.Record) []byte {
	if len(record.Headers) == 0 {
		return nil
	}
	var list []header
	for _, h := range record.Headers {
		list = append(list, header{h.Key, h.Value})
	}
	text, _ := json.Marshal(list) // strings and bytes cannot fail
	return text
}
