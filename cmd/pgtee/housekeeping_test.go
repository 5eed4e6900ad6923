package main

import (
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
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
		p := databasePublisher{source: source{connString: url, database: "postgres", slot: "pgtee"}, retained: limit, log: zap.New(core)}
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
