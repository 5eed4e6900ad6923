package debezium

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/publisher/record"
)

// contentTyper is a Framing whose output is not JSON.
type contentTyper interface{ ContentType() string }

const (
	jsonContent       = "application/json"
	structuredContent = "application/cloudevents+json; charset=UTF-8"
	cloudEventType    = "io.debezium.connector.postgresql.DataChangeEvent"
)

// contentType is the content type of a framed payload.
func (e *Encoder) contentType() string {
	if typer, ok := e.config.Framing.(contentTyper); ok {
		return typer.ContentType()
	}
	return jsonContent
}

// structured appends a CloudEvent in its JSON format, with the attributes of Debezium's CloudEventsConverter:
//
//	{"id","source":"/debezium/postgresql/<prefix>","specversion":"1.0","type","time","datacontenttype",
//	 "iodebeziumop","iodebeziumversion",…,"data":{"before","after","pgtee"}}
//
// id is the record's event id, because several rows may share Debezium's id. Data that is framed as something other than JSON goes into data_base64.
func (w *writer) structured(op byte, before, after *row) error {
	b := w.batch
	w.eventID = b.AppendEventID(w.eventID[:0])
	b.Buf = append(b.Buf, '{')
	w.attributes(op, func(name string, value []byte) {
		b.Buf = append(appendName(b.Buf, name), value...)
	})
	b.Buf = append(b.Buf, `,"data":`...)
	start := len(b.Buf)
	w.data(before, after)
	if err := w.frame(start, record.ValuePart, w.table.topic, w.table.schemas.value); err != nil {
		return err
	}
	if w.contentType() != jsonContent {
		w.payload = append(w.payload[:0], b.Buf[start:]...)
		b.Buf = append(b.Buf[:start-len(`":`)], `_base64":"`...)
		b.Buf = append(base64.StdEncoding.AppendEncode(b.Buf, w.payload), '"')
	}
	b.Buf = append(b.Buf, '}')
	return nil
}

// data appends the "data" attribute: the row before and after the change.
func (w *writer) data(before, after *row) {
	b, lost := w.batch, w.collectLost()
	b.Buf = w.table.appendRow(append(b.Buf, `{"before":`...), before, lost.in("before"))
	b.Buf = w.table.appendRow(append(b.Buf, `,"after":`...), after, lost.in("after"))
	b.Buf = append(b.Buf, `,"pgtee":`...)
	b.Buf = append(w.appendPgtee(b, w.tx, w.index, lost), '}')
}

func dataSchema(topic string, row *record.Schema) *record.Schema {
	return &record.Schema{
		Type: record.Struct, Name: topic + ".Data",
		Fields: []record.Field{
			{Name: "before", Schema: row},
			{Name: "after", Schema: row},
			{Name: "pgtee", Schema: record.PgteeSchema()},
		},
	}
}

// cloudEventHeaders adds the attributes to the last record as headers (binary content mode), or a header which says that they are in the value
// (structured mode). https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md
func (w *writer) cloudEventHeaders(op byte) {
	switch w.config.Envelope {
	case CloudEventStructured:
		w.batch.Header("content-type", []byte(structuredContent))
	case CloudEventBinary:
		w.batch.Header("content-type", []byte(w.contentType()))
		w.attributes(op, func(name string, value []byte) {
			if name != "datacontenttype" && string(value) != "null" {
				w.batch.Header("ce_"+name, unquoteJSON(value))
			}
		})
	}
}

// unquoteJSON undoes AppendJSONString, which only uses escapes that Go has too.
func unquoteJSON(value []byte) []byte {
	text, err := strconv.Unquote(string(value))
	if err != nil {
		return value
	}
	return []byte(text)
}

// attributes calls use for each attribute of the event, with its value as JSON: first those of CloudEvents, then the extensions under Debezium's
// names and in its order. 64-bit numbers are strings, as CloudEvents has no 64-bit integers.
func (w *writer) attributes(op byte, use func(name string, value []byte)) {
	quoted := func(text string) []byte {
		w.scratch = record.AppendJSONString(w.scratch[:0], text)
		return w.scratch
	}
	use("id", quoted(string(w.eventID)))
	use("source", quoted("/debezium/postgresql/"+w.config.Prefix))
	use("specversion", quoted("1.0"))
	use("type", quoted(cloudEventType))
	use("time", quoted(w.tx.CommitTime.UTC().Format("2006-01-02T15:04:05.000Z07:00")))
	use("datacontenttype", quoted(w.contentType()))
	use("iodebeziumop", quoted(string(op)))
	w.origin = w.appendSource(w.origin[:0], w.tx, w.index, w.table.source)
	w.extensions("iodebezium", w.origin, use)
	w.extensions("iodebeziumtx", w.block, use)
}

func (w *writer) extensions(prefix string, object []byte, use func(name string, value []byte)) {
	pairs(object, func(name, value []byte) {
		if value[0] >= '0' && value[0] <= '9' || value[0] == '-' {
			w.scratch = append(append(append(w.scratch[:0], '"'), value...), '"')
			value = w.scratch
		}
		use(prefix+strings.ReplaceAll(string(name), "_", ""), value)
	})
}
