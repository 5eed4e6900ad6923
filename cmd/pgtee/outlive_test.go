package main

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// A publisher that has ended, as with --snapshot only, stops no other one, and the process ends with the last one.
func TestPublishersEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lasts := map[string]time.Duration{"north": time.Minute, "south": time.Hour}
		var publishers []databasePublisher
		for _, database := range []string{"north", "south"} {
			publishers = append(publishers, databasePublisher{source: source{database: database}, watcher: &watcher{}, log: zap.NewNop()})
		}
		work := func(p databasePublisher, ctx context.Context) error {
			select {
			case <-time.After(lasts[p.database]):
				if p.database == "north" {
					return errBroken
				}
				return nil
			case <-ctx.Done():
				t.Errorf("%s is stopped", p.database)
				return nil
			}
		}
		var actors []actor
		for _, a := range publisherActors(publishers, work) {
			if a.name == "publisher of north" || a.name == "publisher of south" {
				actors = append(actors, a)
			}
		}
		began := time.Now()
		err := runGroup(t.Context(), time.Minute, actors...)
		if err == nil || err.Error() != "publisher of north: broken" || time.Since(began) != time.Hour {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
	})
}

// While Kafka is away no database is published.
func TestWithoutKafka(t *testing.T) {
	var several, guard publishCommand
	guard.MaxRetainedWAL.drop = 1
	if text := several.withoutKafka(); several.staysFor(2) == "" || text != "" {
		t.Errorf("several databases: %q", text)
	}
	if text := guard.withoutKafka(); text == "" || text != guard.staysFor(1) {
		t.Errorf("drop_slot: %q", text)
	}
}
