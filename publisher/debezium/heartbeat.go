package debezium

import "github.com/pgtee/pgtee/publisher"

var _ publisher.Heartbeats = (*Encoder)(nil)

func heartbeatTopic(prefix string) string { return publisher.TopicName("__debezium-heartbeat", prefix) }

// AppendHeartbeat appends a record of __debezium-heartbeat.<prefix>: {"serverName"} and {"ts_ms"}.
func (e *Encoder) AppendHeartbeat(b *publisher.Batch) error {
	topic := e.topics.heartbeat
	key := len(b.Buf)
	b.Buf = publisher.AppendJSONString(append(b.Buf, `{"serverName":`...), e.config.Prefix)
	b.Buf = append(b.Buf, '}')
	if err := e.frame(b, key, publisher.KeyPart, topic, heartbeatKeySchema); err != nil {
		return err
	}
	value := len(b.Buf)
	b.Buf = append(appendInt(append(b.Buf, `{"ts_ms":`...), e.config.Now().UnixMilli()), '}')
	if err := e.frame(b, value, publisher.ValuePart, topic, heartbeatSchema); err != nil {
		return err
	}
	b.AddWithoutID(topic, key, value)
	return nil
}

var heartbeatKeySchema = &publisher.Schema{
	Type: publisher.Struct, Name: "io.debezium.connector.common.ServerNameKey", Version: 1,
	Fields: []publisher.Field{{Name: "serverName", Schema: publisher.Required(publisher.String)}},
}

var heartbeatSchema = &publisher.Schema{
	Type: publisher.Struct, Name: "io.debezium.connector.common.Heartbeat", Version: 1,
	Fields: []publisher.Field{{Name: "ts_ms", Schema: publisher.Required(publisher.Int64)}},
}
