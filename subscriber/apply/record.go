package apply

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/subscriber/decode"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// envelope is the value of a row's record in Debezium's form, as parts of its JSON.
type envelope struct {
	op            byte
	before, after []byte // nil: none
	schema, table []byte // as JSON strings
	values        []byte // the block's field "values": texts that the row could not represent; nil: none
}

var null = []byte("null")

// orNil returns nil for JSON null.
func orNil(value []byte) []byte {
	if bytes.Equal(value, null) {
		return nil
	}
	return value
}

// hint is what the source block of a partition's last record says about its table. The next record usually says the same.
type hint struct{ text, schema, table []byte }

// read splits a record's value into its parts. It reads only the values of the pgtee block: see blockOf.
func (e *envelope) read(value []byte, h *hint) error {
	*e = envelope{}
	s := decode.Scanner{Text: value}
	if !s.Take('{') {
		return errEnvelope
	}
	for e.op == 0 {
		name, err := s.Quoted()
		if err != nil || !s.Take(':') {
			return errEnvelope
		}
		field, err := s.Value()
		if err != nil {
			return errEnvelope
		}
		switch string(name) {
		case `"before"`:
			e.before = orNil(field)
		case `"after"`:
			e.after = orNil(field)
		case `"source"`:
			if err := e.readSource(field, h); err != nil {
				return err
			}
		case `"op"`:
			if len(field) == 3 {
				e.op = field[1]
			}
		}
		if !s.Take(',') {
			break
		}
	}
	if e.op == 0 || e.schema == nil || e.table == nil {
		return errEnvelope
	}
	if bytes.Contains(value[s.At:], valuesField) {
		e.values = orNil(decode.Field(blockOf(value), "values"))
	}
	return nil
}

func (e *envelope) readSource(source []byte, h *hint) error {
	if h.text != nil && bytes.Contains(source, h.text) {
		e.schema, e.table = h.schema, h.table
		return nil
	}
	e.schema, e.table = bytes.Clone(decode.Field(source, "schema")), bytes.Clone(decode.Field(source, "table"))
	*h = hint{slices.Concat([]byte(`,"schema":`), e.schema, []byte(`,"table":`), e.table, []byte(`,"txId":`)), e.schema, e.table}
	return nil
}

// blockOf returns the pgtee block of a record's value, nil if it has none.
func blockOf(value []byte) []byte { return orNil(decode.Field(value, "pgtee")) }

var (
	valuesField = []byte(`"values":{`)
	errEnvelope = Halt{"the records are not change events of Debezium's shape", "start the publisher with --envelope debezium (its default)"}
)

// identity appends schema.table. Unlike the name, it is that of one table only: a part that has a dot or a quote is quoted.
func (e *envelope) identity(dst []byte) []byte {
	dst = appendIdentifier(dst, e.schema)
	return appendIdentifier(append(dst, '.'), e.table)
}

func appendIdentifier(dst, quoted []byte) []byte {
	start := len(dst)
	dst, _ = decode.AppendUnquoted(dst, quoted)
	if bytes.ContainsAny(dst[start:], `."`) {
		return append(dst[:start], postgres.QuoteIdentifier(string(dst[start:]))...)
	}
	return dst
}

// name appends schema.table.
func (e *envelope) name(dst []byte) []byte {
	dst, _ = decode.AppendUnquoted(dst, e.schema)
	dst, _ = decode.AppendUnquoted(append(dst, '.'), e.table)
	return dst
}

// who is what the pgtee block says about the author of a change.
type who struct {
	Session *struct {
		User        string `json:"user"`
		Application string `json:"application"`
		Client      string `json:"client"`
	} `json:"session"`
	Statement *struct {
		Number int    `json:"number"`
		Text   string `json:"text"`
	} `json:"statement"`
	Via string `json:"via"`
}

func whoOf(block []byte) (w who) {
	_ = json.Unmarshal(block, &w)
	return w
}

// String describes the author for people: alice (webshop, 10.1.2.3:51234) with `UPDATE …`.
func (w who) String() string {
	if w.Session == nil {
		if w.Via == "" {
			return "an unknown author"
		}
		return "somebody who bypassed the proxy (via " + w.Via + ")"
	}
	text := w.Session.User
	if w.Session.Application != "" || w.Session.Client != "" {
		text += fmt.Sprintf(" (%s, %s)", w.Session.Application, w.Session.Client)
	}
	if w.Statement != nil && w.Statement.Text != "" {
		text += " with `" + w.Statement.Text + "`"
	}
	return text
}

// placeOf describes the place of a record, for messages.
func placeOf(record *kgo.Record) string {
	return fmt.Sprintf("topic %s, partition %d, offset %d", record.Topic, record.Partition, record.Offset)
}

var fillingCommands = [][]byte{[]byte(`"command":"CREATE TABLE AS"`), []byte(`"command":"SELECT INTO"`)}

// fillsTable reports whether the command of a DDL record creates a table together with its rows.
func fillsTable(value []byte) bool {
	for _, command := range fillingCommands {
		if bytes.Contains(value[:min(len(value), 1<<10)], command) {
			return true
		}
	}
	return false
}
