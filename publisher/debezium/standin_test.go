package debezium

import (
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// A key that stands in for one is in the form of the others.
func TestStandInKeys(t *testing.T) {
	const id = "7300/pgtee/1/0/16B3748/12"
	for framing, want := range map[record.Framing]string{
		nil: `{"pgtee_event_id":"` + id + `"}`,
		&record.ConnectJSON{}: `{"schema":{"type":"struct","fields":[{"type":"string","optional":false,"field":"pgtee_event_id"}],"optional":false,"name":"pgtee.StandInKey"},` +
			`"payload":{"pgtee_event_id":"` + id + `"}}`,
	} {
		e := New(Config{Prefix: "shop", Framing: framing})
		got, err := e.AppendStandInKey(t.Context(), []byte("x"), []byte(id))
		if err != nil || string(got) != "x"+want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
}

// TRUNCATE goes into each partition, in every envelope; --skip-truncate leaves it out, but not the marker of a resync.
func TestTruncateGoesEverywhere(t *testing.T) {
	for _, envelope := range []Envelope{Change, Flat, Plain, CloudEventStructured, CloudEventBinary} {
		for _, test := range []struct {
			skip Operations
			mark outbox.SnapshotMark
			want int
		}{{0, outbox.NoMark, 1}, {SkipTruncate, outbox.NoMark, 0}, {SkipTruncate, outbox.MarkIncremental, 1}} {
			e := New(Config{Prefix: "shop", Envelope: envelope, Skip: test.skip})
			tx := &outbox.Transaction{Changes: []outbox.Change{{Op: outbox.Truncate, Note: -1, Relation: outboxRelation, Mark: test.mark}}}
			b := testBatch()
			b.Begin(tx)
			b.At(tx, 0)
			if err := e.Append(t.Context(), &b, tx, 0); err != nil {
				t.Fatal(err)
			}
			if records := b.Records(); len(records) != test.want || test.want == 1 && (!records[0].Everywhere || records[0].Key != nil || records[0].Value == nil) {
				t.Errorf("envelope %d, skip %d: %d records", envelope, test.skip, len(records))
			}
		}
	}
}

// The commonest name of an outbox table is not a topic of ours: its rows are events.
func TestOutboxTableInASchemaNamedOutbox(t *testing.T) {
	events := *outboxRelation
	events.Schema, events.Name = "outbox", "events"
	tx := &outbox.Transaction{Changes: []outbox.Change{{Op: outbox.Insert, Note: -1, Relation: &events, New: tuple("1", "order", "o-1", "Created", `{"a":1}`, isNull, isNull)}}}
	for table, want := range map[string]string{"outbox.events": "outbox.event.order", "other.events": "shop.outbox.events"} {
		e := New(Config{Prefix: "shop", Outboxes: []OutboxTable{NewOutboxTable(table)}})
		b := testBatch()
		b.Begin(tx)
		b.At(tx, 0)
		if err := e.Append(t.Context(), &b, tx, 0); err != nil {
			t.Fatal(err)
		}
		if got := b.Records()[0].Topic; got != want {
			t.Errorf("--event-table %s: topic %s, want %s", table, got, want)
		}
	}
}

// A table that is given another topic has it from its next row on, without a new version of the table.
func TestRenamedTopicIsPlannedAgain(t *testing.T) {
	shape, err := shape.New(shape.Config{Prefix: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	e := New(Config{Prefix: "shop", Shape: shape})
	relation := &pgoutput.Relation{OID: 9, Schema: "public", Name: "t", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: 23, TypeMod: -1, Key: true}}}
	tx := &outbox.Transaction{Changes: []outbox.Change{{Op: outbox.Insert, Note: -1, Relation: relation, New: tuple("1")}}}
	b := testBatch()
	b.Begin(tx)
	for range 2 {
		b.At(tx, 0)
		if err := e.Append(t.Context(), &b, tx, 0); err != nil {
			t.Fatal(err)
		}
		if err := shape.Rename(relation, nil); err != nil {
			t.Fatal(err)
		}
	}
	if records := b.Records(); records[0].Topic != "shop.public.t" || !strings.HasPrefix(records[1].Topic, "shop.public.t-") {
		t.Errorf("topics %s, %s", records[0].Topic, records[1].Topic)
	}
}
