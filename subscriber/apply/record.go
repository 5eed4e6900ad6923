package apply

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// envelope is the value of a row's record in Debezium's shape, in pieces of its JSON.
type envelope struct {
	op            byte
	before, after []byte // nil: none
	schema, table []byte // as JSON strings
	values        []byte // texts of columns that the form of the record cannot carry; nil: none
	block         []byte // pgtee
}

var (
	payloadField = []byte(`,"payload":`)
	schemaField  = []byte(`{"schema":`)
	null         = []byte("null")
)

// payload takes a schema off that stands beside the payload.
func payload(value []byte) []byte {
	if !bytes.HasPrefix(value, schemaField) {
		return value
	}
	s := scanner{text: value, at: len(schemaField)}
	if _, err := s.value(); err != nil || !bytes.HasPrefix(value[s.at:], payloadField) {
		return value
	}
	rest := value[s.at+len(payloadField):]
	return bytes.TrimSuffix(rest, []byte("}"))
}

// orNil takes JSON null for nothing.
func orNil(value []byte) []byte {
	if bytes.Equal(value, null) {
		return nil
	}
	return value
}

// read takes a record's value apart.
func (e *envelope) read(value []byte) error {
	*e = envelope{}
	err := fields(value, func(name, value []byte) error {
		switch string(name) {
		case "before":
			e.before = orNil(value)
		case "after":
			e.after = orNil(value)
		case "source":
			return fields(value, func(name, value []byte) error {
				switch string(name) {
				case "schema":
					e.schema = value
				case "table":
					e.table = value
				}
				return nil
			})
		case "op":
			if len(value) == 3 {
				e.op = value[1]
			}
		case "pgtee":
			e.block = orNil(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if e.op == 0 || e.schema == nil || e.table == nil {
		return errEnvelope
	}
	if bytes.Contains(e.block, valuesField) {
		e.values = orNil(field(e.block, "values"))
	}
	return nil
}

var (
	valuesField = []byte(`"values":`)
	errEnvelope = Halt{"the records are no change events of Debezium's shape", "start the publisher with --envelope debezium (its default)"}
)

// name is schema.table.
func (e *envelope) name(dst []byte) []byte {
	dst, _ = appendUnquoted(dst, e.schema)
	dst, _ = appendUnquoted(append(dst, '.'), e.table)
	return dst
}

// who is what the block pgtee says of the author of a change.
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

func (e *envelope) who() (w who) {
	_ = json.Unmarshal(e.block, &w)
	return w
}

// String is for people: alice (webshop, 10.1.2.3:51234) with `UPDATE …`.
func (w who) String() string {
	if w.Session == nil {
		if w.Via == "" {
			return "nobody knows whom"
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

// placeOf says where a record stands, for messages.
func placeOf(record *kgo.Record) string {
	return fmt.Sprintf("topic %s, partition %d, offset %d", record.Topic, record.Partition, record.Offset)
}

var fillingCommands = [][]byte{[]byte(`"command":"CREATE TABLE AS"`), []byte(`"command":"SELECT INTO"`)}

// fillsTable says whether a DDL record is of a command that makes a table with its rows.
func fillsTable(value []byte) bool {
	for _, command := range fillingCommands {
		if bytes.Contains(value[:min(len(value), 1<<10)], command) {
			return true
		}
	}
	return false
}
