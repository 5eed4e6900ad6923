package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// typeRow is one half of an event: the row, the texts that stand outside of it, and its schema if there is one.
type typeRow struct {
	fields map[string]any
	texts  map[string]string
	schema map[string]connectSchema
}

// typeRows returns one half of the events of one operation, in the order of the topic.
func (r *runner) typeRows(table, op, half string) []typeRow {
	r.t.Helper()
	var rows []typeRow
	for _, record := range r.Topic(table) {
		if record.Value == nil {
			continue
		}
		row, found, err := parseTypeRow(record.Value, op, half)
		r.must(err)
		if found {
			rows = append(rows, row)
		}
	}
	return rows
}

// parseTypeRow reads an event, with or without its schema; found tells whether it is of that operation.
func parseTypeRow(value []byte, op, half string) (row typeRow, found bool, err error) {
	var framed struct {
		Schema  *connectSchema
		Payload json.RawMessage
	}
	if err := json.Unmarshal(value, &framed); err != nil {
		return row, false, err
	}
	if framed.Schema != nil {
		value = framed.Payload
		row.schema = framed.Schema.field(half).byName()
	}
	var event map[string]json.RawMessage
	if err := json.Unmarshal(value, &event); err != nil {
		return row, false, err
	}
	if string(event["op"]) != `"`+op+`"` {
		return row, false, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(event[half]))
	decoder.UseNumber()
	if err := decoder.Decode(&row.fields); err != nil {
		return row, false, err
	}
	var block struct{ Values map[string]string }
	err = json.Unmarshal(event["pgtee"], &block)
	row.texts = map[string]string{}
	for name, text := range block.Values {
		row.texts[strings.TrimPrefix(name, half+".")] = text
	}
	return row, true, err
}

// literal is what a reader makes of a published value, as SQL.
func (r *typeRow) literal(c typeColumn, name string) (string, error) {
	if r.schema != nil {
		if err := c.form.agree(r.schema[name]); err != nil {
			return "", err
		}
	}
	value, there := r.fields[name]
	if !there {
		return "", errors.New("the row has no such field")
	}
	if text, outside := r.texts[name]; outside {
		return quoteLiteral(text), nil
	}
	if value == nil {
		return "NULL", nil
	}
	text, err := c.form.text(value)
	if err != nil {
		return "", fmt.Errorf("%w: %.200v", err, value)
	}
	return quoteLiteral(text), nil
}
