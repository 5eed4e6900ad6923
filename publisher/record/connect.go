package record

import (
	"context"
	"strconv"
)

// ConnectJSON is the Framing of Kafka Connect's JsonConverter with schemas.enable=true: the payload preceded by its schema,
// {"schema":{…},"payload":{…}}. Its zero value is ready to use.
type ConnectJSON struct {
	schemas map[*Schema][]byte // their JSON, cached
	bytes   int
}

// maxSchemaBytes bounds the cached JSON; beyond it, the cache is cleared.
const maxSchemaBytes = 64 << 20

// Append implements Framing.
func (c *ConnectJSON) Append(_ context.Context, dst []byte, _ Part, _ string, schema *Schema, payload []byte) ([]byte, error) {
	dst = append(append(dst, `{"schema":`...), c.json(schema)...)
	dst = append(append(dst, `,"payload":`...), payload...)
	return append(dst, '}'), nil
}

func (c *ConnectJSON) json(schema *Schema) []byte {
	if text := c.schemas[schema]; text != nil {
		return text
	}
	if c.schemas == nil || c.bytes > maxSchemaBytes {
		c.schemas, c.bytes = map[*Schema][]byte{}, 0
	}
	text := appendWholeSchema(nil, schema)
	c.schemas[schema] = text
	c.bytes += len(text)
	return text
}

// appendWholeSchema appends the JSON that JsonConverter produces for a schema, with the fields in the same order.
func appendWholeSchema(dst []byte, s *Schema) []byte { return append(appendSchema(dst, s), '}') }

// appendSchema omits the closing brace, because a field of a struct has its name there.
func appendSchema(dst []byte, s *Schema) []byte {
	dst = AppendJSONString(append(dst, `{"type":`...), string(s.Type))
	switch s.Type {
	case Array:
		dst = appendWholeSchema(append(dst, `,"items":`...), s.Items)
	case Map:
		dst = appendWholeSchema(append(dst, `,"keys":`...), s.Keys)
		dst = appendWholeSchema(append(dst, `,"values":`...), s.Values)
	case Struct:
		dst = appendFields(append(dst, `,"fields":`...), s.Fields)
	}
	dst = strconv.AppendBool(append(dst, `,"optional":`...), s.Optional)
	if s.Name != "" {
		dst = AppendJSONString(append(dst, `,"name":`...), s.Name)
	}
	if s.Version != 0 {
		dst = strconv.AppendInt(append(dst, `,"version":`...), int64(s.Version), 10)
	}
	if s.Doc != "" {
		dst = AppendJSONString(append(dst, `,"doc":`...), s.Doc)
	}
	dst = appendParameters(dst, s.Parameters)
	if s.Default != nil {
		dst = append(append(dst, `,"default":`...), s.Default...)
	}
	return dst
}

func appendFields(dst []byte, fields []Field) []byte {
	dst = append(dst, '[')
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendSchema(dst, f.Schema)
		dst = AppendJSONString(append(dst, `,"field":`...), f.Name)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendParameters(dst []byte, parameters []Parameter) []byte {
	if len(parameters) == 0 {
		return dst
	}
	dst = append(dst, `,"parameters":{`...)
	for i, p := range parameters {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(AppendJSONString(dst, p.Name), ':')
		dst = AppendJSONString(dst, p.Value)
	}
	return append(dst, '}')
}
