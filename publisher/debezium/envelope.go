package debezium

import (
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/publisher/record"
)

// Envelope is the shape of the value of a row's record. Logical messages and transaction records have Debezium's shape in every envelope.
type Envelope byte

const (
	// Change is Debezium's {"before","after","source","transaction","op","ts_ms",…}.
	Change Envelope = iota
	// Flat is only the row, as Debezium's transformation ExtractNewRecordState produces it. See FlatConfig.
	Flat
	// Plain is JSON for human readers. See plain.
	Plain
	// CloudEventStructured and CloudEventBinary are CloudEvents 1.0 with the attributes of Debezium's converter, in the value or in headers. See
	// structured.
	CloudEventStructured
	CloudEventBinary
)

var envelopes = []string{"debezium", "flat", "plain", "cloudevents", "cloudevents-binary"}

// ParseEnvelope reads "debezium", "flat", "plain", "cloudevents" or "cloudevents-binary".
func ParseEnvelope(name string) (Envelope, error) {
	if i := slices.Index(envelopes, name); i >= 0 {
		return Envelope(i), nil
	}
	return 0, fmt.Errorf("envelope %q: want debezium, flat, plain, cloudevents or cloudevents-binary", name)
}

// value appends the value of a row's record. key is the offset of the record's key in the buffer.
func (w *writer) value(op byte, key int, before, after *row) error {
	b, start := w.batch, len(w.batch.Buf)
	if w.config.Envelope != Change {
		w.count()
	}
	switch w.config.Envelope {
	case Flat:
		if op == 't' {
			return w.flatTruncate()
		}
		if err := w.flat(op, before, after); err != nil {
			return err
		}
	case Plain:
		return w.plain(op, key, before, after)
	case CloudEventStructured:
		return w.structured(op, before, after)
	case CloudEventBinary:
		w.eventID = b.AppendEventID(w.eventID[:0])
		w.data(before, after)
	default:
		w.change(op, before, after)
	}
	return w.frame(start, record.ValuePart, w.table.topic, w.table.schemas.value)
}

// change appends Debezium's envelope.
func (w *writer) change(op byte, before, after *row) {
	b, lost := w.batch, w.collectAmbiguous()
	b.Buf = w.table.appendRow(append(b.Buf, `{"before":`...), before, lost.in("before"))
	b.Buf = w.table.appendRow(append(b.Buf, `,"after":`...), after, lost.in("after"))
	b.Buf = append(b.Buf, `,"source":`...)
	b.Buf = w.appendSource(b.Buf, w.tx, w.index, w.table.source)
	b.Buf = w.appendBlock(append(b.Buf, `,"transaction":`...), w.tx, w.table.events)
	b.Buf = append(append(b.Buf, `,"op":"`...), op, '"')
	b.Buf = appendTimes(b.Buf, w.now)
	b.Buf = append(b.Buf, `,"pgtee":`...)
	b.Buf = append(w.appendPgtee(b, w.tx, w.index, lost), '}')
}

// valueSchema describes the output of value before it is framed.
func (e *Encoder) valueSchema(topic string, row *record.Schema) *record.Schema {
	switch e.config.Envelope {
	case Flat:
		return e.config.Flat.schema(row)
	case CloudEventStructured, CloudEventBinary:
		return dataSchema(topic, row)
	}
	return changeSchema(topic, row)
}

// pairs calls use for each field of a JSON object that holds only scalars, such as the source block.
func pairs(object []byte, use func(name, value []byte)) {
	for i := 1; i < len(object) && object[i] == '"'; i++ {
		name := object[i:scalarEnd(object, i)]
		value := i + len(name) + 1
		i = scalarEnd(object, value)
		use(name[1:len(name)-1], object[value:i])
	}
}

// scalarEnd returns the end of the scalar that starts at from.
func scalarEnd(json []byte, from int) int {
	i := from
	if json[i] != '"' {
		for i < len(json) && json[i] != ',' && json[i] != '}' {
			i++
		}
		return i
	}
	for i++; json[i] != '"'; i++ {
		if json[i] == '\\' {
			i++
		}
	}
	return i + 1
}
