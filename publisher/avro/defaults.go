package avro

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/pgtee/pgtee/publisher/record"
)

// defaultOf returns the default value of s as Avro schemas write it, nil if there is none. Avro has no
// default NaN and no infinite one; those of structs and maps, which no column has, are left out.
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

// avroJSON turns a valid value in the JSON of Kafka Connect into that of Avro; nil if Avro has none for it.
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

// latin1 turns base64 into a string of one character per byte (Avro specification, "Complex Types", default).
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
