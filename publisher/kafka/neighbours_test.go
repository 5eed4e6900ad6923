package kafka

import (
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
)

// A publisher of a former version is shut out, its position is inherited, and its record goes: none such goes on from there.
func TestFormerTransactionalIDIsInherited(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	cfg.Database = "orders-eu"
	former := cfg.FormerTransactionalID()
	old := testClient(t, cfg.Brokers, kgo.TransactionalID(former))
	mustFence(t, newLog(Config{Brokers: cfg.Brokers, Config: publisher.Config{Prefix: cfg.Prefix, Database: "other", Slot: "o"}}.withDefaults())) // makes the topic
	write := func(p publisher.Position) error {
		value, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := old.BeginTransaction(); err != nil {
			return err
		}
		if err := old.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.progress", Key: []byte(former), Value: value}).FirstErr(); err != nil {
			return err
		}
		return old.EndTransaction(t.Context(), kgo.TryCommit)
	}
	position := testPosition(100)
	position.Database = "orders-eu"
	if err := write(position); err != nil {
		t.Fatal(err)
	}
	if p, err := LastPosition(t.Context(), cfg); err != nil || p.Position == nil || p.EndLSN != 100 {
		t.Errorf("status sees %v, %v", p, err)
	}
	l := newLog(cfg)
	defer l.Close()
	if p := mustFence(t, l); p == nil || p.EndLSN != 100 {
		t.Fatalf("position %v, want 100", p)
	}
	position.EndLSN = 150
	if err := write(position); !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) {
		t.Errorf("the predecessor goes on: %v", err)
	}
	position.EndLSN = 200
	mustPublish(t, l, &record.Batch{}, position)
	if p := mustFence(t, l); p == nil || p.EndLSN != 200 || len(l.Others()) != 0 {
		t.Errorf("position %v beside %v", p, l.Others())
	}
	// a neighbour whose id was the same has none of it
	cfg.Prefix, cfg.Database = "shop", "orders"
	cfg.Slot = "eu-pgtee"
	if p := mustFence(t, newLog(cfg)); p != nil {
		t.Errorf("a neighbour inherits %v", p)
	}
}

// A database that comes to the prefix of another one is told so before it publishes anything, until the operator gives it the
// prefix; the other one is told then.
func TestPrefixOfAnotherDatabase(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	first, second := queueOf(rowEnding(108)), queueOf(rowEnding(108))
	second.system.DatabaseOID = 99
	publishFrom := func(cfg Config, source *queueSource) error {
		_, err := publishSource(t, cfg, blockFormat{}, source, 108)
		return err
	}
	if err := publishFrom(cfg, first); err != nil {
		t.Fatal(err)
	}
	other := cfg
	other.Database = "stock"
	err := publishFrom(other, second)
	if !errors.Is(err, halt.ErrPrefixTaken) || !strings.Contains(err.Error(), "another --prefix") || !strings.Contains(err.Error(), "repair --accept-divergence") {
		t.Fatal(err)
	}
	repairer, err := publisher.New(other.Config, openOf(second), newLog(other), blockFormat{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repairer.Repair(t.Context(), publisher.ResyncNone); err != nil {
		t.Fatal(err)
	}
	second.queue = []*outbox.Transaction{rowEnding(208)}
	if _, err := publishSource(t, other, blockFormat{}, second, 208); err != nil {
		t.Errorf("after repair: %v", err)
	}
	first.queue, first.system.ConfirmedFlush = []*outbox.Transaction{rowEnding(208)}, 108
	if _, err := publishSource(t, cfg, blockFormat{}, first, 208); !errors.Is(err, halt.ErrPrefixTaken) && !errors.Is(err, halt.ErrProgressLost) {
		t.Errorf("the database that was there before goes on: %v", err)
	}
}

// Another slot of the database lacks what was written after the first one: it halts until a repair publishes the tables again and takes the topics
// over.
func TestAnotherSlotOfTheDatabase(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	if _, err := publishSource(t, cfg, blockFormat{}, queueOf(rowEnding(108)), 108); err != nil {
		t.Fatal(err)
	}
	second := cfg
	second.Slot = "second"
	source := queueOf(rowEnding(308))
	source.system.ConfirmedFlush, source.system.ConsistentPoint = 200, 200
	if _, err := publishSource(t, second, blockFormat{}, source, 308); !errors.Is(err, halt.ErrGap) || !strings.Contains(err.Error(), "slot "+cfg.Slot) {
		t.Fatal(err)
	}
	repairer, err := publisher.New(second.Config, openOf(source), newLog(second), blockFormat{})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := repairer.Repair(t.Context(), publisher.ResyncLost); err != nil || r.ID == "" || len(r.Only) > 0 {
		t.Fatalf("repair: %+v, %v", r, err)
	}
	l := newLog(second)
	defer l.Close()
	if p := mustFence(t, l); p == nil || p.EndLSN != 200 || len(l.Others()) != 0 {
		t.Errorf("position %v beside %v", p, l.Others())
	}
}
