package property

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
)

// avroReader decodes Confluent's wire format with the schemas of a registry (Avro 1.12 specification, "Binary Encoding"). It shares no code with the
// encoder. Values are as in JSON; bytes are base64 strings.
type avroReader struct {
	registry string // URL
	schemas  map[uint32]*avroSchema
}

type avroSchema struct {
	root  any
	named map[string]map[string]any
}

// name collects the named types in a schema, to which later parts refer.
func (s *avroSchema) name(part any) {
	switch p := part.(type) {
	case []any:
		for _, branch := range p {
			s.name(branch)
		}
	case map[string]any:
		if name, ok := p["name"].(string); ok && p["type"] != nil {
			if p["type"] == "record" || p["type"] == "enum" {
				s.named[name] = p
			}
			if space, ok := p["namespace"].(string); ok {
				s.named[space+"."+name] = p
			}
		}
		for _, inside := range []string{"type", "fields", "items", "values"} {
			s.name(p[inside])
		}
	}
}

func (a *avroReader) decode(ctx context.Context, data []byte) (any, error) {
	if data == nil {
		return nil, nil
	}
	if len(data) < 5 || data[0] != 0 {
		return nil, fmt.Errorf("not of Confluent's wire format: % x", data[:min(5, len(data))])
	}
	id := binary.BigEndian.Uint32(data[1:])
	schema, known := a.schemas[id]
	if !known {
		var err error
		if schema, err = a.fetch(ctx, id); err != nil {
			return nil, err
		}
		a.schemas[id] = schema
	}
	c := &avroCursor{data: data[5:], named: schema.named}
	value := c.value(schema.root)
	if c.err == nil && len(c.data) > 0 {
		c.err = fmt.Errorf("%d bytes are left", len(c.data))
	}
	return value, c.err
}

func (a *avroReader) fetch(ctx context.Context, id uint32) (*avroSchema, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/schemas/ids/%d", a.registry, id), nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("schema %d: %s %s (%v)", id, answer.Status, text, err)
	}
	var body struct{ Schema string }
	if err := json.Unmarshal(text, &body); err != nil {
		return nil, err
	}
	schema := &avroSchema{named: map[string]map[string]any{}}
	if err := json.Unmarshal([]byte(body.Schema), &schema.root); err != nil {
		return nil, err
	}
	schema.name(schema.root)
	return schema, nil
}

type avroCursor struct {
	data  []byte
	named map[string]map[string]any
	err   error
}

func (c *avroCursor) fail(format string, args ...any) any {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
	return nil
}

func (c *avroCursor) take(n int64) []byte {
	if n < 0 || n > int64(len(c.data)) {
		c.fail("%d bytes of %d", n, len(c.data))
		return nil
	}
	taken := c.data[:n]
	c.data = c.data[n:]
	return taken
}

func (c *avroCursor) long() int64 {
	n, size := binary.Varint(c.data)
	if size <= 0 {
		c.fail("no number")
		return 0
	}
	c.data = c.data[size:]
	return n
}

func (c *avroCursor) value(schema any) any {
	switch s := schema.(type) {
	case []any:
		if i := c.long(); c.err == nil && i >= 0 && i < int64(len(s)) {
			return c.value(s[i])
		}
		return c.fail("no such branch")
	case map[string]any:
		return c.typed(s)
	case string:
		if named, ok := c.named[s]; ok {
			return c.typed(named)
		}
		return c.primitive(s)
	}
	return c.fail("schema %v", schema)
}

func (c *avroCursor) typed(s map[string]any) any {
	switch s["type"] {
	case "record":
		fields := map[string]any{}
		for _, f := range s["fields"].([]any) {
			field := f.(map[string]any)
			fields[field["name"].(string)] = c.value(field["type"])
		}
		return fields
	case "array":
		list := []any{}
		c.blocks(func() { list = append(list, c.value(s["items"])) })
		return list
	case "map":
		fields := map[string]any{}
		c.blocks(func() {
			name := string(c.take(c.long()))
			fields[name] = c.value(s["values"])
		})
		return fields
	case "enum":
		symbols := s["symbols"].([]any)
		if i := c.long(); i >= 0 && i < int64(len(symbols)) {
			return symbols[i]
		}
		return c.fail("no such symbol")
	}
	return c.value(s["type"]) // a primitive type with properties
}

func (c *avroCursor) blocks(item func()) {
	for n := c.long(); n != 0 && c.err == nil; n = c.long() {
		if n < 0 {
			n = -n
			c.long() // size of the block in bytes
		}
		for ; n > 0 && c.err == nil; n-- {
			item()
		}
	}
}

func (c *avroCursor) primitive(name string) any {
	switch name {
	case "null":
		return nil
	case "boolean":
		if b := c.take(1); b != nil {
			return b[0] != 0
		}
	case "int", "long":
		return json.Number(strconv.FormatInt(c.long(), 10))
	case "float":
		if b := c.take(4); b != nil {
			return json.Number(strconv.FormatFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 'g', -1, 32))
		}
	case "double":
		if b := c.take(8); b != nil {
			return json.Number(strconv.FormatFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)), 'g', -1, 64))
		}
	case "string":
		return string(c.take(c.long()))
	case "bytes":
		return base64.StdEncoding.EncodeToString(c.take(c.long()))
	default:
		return c.fail("type %q", name)
	}
	return nil
}
