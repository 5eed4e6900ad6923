package avro

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
)

// decoder reads an Avro body by nothing but the text of its Avro schema, and shares no code with what wrote it.
type decoder struct {
	in    []byte
	named map[string]map[string]any
}

// decode returns a value as encoding/json would have read its Connect payload (bytes: base64; numbers: int64 or
// float64).
func decode(schema string, body []byte) (any, error) {
	var parsed any
	if err := json.Unmarshal([]byte(schema), &parsed); err != nil {
		return nil, err
	}
	d := decoder{body, map[string]map[string]any{}}
	d.define(parsed, "")
	value, err := d.value(parsed, "")
	if err == nil && len(d.in) > 0 {
		err = fmt.Errorf("%d bytes left over", len(d.in))
	}
	return value, err
}

// define notes the records of a schema: values may leave out the branch that spells one out.
func (d *decoder) define(schema any, space string) {
	switch s := schema.(type) {
	case []any:
		for _, branch := range s {
			d.define(branch, space)
		}
	case map[string]any:
		if own, given := s["namespace"].(string); given {
			space = own
		}
		if s["type"] == "record" {
			d.named[qualified(s["name"].(string), space)] = s
		}
		for _, inside := range []string{"type", "items", "values"} {
			d.define(s[inside], space)
		}
		fields, _ := s["fields"].([]any)
		for _, f := range fields {
			d.define(f, space)
		}
	}
}

func (d *decoder) value(schema any, space string) (any, error) {
	switch s := schema.(type) {
	case string:
		if record := d.named[qualified(s, space)]; record != nil {
			return d.record(record, qualified(s, space))
		}
		return d.primitive(s)
	case []any:
		branch, err := d.long()
		if err != nil || branch < 0 || branch >= int64(len(s)) {
			return nil, fmt.Errorf("branch %d of %d, %v", branch, len(s), err)
		}
		return d.value(s[branch], space)
	case map[string]any:
		return d.complex(s, space)
	}
	return nil, fmt.Errorf("schema %v", schema)
}

func (d *decoder) complex(s map[string]any, space string) (any, error) {
	switch s["type"] {
	case "record":
		if own, given := s["namespace"].(string); given {
			space = own
		}
		full := qualified(s["name"].(string), space)
		return d.record(s, full)
	case "array":
		list := []any{}
		err := d.blocks(func() error {
			item, err := d.value(s["items"], space)
			list = append(list, item)
			return err
		})
		return list, err
	case "map":
		object := map[string]any{}
		err := d.blocks(func() error {
			key, err := d.primitive("string")
			if err != nil {
				return err
			}
			object[key.(string)], err = d.value(s["values"], space)
			return err
		})
		return object, err
	}
	return d.value(s["type"], space)
}

func (d *decoder) record(s map[string]any, full string) (any, error) {
	space, _ := splitName(full)
	object := map[string]any{}
	for _, f := range s["fields"].([]any) {
		f := f.(map[string]any)
		value, err := d.value(f["type"], space)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f["name"], err)
		}
		object[f["name"].(string)] = value
	}
	return object, nil
}

func (d *decoder) blocks(item func() error) error {
	for {
		n, err := d.long()
		if err != nil || n == 0 {
			return err
		}
		if n < 0 {
			return errors.New("a block with its size")
		}
		for range n {
			if err := item(); err != nil {
				return err
			}
		}
	}
}

func (d *decoder) primitive(name string) (any, error) {
	switch name {
	case "null":
		return nil, nil
	case "boolean":
		b, err := d.take(1)
		return err == nil && b[0] == 1, err
	case "int", "long":
		return d.long()
	case "float":
		b, err := d.take(4)
		if err != nil {
			return nil, err
		}
		return special(float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))), nil
	case "double":
		b, err := d.take(8)
		if err != nil {
			return nil, err
		}
		return special(math.Float64frombits(binary.LittleEndian.Uint64(b))), nil
	case "string", "bytes":
		n, err := d.long()
		if err != nil {
			return nil, err
		}
		b, err := d.take(n)
		if name == "bytes" {
			return base64.StdEncoding.EncodeToString(b), err
		}
		return string(b), err
	}
	return nil, fmt.Errorf("type %s", name)
}

func special(f float64) any {
	if math.IsNaN(f) {
		return "NaN"
	}
	if math.IsInf(f, 0) {
		return map[bool]string{true: "Infinity", false: "-Infinity"}[f > 0]
	}
	return f
}

func (d *decoder) long() (int64, error) {
	n, length := binary.Varint(d.in)
	if length <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	d.in = d.in[length:]
	return n, nil
}

func (d *decoder) take(n int64) ([]byte, error) {
	if n < 0 || n > int64(len(d.in)) {
		return nil, io.ErrUnexpectedEOF
	}
	taken := d.in[:n]
	d.in = d.in[n:]
	return taken, nil
}

func qualified(name, space string) string {
	if s, _ := splitName(name); s != "" || space == "" {
		return name
	}
	return space + "." + name
}
