package main

import (
	"testing"

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
