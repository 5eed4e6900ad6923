package debezium

import (
	"context"

	"github.com/pgtee/pgtee/publisher/record"
)

var _ record.Heartbeats = (*Encoder)(nil)

// AppendHeartbeat appends a record to __debezium-heartbeat.<prefix>: key {"serverName"}, value {"ts_ms"}.
func (e *Encoder) AppendHeartbeat(ctx context.Context, b *record.Batch) error {
	topic := e.topics.heartbeat
	key := len(b.Buf)
	b.Buf = record.AppendJSONString(append(b.Buf, `{"serverName":`...), e.config.Prefix)
	b.Buf = append(b.Buf, '}')
	if err := e.frame(ctx, b, key, record.KeyPart, topic, heartbeatKeySchema); err != nil {
		return err
	}
	value := len(b.Buf)
	b.Buf = append(appendInt(append(b.Buf, `{"ts_ms":`...), e.config.Now().UnixMilli()), '}')
	if err := e.frame(ctx, b, value, record.ValuePart, topic, heartbeatSchema); err != nil {
		return err
	}
	b.AddWithoutID(topic, key, value)
	return nil
}

var heartbeatKeySchema = &record.Schema{
	Type: record.Struct, Name: "io.debezium.connector.common.ServerNameKey", Version: 1,
	Fields: []record.Field{{Name: "serverName", Schema: record.Required(record.String)}},
}

var heartbeatSchema = &record.Schema{
	Type: record.Struct, Name: "io.debezium.connector.common.Heartbeat", Version: 1,
	Fields: []record.Field{{Name: "ts_ms", Schema: record.Required(record.Int64)}},
}
