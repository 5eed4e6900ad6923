package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A signal whose transaction is open when a publisher reads the topic for the first time is not passed over.
func TestSignalsOfAnOpenTransaction(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	cfg.SignalTopic, cfg.ReplicationFactor = "signals", 1
	mustCreate(t, cfg.Brokers, cfg.SignalTopic, 1, nil)
	writer := testClient(t, cfg.Brokers, kgo.TransactionalID("writer"), kgo.DefaultProduceTopic(cfg.SignalTopic))
	if err := writer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := writer.ProduceSync(t.Context(), kgo.StringRecord("{}")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	place, err := cfg.signalPlace(t.Context(), testClient(t, cfg.Brokers), nil)
	if err != nil || place.Next != 0 {
		t.Errorf("starts at %+v (%v), want offset 0", place, err)
	}
}
