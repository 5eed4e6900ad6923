package verdict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// TypedRow is the row before or after a change, whose values a reader interprets by the types of the columns.
type TypedRow struct {
	fields map[string]any
	texts  map[string]string        // PostgreSQL's own texts of values, from the pgtee block
	schema map[string]connectSchema // by column; nil if the record has no schema
}

// ParseTypedRow reads one half (before, after) of an event of the operation op, with or without its schema; found reports whether the event is one.
func ParseTypedRow(value []byte, op, half string) (row TypedRow, found bool, err error) {
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

// Text returns what a reader makes of the value of a column: input for the input function of its type; nil for NULL. If the row has a schema, it must
// describe the form.
func (r *TypedRow) Text(column string, form *Form) (*string, error) {
	if r.schema != nil {
		if err := form.agree(r.schema[column]); err != nil {
			return nil, err
		}
	}
	value, there := r.fields[column]
	if !there {
		return nil, errors.New("the row has no such field")
	}
	if text, outside := r.texts[column]; outside {
		return &text, nil
	}
	if value == nil {
		return nil, nil
	}
	text, err := form.text(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %.200v", err, value)
	}
	return &text, nil
}
