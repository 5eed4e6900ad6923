package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// A batch that would become large when it is decompressed is skipped, and the signals behind it are read.
func TestSignalsBehindALargeBatch(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	cfg.SignalTopic, cfg.ReplicationFactor, cfg.Log = "signals", 1, zap.NewNop()
	mustCreate(t, cfg.Brokers, cfg.SignalTopic, 1, nil)
	writer := testClient(t, cfg.Brokers, kgo.DefaultProduceTopic(cfg.SignalTopic), kgo.ProducerBatchMaxBytes(40<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	for _, value := range [][]byte{make([]byte, 32<<20), []byte("{}")} {
		if err := writer.ProduceSync(t.Context(), &kgo.Record{Key: []byte(cfg.Prefix), Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	signals, _, err := (&Log{cfg: cfg}).OpenSignals(t.Context(), &snapshot.SignalPlace{Topic: cfg.SignalTopic})
	if err != nil {
		t.Fatal(err)
	}
	defer signals.Close()
	var taken []publisher.QueuedSignal
	for deadline := time.Now().Add(10 * time.Second); len(taken) == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		taken = signals.Take()
	}
	if len(taken) != 1 || taken[0].Next != 2 {
		t.Errorf("signals: %+v, want the one behind the large batch only", taken)
	}
}

// Batches that become large when they are decompressed are received one after the other.
func TestSignalsInLargeBatches(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	cfg.SignalTopic = "signals"
	mustCreate(t, cfg.Brokers, cfg.SignalTopic, 1, nil)
	writer := testClient(t, cfg.Brokers, kgo.DefaultProduceTopic(cfg.SignalTopic), kgo.ProducerBatchMaxBytes(40<<20), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	const batches = 10
	for range batches {
		if err := writer.ProduceSync(t.Context(), &kgo.Record{Value: make([]byte, maxSignalBatchBytes-1<<10)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := cfg.signalReader()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	reader.AddConsumePartitions(map[string]map[int32]kgo.Offset{cfg.SignalTopic: {0: kgo.NewOffset().AtStart()}})
	for read := 0; read < batches; {
		records := reader.PollFetches(t.Context()).Records()
		if read += len(records); len(records) > 1 {
			t.Fatalf("one response has %d batches", len(records))
		}
	}
}

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
