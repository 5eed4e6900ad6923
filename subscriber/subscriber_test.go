package subscriber

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/publisher/record"
)

// world is a broker and a transactional producer.
type world struct {
	t        *testing.T
	ctx      context.Context
	brokers  []string
	producer *kgo.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	producer, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID("test"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(producer.Close)
	return &world{t, ctx, cluster.ListenAddrs(), producer}
}

func (w *world) createTopic(topic string) {
	w.t.Helper()
	if _, err := kadm.NewClient(w.producer).CreateTopic(w.ctx, 1, 1, nil, topic); err != nil {
		w.t.Fatal(err)
	}
}

// produce puts values into one Kafka transaction.
func (w *world) produce(end kgo.TransactionEndTry, topic string, at time.Time, values ...string) {
	w.t.Helper()
	if err := w.producer.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	for _, value := range values {
		record := &kgo.Record{Topic: topic, Value: []byte(value), Timestamp: at,
			Headers: []kgo.RecordHeader{{Key: record.EventIDHeader, Value: []byte("id of " + value)}}}
		if err := w.producer.ProduceSync(w.ctx, record).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.producer.EndTransaction(w.ctx, end); err != nil {
		w.t.Fatal(err)
	}
}

var errEnough = errors.New("enough")

// follow reads values until the last of want has come.
func (w *world) follow(cfg Config, want ...string) {
	w.t.Helper()
	cfg.Brokers = w.brokers
	var got []string
	err := Follow(w.ctx, cfg, func(e Event) error {
		if e.ID != "id of "+string(e.Value) {
			return fmt.Errorf("id %q of %s", e.ID, e.Value)
		}
		if got = append(got, string(e.Value)); len(got) == len(want) {
			return errEnough
		}
		return nil
	})
	if !errors.Is(err, errEnough) || fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("got %q, error %v, want %q", got, err, want)
	}
}

func TestFollowReadsCommittedEvents(t *testing.T) {
	w := newWorld(t)
	w.createTopic("shop.audit")
	past, now := time.Now().Add(-time.Hour), time.Now()
	w.produce(kgo.TryCommit, "shop.audit", past, "old 1", "old 2")
	w.produce(kgo.TryAbort, "shop.audit", now, "aborted")
	w.produce(kgo.TryCommit, "shop.audit", now, "new")

	w.follow(Config{Prefix: "shop", From: Beginning}, "old 1", "old 2", "new")
	recent := From{}
	if err := recent.UnmarshalText([]byte("30m")); err != nil {
		t.Fatal(err)
	}
	w.follow(Config{Prefix: "shop", From: recent}, "new")
}

// TestFollowFromEnd also follows a table whose topic is made only later: that one is read whole.
func TestFollowFromEnd(t *testing.T) {
	w := newWorld(t)
	w.createTopic("shop.public.orders")
	w.produce(kgo.TryCommit, "shop.public.orders", time.Now(), "before")
	got := make(chan string, 1)
	done := make(chan error, 1)
	go func() {
		cfg := Config{Brokers: w.brokers, Prefix: "shop", Tables: []string{"orders", "public.customers"}}
		done <- Follow(w.ctx, cfg, func(e Event) error {
			if string(e.Value) == "late" {
				return errEnough
			}
			if len(got) == 0 {
				got <- string(e.Value)
			}
			return nil
		})
	}()
	for len(got) == 0 && w.ctx.Err() == nil { // nobody else tells when it has found the end
		w.produce(kgo.TryCommit, "shop.public.orders", time.Now(), "after")
	}
	select {
	case first := <-got:
		if first != "after" {
			t.Errorf("the first event is %q, want none from before", first)
		}
	case err := <-done:
		t.Fatalf("Follow ended early: %v", err)
	}
	w.createTopic("shop.public.customers")
	w.produce(kgo.TryCommit, "shop.public.customers", time.Now(), "late")
	if err := <-done; !errors.Is(err, errEnough) {
		t.Errorf("the new topic was not read: %v", err)
	}
}

func TestFollowStops(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(w.ctx)
	w.createTopic("shop.audit")
	w.produce(kgo.TryCommit, "shop.audit", time.Now(), "first")
	err := Follow(ctx, Config{Brokers: w.brokers, Prefix: "shop", From: Beginning}, func(Event) error { cancel(); return nil })
	if err != nil {
		t.Errorf("the end of the context is an error: %v", err)
	}
}

func TestFrom(t *testing.T) {
	for text, want := range map[string]From{
		"beginning":            Beginning,
		"end":                  {},
		"2025-01-31T12:00:00Z": {time: time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)},
	} {
		var got From
		if err := got.UnmarshalText([]byte(text)); err != nil || !got.time.Equal(want.time) || got.beginning != want.beginning {
			t.Errorf("%s = %v, error %v", text, got, err)
		}
	}
	for _, text := range []string{"", "tomorrow", "-5m", "2025-01-31"} {
		if err := new(From).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}
