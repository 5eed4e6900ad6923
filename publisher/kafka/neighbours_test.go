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

// A renamed database goes on where its publisher stopped, without a repair: the id with its former name is shut out, and its record goes.
func TestRenamedDatabase(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	ends := map[uint32]outbox.LSN{}
	publish := func(name string, oid uint32) error {
		t.Helper()
		cfg.Database, cfg.Prefix = name, "shop"
		source := queueOf()
		source.system.DatabaseOID, source.system.Database = oid, name
		if ends[oid] > 0 { // what the slot sends again
			source.system.ConfirmedFlush = ends[oid]
			source.queue = append(source.queue, rowEnding(ends[oid]))
		}
		ends[oid] += 100
		source.queue = append(source.queue, rowEnding(ends[oid]))
		_, err := publishSource(t, cfg, blockFormat{}, source, ends[oid])
		if err != nil {
			ends[oid] -= 100
		}
		return err
	}
	must := func(name string, oid uint32) {
		t.Helper()
		if err := publish(name, oid); err != nil {
			t.Fatal(err)
		}
	}
	must("orders", 5)
	predecessor := newLog(cfg)
	defer predecessor.Close()
	mustFence(t, predecessor)
	must("sales", 5)
	if err := predecessor.Publish(t.Context(), &record.Batch{}, testPosition(150)); !errors.Is(err, halt.ErrFenced) {
		t.Errorf("a publisher with the former name goes on: %v", err)
	}
	cfg.Database = "orders"
	if p, err := LastPosition(t.Context(), cfg); err != nil || p.Position != nil {
		t.Errorf("the former name still has the position %v, %v", p.Position, err)
	}
	cfg.Database = "sales"
	if p, err := LastPosition(t.Context(), cfg); err != nil || p.Position == nil || p.EndLSN != 200 || p.Database != "sales" {
		t.Errorf("the new name has the position %+v, %v", p.Position, err)
	}
	must("orders", 5) // back again
	committed(t, cfg.Brokers, "shop.s.t", 3)
}

// Databases that have exchanged their names are told so, and none loses its position.
func TestDatabasesThatExchangeNames(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	publish := func(name string, system outbox.System, end outbox.LSN) *publisher.Position {
		t.Helper()
		cfg.Database = name
		l := newLog(cfg)
		defer l.Close()
		p, err := l.Fence(t.Context(), system)
		if err != nil {
			t.Fatal(err)
		}
		if end > 0 {
			next := testPosition(end)
			next.DatabaseOID, next.Database = system.DatabaseOID, name
			mustPublish(t, l, testBatch("shop.s.t", "1"), next)
		}
		return p
	}
	five, six := outbox.System{ID: "7300", DatabaseOID: 5}, outbox.System{ID: "7300", DatabaseOID: 6}
	publish("a", five, 100)
	publish("b", six, 200)
	if p := publish("b", five, 0); p == nil || p.DatabaseOID != 6 {
		t.Errorf("before the exchange is resolved: %+v", p)
	}
	if p := publish("c", five, 110); p == nil || p.EndLSN != 100 {
		t.Errorf("under a third name: %+v", p)
	}
	if p := publish("a", six, 210); p == nil || p.EndLSN != 200 {
		t.Errorf("the other one: %+v", p)
	}
	if p := publish("b", five, 120); p == nil || p.EndLSN != 110 {
		t.Errorf("under its new name: %+v", p)
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
