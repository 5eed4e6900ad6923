package avro

import (
	"encoding/binary"
	"testing"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/publisher/record"
)

// A key that stands in, and a flat TRUNCATE, have schemas under subjects of their own: those of the table need not be
// compatible with them, and readers find them by the id.
func TestRecordsOutsideOfTheTablesSchemas(t *testing.T) {
	registry := newFake(t)
	framing := NewFraming(openRegistry(t, registry, RegistryConfig{}), TopicName, Underscore)
	e := debezium.New(debezium.Config{Prefix: "shop", Envelope: debezium.Flat, Framing: framing})
	relation := &pgoutput.Relation{OID: 9, Schema: "public", Name: "t", Identity: 'd', Columns: []pgoutput.Column{{Name: "id", Type: 23, TypeMod: -1, Key: true}}}
	tx := &outbox.Transaction{Changes: []outbox.Change{
		{Op: outbox.Insert, Note: -1, Relation: relation, New: pgoutput.Tuple("\x00\x01t\x00\x00\x00\x011")},
		{Op: outbox.Truncate, Note: -1, Relation: relation, Ordinal: 1},
	}}
	var b record.Batch
	b.Begin(tx)
	for i := range tx.Changes {
		b.At(tx, i)
		if err := e.Append(t.Context(), &b, tx, i); err != nil {
			t.Fatal(err)
		}
	}
	key, err := e.AppendStandInKey(t.Context(), nil, []byte("7300/pgtee/1/0/16B3748/12"))
	if err != nil {
		t.Fatal(err)
	}
	for want, framed := range map[string][]byte{
		`{"pgtee_event_id":"7300/pgtee/1/0/16B3748/12"}`: key,
		`{"__op":"t"}`: b.Records()[1].Value,
	} {
		got, err := decode(registeredText(t, registry, binary.BigEndian.Uint32(framed[1:])), framed[headerBytes:])
		if err != nil || !same(got, numbers(t, []byte(want))) {
			t.Errorf("%v, %v; want %s", got, err, want)
		}
	}
	for _, subject := range []string{"shop.public.t-key", "shop.public.t-value", "shop.stand-in-key", "shop.truncate-value"} {
		if _, found := registry.GetSchema(subject, 1); !found {
			t.Errorf("no subject %s", subject)
		}
		if _, found := registry.GetSchema(subject, 2); found {
			t.Errorf("two schemas under %s", subject)
		}
	}
}
