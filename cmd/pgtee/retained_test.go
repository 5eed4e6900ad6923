package main

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgtee/pgtee/outbox"
)

// TestRetainedWAL holds back log with a slot that nobody reads.
func TestRetainedWAL(t *testing.T) {
	t.Parallel()
	c := newChain(t, nil)
	url := c.postgres.URL("postgres")
	if got := pgtee(t, "setup", "--postgres", url); got.code != exitOK {
		t.Fatalf("setup: %+v", got)
	}
	c.exec(url, "CREATE TABLE t AS SELECT generate_series(1, 10000) AS i")
	for _, test := range []struct {
		limit    string
		warnings int
		slots    int
	}{
		{"10GB:drop_slot", 0, 1}, // far from it
		{"64kB:warn", 1, 1},
		{"64kB:drop_slot", 1, 0},
	} {
		var limit retainedLimit
		if err := limit.UnmarshalText([]byte(test.limit)); err != nil {
			t.Fatal(err)
		}
		core, logged := observer.New(zap.WarnLevel)
		p := databasePublisher{source: source{connString: url, database: "postgres", slot: "pgtee"}, retained: limit, lag: &lag{}, log: zap.New(core)}
		if err := p.watchRetained(t.Context()); err != nil {
			t.Fatal(err)
		}
		if logged.Len() != test.warnings {
			t.Errorf("%s: %d warnings, want %d: %v", test.limit, logged.Len(), test.warnings, logged.All())
		}
		if got := c.count(url, "SELECT count(*) FROM pg_replication_slots"); got != test.slots {
			t.Errorf("%s: %d slots, want %d", test.limit, got, test.slots)
		}
	}
}

// The smaller of both limits loses the slot; the threshold of a warning loses nothing.
func TestLimitsOfRetainedWAL(t *testing.T) {
	for _, c := range []struct {
		limit                retainedLimit
		keep, lossAt, warnAt int64
	}{
		{retainedLimit{}, -1, -1, -1},
		{retainedLimit{}, 0, 0, 0},
		{retainedLimit{drop: 80}, 0, 0, 0},
		{retainedLimit{warn: 80}, 0, 0, 0},
		{retainedLimit{}, 100, 100, 50},
		{retainedLimit{warn: 80}, -1, -1, 80},
		{retainedLimit{warn: 80}, 100, 100, 50},
		{retainedLimit{warn: 20}, 100, 100, 20},
		{retainedLimit{drop: 80}, -1, 80, 40},
		{retainedLimit{drop: 80}, 100, 80, 40},
		{retainedLimit{drop: 200}, 100, 100, 50},
	} {
		slot := outbox.SlotStatus{KeepBytes: c.keep}
		if lossAt, warnAt := c.limit.lossAt(slot), c.limit.warnAt(slot); lossAt != c.lossAt || warnAt != c.warnAt {
			t.Errorf("%+v, the server's %d: lost at %d, warns at %d, want %d, %d", c.limit, c.keep, lossAt, warnAt, c.lossAt, c.warnAt)
		}
	}
}
