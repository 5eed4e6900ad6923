package debezium

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

var outboxRelation = &pgoutput.Relation{
	OID: 16500, Schema: "public", Name: "outbox", Identity: 'd',
	Columns: []pgoutput.Column{
		{Name: "id", Type: 2950, TypeMod: -1, Key: true},
		{Name: "aggregatetype", Type: 1043, TypeMod: -1},
		{Name: "aggregateid", Type: 1043, TypeMod: -1},
		{Name: "type", Type: 1043, TypeMod: -1},
		{Name: "payload", Type: 3802, TypeMod: -1},
		{Name: "raw", Type: oidBytea, TypeMod: -1},
		{Name: "n", Type: 23, TypeMod: -1},
	},
}

// routed returns the one record that an inserted row makes, as text; "" if there is none.
func routed(t *testing.T, config Config, op outbox.Op, options []string, values ...string) string {
	t.Helper()
	table := NewOutboxTable("public.outbox")
	for _, option := range options {
		name, value, _ := strings.Cut(option, "=")
		if err := table.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	config.Prefix, config.Outboxes = "shop", []OutboxTable{table}
	c := outbox.Change{Op: op, Note: -1, Relation: outboxRelation, New: tuple(values...)}
	if op == outbox.Delete {
		c.OldKind, c.Old, c.New = 'K', c.New, nil
	}
	tx := &outbox.Transaction{XID: 7, EndLSN: 9, Changes: []outbox.Change{c}}
	b := testBatch()
	b.Begin(tx)
	b.At(tx, 0)
	if err := New(config).Append(t.Context(), &b, tx, 0); err != nil {
		return "error: " + err.Error()
	}
	var text strings.Builder
	for _, r := range b.Records() {
		fmt.Fprintf(&text, "%s %s %s", r.Topic, orNULL(r.Key), orNULL(r.Value))
		for _, h := range r.Headers {
			if h.Key != record.EventIDHeader && h.Key != record.EventSourceHeader {
				fmt.Fprintf(&text, " %s=%s", h.Key, orNULL(h.Value))
			}
		}
	}
	return text.String()
}

func orNULL(b []byte) string {
	if b == nil {
		return "NULL"
	}
	return string(b)
}

func TestEventRouter(t *testing.T) {
	const (
		expand = "table.expand.json.payload=true"
		blank  = "route.tombstone.on.empty.payload=true"
		raw    = "value.converter=org.apache.kafka.connect.storage.StringConverter"
	)
	row := []string{"a1", "order", "o-1", "Created", `{"id": 1, "items": [], "n": null}`, `\x00ff`, "7"}
	with := func(column int, value string) []string {
		changed := append([]string(nil), row...)
		changed[column] = value
		return changed
	}
	for _, test := range []struct {
		name    string
		options []string
		row     []string
		want    string
	}{
		{"defaults", nil, row, `outbox.event.order "o-1" "{\"id\": 1, \"items\": [], \"n\": null}" id=a1`},
		{"expanded", []string{expand}, row, `outbox.event.order "o-1" {"id":1,"items":[]} id=a1`},
		{"expanded with nulls", []string{expand, "table.json.payload.null.behavior=optional_bytes"}, row, `outbox.event.order "o-1" {"id":1,"items":[],"n":null} id=a1`},
		{"expanded without empty arrays", []string{expand, "table.json.payload.empty.array.behavior=ignore"}, with(4, `{"a": [], "b": [[]], "c": {}}`), `outbox.event.order "o-1" {"b":[[]],"c":{}} id=a1`},
		{"expanded with empty arrays", []string{expand, "table.json.payload.empty.array.behavior=optional_string"}, with(4, `{"a": []}`), `outbox.event.order "o-1" {"a":[]} id=a1`},
		{"expanded numbers", []string{expand}, with(4, `{"price": 12.50, "n": 7, "big": 12345678901234567890, "e": 1e7, "z": -0.0, "exact": 0.1234567890123456789, "far": 1e-400, "huge": 1e999}`),
			`outbox.event.order "o-1" {"price":12.5,"n":7,"big":12345678901234567890,"e":1.0E7,"z":-0.0,"exact":0.1234567890123456789,"far":1e-400,"huge":1e999} id=a1`},
		{"no document", []string{expand}, with(4, `"text"`), `outbox.event.order "o-1" "\"text\"" id=a1`},
		{"null", []string{expand}, with(4, isNull), `outbox.event.order "o-1" null id=a1`},
		{"null as tombstone", []string{blank}, with(4, isNull), `outbox.event.order "o-1" NULL id=a1`},
		{"blank as tombstone", []string{blank}, with(4, " "), `outbox.event.order "o-1" NULL id=a1`},
		{"null key", nil, with(2, isNull), `outbox.event.order NULL "{\"id\": 1, \"items\": [], \"n\": null}" id=a1`},
		{"header", []string{"table.fields.additional.placement=type:header:eventType,n:header,raw:header"}, with(4, "1"), `outbox.event.order "o-1" "1" id=a1 eventType=Created n=7 raw=AP8=`},
		{"null header", []string{"table.fields.additional.placement=type:header"}, with(3, isNull), `outbox.event.order "o-1" "{\"id\": 1, \"items\": [], \"n\": null}" id=a1 type=NULL`},
		{"envelope", []string{expand, "table.fields.additional.placement=type:envelope:eventType,n:envelope"}, row, `outbox.event.order "o-1" {"payload":{"id":1,"items":[]},"eventType":"Created","n":7} id=a1`},
		{"other columns", []string{"table.field.event.payload=raw", "table.field.event.key=n", "table.field.event.id=type", "route.by.field=aggregateid"}, row, `outbox.event.o-1 7 "AP8=" id=Created`},
		{"raw bytes", []string{raw, "key.converter=StringConverter", "table.field.event.payload=raw"}, row, "outbox.event.order o-1 \x00\xff id=a1"},
		{"raw text", []string{raw}, row, `outbox.event.order "o-1" {"id": 1, "items": [], "n": null} id=a1`},
		{"raw null", []string{raw}, with(4, isNull), `outbox.event.order "o-1" NULL id=a1`},
		{"topic", []string{"route.topic.replacement=shop.outbox.${routedByValue}.v1"}, with(4, "1"), `shop.outbox.order.v1 "o-1" "1" id=a1`},
		{"group", []string{"route.topic.regex=(o)(.*)", "route.topic.replacement=$2_$1x"}, with(4, "1"), `rder_ox "o-1" "1" id=a1`},
		{"no match", []string{"route.topic.regex=x(.*)"}, with(4, "1"), `order "o-1" "1" id=a1`},
		{"progress", []string{"route.topic.replacement=$0", "route.topic.regex=.*"}, with(1, "shop.progress"), `shop.outbox.refused "o-1" "{\"id\": 1, \"items\": [], \"n\": null}" id=a1 pgtee-refused-topic=shop.progress pgtee-refused=pgtee's own`},
		{"no topic", nil, with(1, isNull), `shop.outbox.refused "o-1" "{\"id\": 1, \"items\": [], \"n\": null}" id=a1 pgtee-refused-topic=outbox.event. pgtee-refused=column aggregatetype is empty`},
		{"missing column", []string{"table.field.event.key=key"}, row, "needs column key"},
		{"missing field", []string{"table.fields.additional.placement=x:header"}, row, "column x of table.fields.additional.placement does not exist"},
		{"missing field that may be", []string{"table.fields.additional.placement=x:header", "table.field.additional.missing=ignore"}, with(4, "1"), `outbox.event.order "o-1" "1" id=a1`},
		{"missing field that must not be", []string{"table.fields.additional.placement=x:header", "table.field.additional.missing=error"}, row, "column x of table.fields.additional.placement does not exist"},
		{"missing field that may be, before 3.7", []string{"table.fields.additional.placement=x:header", "table.fields.additional.error.on.missing=false"}, with(4, "1"), `outbox.event.order "o-1" "1" id=a1`},
	} {
		got := routed(t, Config{}, outbox.Insert, test.options, test.row...)
		if got != test.want && !(strings.HasPrefix(got, "error: ") && strings.Contains(got, test.want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", test.name, got, test.want)
		}
	}
}

// An outbox is a queue: rows that go say nothing, rows that change are a mistake.
func TestOutboxRowsThatChange(t *testing.T) {
	row := []string{"a1", "order", "o-1", "Created", "1", isNull, "7"}
	var warnings []string
	config := Config{Warn: func(_, text string) { warnings = append(warnings, text) }}
	if got := routed(t, config, outbox.Delete, nil, row...); got != "" || warnings != nil {
		t.Errorf("%s, %q", got, warnings)
	}
	if got := routed(t, config, outbox.Update, nil, row...); got != "" || len(warnings) != 1 || !strings.Contains(warnings[0], "public.outbox") {
		t.Errorf("%s, %q", got, warnings)
	}
	if got := routed(t, config, outbox.Update, []string{"table.op.invalid.behavior=fatal"}, row...); !strings.HasPrefix(got, "error: ") {
		t.Error(got)
	}
}

func TestEventsWithSchemas(t *testing.T) {
	row := []string{"a1", "order", "o-1", "Created", "1", isNull, "7"}
	config := Config{Framing: &record.ConnectJSON{}}
	want := `outbox.event.order {"schema":{"type":"string","optional":true},"payload":"o-1"} {"schema":{"type":"string","optional":true,"name":"io.debezium.data.Json","version":1},"payload":"1"} id=a1`
	if got := routed(t, config, outbox.Insert, nil, row...); got != want {
		t.Error(got)
	}
	got := routed(t, config, outbox.Insert, []string{"table.fields.additional.placement=n:envelope"}, row...)
	if !strings.Contains(got, `"payload":{"payload":"1","n":7}}`) || !strings.Contains(got, `"name":"shop.public.outbox.order.Value"}`) {
		t.Error(got)
	}
	if got := routed(t, config, outbox.Insert, []string{"table.expand.json.payload=true"}, row...); !strings.Contains(got, "leave out that option") {
		t.Error(got)
	}
}

// TestEventKeyUnderAMask: no mask cuts the key of an event either.
func TestEventKeyUnderAMask(t *testing.T) {
	row := []string{"a1", "order", "o-1", "Created", "1", isNull, "7"}
	form, err := shape.New(shape.Config{Prefix: "shop", Tables: []shape.TableConfig{{Match: "*.*", Masks: []shape.MaskConfig{{Column: "aggregateid", Kind: shape.Truncate, Length: 1}}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []string{"key.converter=JsonConverter", "key.converter=StringConverter"} {
		if got := routed(t, Config{Shape: form}, outbox.Insert, []string{option}, row...); !strings.Contains(got, "o-1") {
			t.Errorf("%s: %s", option, got)
		}
	}
}

// What the type of a column cannot carry is not an event of another type.
func TestEventThatItsSchemaCannotCarry(t *testing.T) {
	row := []string{"a1", "order", "o-1", "Created", "1", isNull, "99999999999"}
	for _, option := range []string{"table.field.event.key=n", "table.field.event.payload=n", "table.fields.additional.placement=n:envelope"} {
		got := routed(t, Config{Framing: &record.ConnectJSON{}}, outbox.Insert, []string{option}, row...)
		if !strings.Contains(got, "the type of column n cannot carry") {
			t.Errorf("%s: %s", option, got)
		}
		if got := routed(t, Config{}, outbox.Insert, []string{option}, row...); !strings.Contains(got, `"99999999999"`) {
			t.Errorf("%s, without schemas: %s", option, got)
		}
	}
}

func FuzzExpanded(f *testing.F) {
	for _, text := range []string{`{"a": [1, {"b": null, "c": "\"}"}], "n": null, "e": {}}`, "[ ]", `[null,-1.5e3,true]`, "{", `{"a" : "` + "\xff" + `"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, ok := appendExpanded([]byte("x"), text, true, false)
		if !ok {
			return
		}
		var want, has any
		if json.Unmarshal(text, &want) == nil && (json.Unmarshal(got[1:], &has) != nil || !reflect.DeepEqual(has, want)) { // otherwise a number is beyond a double
			t.Fatalf("%s, want %s", got[1:], text)
		}
		if without, _ := appendExpanded(nil, text, false, true); !json.Valid(without) || len(without) > len(got)-1 {
			t.Fatalf("%s", without)
		}
	})
}

// An inserted row is in the log as a whole; if a server says otherwise, there is no event to be made of it.
func TestEventOfPartOfARow(t *testing.T) {
	row := append(tuple("a1", "order", "o-1", "Created")[2:], pgoutput.Unchanged, pgoutput.Null, pgoutput.Null)
	tx := &outbox.Transaction{XID: 7, EndLSN: 9, Changes: []outbox.Change{
		{Op: outbox.Insert, Note: -1, Relation: outboxRelation, New: append(pgoutput.Tuple{0, 7}, row...)},
	}}
	for _, envelope := range []Envelope{Change, Plain} {
		e := New(Config{Prefix: "shop", Envelope: envelope, Outboxes: []OutboxTable{NewOutboxTable("public.*")}})
		if err := e.Append(t.Context(), &record.Batch{}, tx, 0); err == nil {
			t.Errorf("envelope %s: no error", envelopes[envelope])
		}
	}
}

// A table without an outbox's columns that a pattern matches is an ordinary table; one that is named is a mistake.
func TestPatternOfOutboxTables(t *testing.T) {
	orders := &pgoutput.Relation{OID: 1, Schema: "public", Name: "orders", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: 23, TypeMod: -1, Key: true}}}
	lacking := &pgoutput.Relation{OID: 1, Schema: "public", Name: "orders", Identity: 'd'}
	for _, name := range []string{"id", "aggregatetype", "aggregateid", "payload"} { // but not type
		lacking.Columns = append(lacking.Columns, pgoutput.Column{Name: name, Type: oidText, TypeMod: -1, Key: name == "id"})
	}
	for _, test := range []struct {
		match    string
		relation *pgoutput.Relation
		row      pgoutput.Tuple
		want     bool
	}{
		{"public.*", orders, tuple("1"), true}, {"/public\\..*/", orders, tuple("1"), true}, {"public.orders", orders, tuple("1"), false},
		{"public.*", lacking, tuple("1", "a", "b", "c"), true}, {"public.orders", lacking, tuple("1", "a", "b", "c"), false},
	} {
		match, want, warned := test.match, test.want, ""
		tx := &outbox.Transaction{Changes: []outbox.Change{{Op: outbox.Insert, Note: -1, Relation: test.relation, New: test.row}}}
		table := NewOutboxTable(match)
		if err := table.Set("table.fields.additional.placement", "type:header"); err != nil {
			t.Fatal(err)
		}
		e := New(Config{Prefix: "shop", Outboxes: []OutboxTable{table}, Warn: func(finding, _ string) { warned += finding }})
		b := testBatch()
		b.Begin(tx)
		b.At(tx, 0)
		err := e.Append(t.Context(), &b, tx, 0)
		if published := err == nil && b.Len() == 1 && b.TopicAt(record.Cursor{}) == "shop.public.orders"; published != want || want != (warned == "event-table-unfit") {
			t.Errorf("%s: %v, %d records, warned %q", match, err, b.Len(), warned)
		}
	}
}
