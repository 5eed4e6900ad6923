package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/publisher/shape"
)

func TestEventFlags(t *testing.T) {
	flags := eventFlags{
		EventTopics: []string{"orders", "billing.*"},
		EventTable:  []string{"public.outbox", "bank.*"},
		EventOption: []string{"table.expand.json.payload=true", "bank.*/route.topic.replacement=bank.${routedByValue}", "bank.*/table.fields.additional.placement=type:header,at:envelope:time"},
	}
	var records debezium.Config
	if err := flags.routeEvents(source{prefix: "shop"}, &records, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	if topic, err := records.Router.Topic("billing.paid"); err != nil || topic != "billing.paid" {
		t.Errorf("%s, %v", topic, err)
	}
	public, bank := records.Outboxes[0], records.Outboxes[1]
	if !public.Expand || !bank.Expand || public.Replacement != "outbox.event.${routedByValue}" || bank.Replacement != "bank.${routedByValue}" || len(bank.Additional) != 2 || public.Additional != nil {
		t.Errorf("%+v\n%+v", public, bank)
	}
}

func TestWrongEventFlags(t *testing.T) {
	table := []string{"public.outbox"}
	for _, test := range []struct {
		flags eventFlags
		want  string
	}{
		{eventFlags{EventTopics: []string{"shop.progress"}}, "--event-topics"},
		{eventFlags{EventTable: []string{"outbox"}}, "want SCHEMA.TABLE"},
		{eventFlags{EventTable: table, EventOption: []string{"table.expand.json.payload"}}, "want NAME=VALUE"},
		{eventFlags{EventTable: table, EventOption: []string{"table.expand.json.payload=yes"}}, "want true or false"},
		{eventFlags{EventTable: table, EventOption: []string{"table.expand=true"}}, "use one of table.field.event.id"},
		{eventFlags{EventTable: table, EventOption: []string{"bank.outbox/table.expand.json.payload=true"}}, "--event-table"},
		{eventFlags{EventOption: []string{"table.expand.json.payload=true"}}, "--event-table"},
		{eventFlags{EventTable: table, EventOption: []string{"value.converter=org.apache.kafka.connect.storage.StringConverter", "table.expand.json.payload=true"}}, "leave one out"},
	} {
		var records debezium.Config
		err := test.flags.routeEvents(source{prefix: "shop"}, &records, zap.NewNop())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", test.flags, err, test.want)
		}
	}
}

func TestExpandedPayloadsHaveNoSchema(t *testing.T) {
	var flags publisherFlags
	flags.EventTable, flags.EventOption = []string{"public.outbox"}, []string{"table.expand.json.payload=true"}
	for _, flags.framingFlags = range []framingFlags{{Format: "json-schema"}, {Format: "json", KeyFormat: "json-schema"}} {
		err := flags.validate([]source{{prefix: "shop"}}, textFlags{"off"})
		if err == nil || !strings.Contains(err.Error(), "json-schema") {
			t.Error(err)
		}
	}
}

// TestFlatDeletesAndTombstones: as in Debezium, what becomes of a delete and whether it has a tombstone beside it are two settings.
func TestFlatDeletesAndTombstones(t *testing.T) {
	for _, deletes := range []string{"tombstone", "delete-to-tombstone", "rewrite-with-tombstone", "rewrite", "drop"} {
		var flags recordFlags
		flags.Envelope, flags.FlatDeletes = "flat", deletes
		if err := flags.validate([]source{{prefix: "shop"}}, textFlags{"off"}); err != nil {
			t.Errorf("--no-tombstones --flat-deletes %s: %v", deletes, err)
		}
	}
}

func TestFlatPrefixes(t *testing.T) {
	_, flat, err := envelopeFlags{Envelope: "flat", FlatFields: []string{"op"}, FlatHeaders: []string{"op"}, FlatPrefix: "f_", HeaderPrefix: "h_"}.envelope()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(flat.Fields, flat.Headers); got != "[{ op f_op}] [{ op h_op}]" {
		t.Error(got)
	}
}

func TestMisspeltOutboxTables(t *testing.T) {
	shape, err := shape.New(shape.Config{ExcludeTables: []string{"secret.*"}})
	if err != nil {
		t.Fatal(err)
	}
	flags := eventFlags{EventTable: []string{"public.outbox", "public.outbix", "bank.*", "secret.outbox"}}
	got := flags.unmatched(shape, []string{"public.outbox", "bank.events", "secret.outbox"})
	if !slices.Equal(got, []string{"public.outbix", "secret.outbox"}) {
		t.Error(got)
	}
}
