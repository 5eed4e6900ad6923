package avro

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/pgtee/pgtee/publisher/record"
)

// defaultOf returns the default value of s in Avro's JSON, nil if there is none. Avro allows neither NaN nor an infinity as a default. Defaults of
// structs and maps are left out, as no column has one.
func defaultOf(s *record.Schema) ([]byte, error) {
	if s.Default == nil || string(s.Default) == "null" || s.Type == record.Struct || s.Type == record.Map {
		return nil, nil
	}
	required := *s
	required.Optional, required.Default = false, nil
	program, err := compile(&required, 0)
	if err != nil {
		return nil, err
	}
	if _, err := program.transcode(nil, s.Default); err != nil {
		return nil, fmt.Errorf("its default: %w", err)
	}
	return avroJSON(&required, s.Default)
}

// avroJSON converts a valid value from Kafka Connect's JSON to Avro's. It returns nil if Avro cannot represent the value.
func avroJSON(s *record.Schema, value []byte) ([]byte, error) {
	value = bytes.TrimSpace(value)
	switch s.Type {
	case record.String:
		var text string
		err := json.Unmarshal(value, &text)
		return appendQuoted(nil, text), err
	case record.Bytes:
		return latin1(value)
	case record.Float, record.Double:
		if value[0] == '"' {
			return nil, nil
		}
	case record.Array:
		return avroArray(s, value)
	}
	return value, nil
}

func avroArray(s *record.Schema, value []byte) ([]byte, error) {
	var items []json.RawMessage
	if err := json.Unmarshal(value, &items); err != nil {
		return nil, err
	}
	b := []byte{'['}
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		if string(item) != "null" {
			var err error
			if item, err = avroJSON(s.Items, item); item == nil {
				return nil, err
			}
		}
		b = append(b, item...)
	}
	return append(b, ']'), nil
}

// latin1 converts base64 to a string with one character per byte (Avro specification, "Complex Types", default).
func latin1(value []byte) ([]byte, error) {
	raw, err := base64.StdEncoding.DecodeString(string(bytes.Trim(value, `"`)))
	if err != nil {
		return nil, err
	}
	text := make([]rune, len(raw))
	for i, b := range raw {
		text[i] = rune(b)
	}
	return appendQuoted(nil, string(text)), nil
}
