package debezium

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// router is the plan of one version of an outbox table of the application.
type router struct {
	*OutboxTable
	id, key, payload, routeBy int // column indexes
	additional                []routedField
	envelope                  []record.Field            // fields of an envelope; nil: no envelope
	schemas                   map[string]*record.Schema // of envelopes, by the value that selects the topic; at most maxEnvelopes
	name                      string                    // of the table in their names
	warned                    bool                      // an update was already reported
}

// maxEnvelopes bounds the cached schemas, since rows choose the values that name them.
const maxEnvelopes = 1 << 10

type routedField struct {
	AdditionalField
	column int
	name   string // "alias":
}

// planRouter plans the events of a table. It returns nil if the table is not an outbox: a pattern may match other tables, and whoever creates such a
// table must not be able to halt the publisher.
func (e *Encoder) planRouter(t *table) (*router, error) {
	name := t.relation.Schema + "." + t.relation.Name
	for i := range e.config.Outboxes {
		o := &e.config.Outboxes[i]
		if !shape.Matches(o.Match, name) {
			continue
		}
		if o.Expand && e.config.Framing != nil {
			return nil, errors.New("table.expand.json.payload produces values without a schema: leave out that option, or the framing")
		}
		r := &router{OutboxTable: o}
		err := r.locate(t)
		if err == nil {
			err = r.locateAdditional(t, e.config.Prefix)
		}
		switch {
		case err != nil && !shape.IsGlob(o.Match):
			return nil, err
		case err != nil:
			e.warnOnce(t, "event-table-unfit", fmt.Sprintf("table %s matches --event-table %s and is published like any other table: %v", name, o.Match, err))
			return nil, nil
		}
		return r, nil
	}
	return nil, nil
}

// locate finds the columns that each outbox has.
func (r *router) locate(t *table) error {
	for _, c := range []struct {
		name  string
		index *int
	}{{r.ID, &r.id}, {r.Key, &r.key}, {r.Payload, &r.payload}, {r.RouteBy, &r.routeBy}} {
		*c.index = t.visible(c.name)
		if *c.index < 0 {
			return fmt.Errorf("an outbox table needs column %s: add it, or name another one by --event-option (table.field.event.id, .key, .payload or route.by.field)", c.name)
		}
	}
	return nil
}

// locateAdditional finds the additional columns that the options name.
func (r *router) locateAdditional(t *table, prefix string) error {
	envelope := false
	for _, f := range r.OutboxTable.Additional {
		column := t.visible(f.Column)
		if column < 0 && r.MayLack {
			continue
		}
		if column < 0 {
			return fmt.Errorf("column %s of table.fields.additional.placement does not exist: correct the option, or set table.field.additional.missing=ignore", f.Column)
		}
		envelope = envelope || f.Envelope
		r.additional = append(r.additional, routedField{f, column, string(record.AppendJSONString(nil, f.Alias)) + ":"})
	}
	if envelope {
		r.name = prefix + "." + t.relation.Schema + "." + t.relation.Name + "."
		r.envelope = r.fields(t)
	}
	return nil
}

// visible returns the index of a column, or -1 if it does not exist or is not published.
func (t *table) visible(name string) int {
	for i, c := range t.relation.Columns {
		if c.Name == name && !t.columns[i].hidden {
			return i
		}
	}
	return -1
}

// fields returns the fields of values that contain more than the payload.
func (r *router) fields(t *table) []record.Field {
	fields := []record.Field{{Name: "payload", Schema: t.columns[r.payload].schema}}
	for _, f := range r.additional {
		if f.Envelope {
			fields = append(fields, record.Field{Name: f.Alias, Schema: t.columns[f.column].schema})
		}
	}
	return fields
}

// schema returns the schema of an envelope. As in EventRouter, its name has the value of the column that selects the topic.
func (r *router) schema(routeBy []byte) *record.Schema {
	if s := r.schemas[string(routeBy)]; s != nil {
		return s
	}
	if len(r.schemas) >= maxEnvelopes || r.schemas == nil {
		r.schemas = map[string]*record.Schema{}
	}
	s := &record.Schema{Type: record.Struct, Name: r.name + string(routeBy) + ".Value", Fields: r.envelope}
	r.schemas[string(routeBy)] = s
	return s
}

// event appends the event of an inserted row. An outbox is a queue: deleting rows afterwards means nothing, and updating one is a mistake, since its
// event is already in Kafka.
func (w *writer) event(op outbox.Op) error {
	w.payload = w.appendBlock(w.payload[:0], w.tx, w.table.events) // counts the event
	r := w.table.router
	switch op {
	case outbox.Insert, outbox.Read: // only the first snapshot reads outbox tables, before anything is published
		if slices.ContainsFunc(w.after.values, func(v value) bool { return v.kind == pgoutput.Unchanged }) {
			return errors.New("the WAL does not have the whole inserted row")
		}
	case outbox.Update:
		return w.updated()
	default:
		return nil
	}
	topic, asked, why := w.route()
	key, err := w.eventKey(topic)
	if err != nil {
		return err
	}
	value, err := w.eventValue(topic)
	if err != nil {
		return err
	}
	w.batch.AddEvent(topic, key, value)
	w.headers(stays)
	w.header("id", r.id)
	for _, f := range r.additional {
		if !f.Envelope {
			w.header(f.Alias, f.column)
		}
	}
	w.batch.Header(record.EventSourceHeader, w.batch.AppendPgtee(nil, w.tx, w.index))
	if why != nil {
		w.batch.Refuse(w.batch.Len()-1, topic, asked, why)
	}
	return nil
}

func (w *writer) updated() error {
	r, name := w.table.router, w.table.relation.Schema+"."+w.table.relation.Name
	if r.HaltOnUpdate {
		return errors.New("a row of an outbox table was updated, and table.op.invalid.behavior=fatal: set it to warn to go on")
	}
	if !r.warned && w.config.Warn != nil {
		r.warned = true
		w.config.Warn("outbox-row-updated", "rows of outbox table "+name+" are updated: their events are in Kafka as they were inserted")
	}
	return nil
}

// route returns the topic of the event and the topic that was requested. They differ if the event is refused.
func (w *writer) route() (topic, asked string, why error) {
	r := w.table.router
	value, _ := w.text(r.routeBy)
	asked = string(value)
	if match := r.Regex.FindSubmatchIndex(value); match != nil {
		asked = string(r.Regex.Expand(nil, []byte(r.Replacement), value, match))
	}
	why = w.config.Router.Check(asked)
	if len(value) == 0 {
		why = fmt.Errorf("column %s is empty", r.RouteBy)
	}
	if why != nil {
		return w.config.Router.Refused(), asked, why
	}
	return asked, asked, nil
}

// eventKey appends the key and returns its offset. NULL becomes a null key; Debezium writes the JSON null.
func (w *writer) eventKey(topic string) (int, error) {
	r, b := w.table.router, w.batch
	if w.after.values[r.key].kind == pgoutput.Null {
		return record.Null, nil
	}
	start, key := len(b.Buf), w.table.columns[r.key].inKey()
	if r.RawKey {
		b.Buf = w.appendRaw(b.Buf, key, r.key)
		return start, nil
	}
	if err := w.fieldAs(key, r.key); err != nil {
		return 0, err
	}
	return start, w.frame(start, record.KeyPart, topic, key.schema)
}

// field appends a column as JSON. A value that its schema cannot carry is an error, since an event has no block pgtee to hold it.
func (w *writer) field(column int) error { return w.fieldAs(&w.table.columns[column], column) }

func (w *writer) fieldAs(c *column, column int) error {
	lost := w.collectLost()
	w.batch.Buf = c.append(w.batch.Buf, w.after.values[column], lost)
	if lost != nil && len(lost.json) > 0 {
		return fmt.Errorf("the type of column %s cannot carry the value of this event: choose another handling mode for its type, or no schemas", w.table.relation.Columns[column].Name)
	}
	return nil
}

// eventValue appends the value and returns its offset.
func (w *writer) eventValue(topic string) (int, error) {
	r, b := w.table.router, w.batch
	payload, present := w.text(r.payload)
	if (!present && r.RawPayload) || r.Tombstones && len(bytes.TrimSpace(payload)) == 0 {
		return record.Null, nil
	}
	start := len(b.Buf)
	if r.RawPayload {
		b.Buf = w.appendRaw(b.Buf, &w.table.columns[r.payload], r.payload)
		return start, nil
	}
	schema := w.table.columns[r.payload].schema
	if r.envelope == nil {
		if err := w.payloadField(); err != nil {
			return 0, err
		}
		return start, w.frame(start, record.ValuePart, topic, schema)
	}
	b.Buf = append(b.Buf, `{"payload":`...)
	if err := w.payloadField(); err != nil {
		return 0, err
	}
	for _, f := range r.additional {
		if f.Envelope {
			b.Buf = append(append(b.Buf, ','), f.name...)
			if err := w.field(f.column); err != nil {
				return 0, err
			}
		}
	}
	b.Buf = append(b.Buf, '}')
	routeBy, _ := w.text(r.routeBy)
	return start, w.frame(start, record.ValuePart, topic, r.schema(routeBy))
}

// payloadField appends the payload as JSON.
func (w *writer) payloadField() error {
	r, b := w.table.router, w.batch
	if text, ok := w.text(r.payload); r.Expand && ok {
		if expanded, ok := appendExpanded(b.Buf, text, r.KeepNulls, r.DropEmpty); ok {
			b.Buf = expanded
			return nil
		}
	}
	return w.field(r.payload)
}

// header adds a column as a header, as Kafka Connect's SimpleHeaderConverter writes it: strings without quotes, everything else as JSON.
func (w *writer) header(name string, column int) {
	text, _ := w.text(column)
	w.batch.Header(name, text)
}

// text returns a value as plain text if it is a string, else as JSON. For null it returns nil and false.
func (w *writer) text(column int) ([]byte, bool) { return w.textAs(&w.table.columns[column], column) }

func (w *writer) textAs(c *column, column int) ([]byte, bool) {
	v := w.after.values[column]
	if v.kind == pgoutput.Null {
		return nil, false
	}
	text := c.append(nil, v, nil)
	if text[0] != '"' {
		return text, true
	}
	var s string
	if json.Unmarshal(text, &s) != nil {
		return text, true
	}
	return []byte(s), true
}

// appendRaw appends a value without JSON: bytea as its bytes, every other type as text.
func (w *writer) appendRaw(dst []byte, c *column, column int) []byte {
	if w.table.relation.Columns[column].Type == oidBytea {
		text, isHex := bytes.CutPrefix(w.after.values[column].text, []byte(`\x`))
		raw, err := hex.AppendDecode(dst, text)
		if isHex && err == nil && !c.masked {
			return raw
		}
	}
	text, _ := w.textAs(c, column)
	return append(dst, text...)
}
