package main

import (
	"testing"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/outbox"
)

// A resync empties the topic first, and is of whole tables.
func TestSnapshotSignal(t *testing.T) {
	for want, c := range map[string]snapshotStart{
		outbox.ExecuteSnapshot: {Table: []string{"public.orders"}, Where: "id > 1"},
		outbox.Resync:          {Table: []string{"public.orders"}, Resync: true},
	} {
		if s, err := c.signal(); err != nil || s.Type != want || len(s.Tables) != 1 {
			t.Errorf("%+v, %v, want %s", s, err, want)
		}
	}
	c := snapshotStart{Table: []string{"public.orders"}, Where: "id > 1", Resync: true}
	if _, err := c.signal(); err == nil {
		t.Error("a resync of some rows is accepted")
	}
}

// A snapshot can start while none is under way.
func TestStartOfASnapshot(t *testing.T) {
	broker, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	var c snapshotRequest
	for _, kind := range []string{outbox.ExecuteSnapshot, outbox.Resync} {
		signal := &outbox.SignalRecord{Type: kind, Tables: []string{"public.orders"}}
		if _, err := c.checkID(t.Context(), signal, source{database: "shop", prefix: "shop", slot: "pgtee"}, cluster{brokers: []string{broker.Address()}}); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}
