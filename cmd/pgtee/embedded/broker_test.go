package embedded

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func client(t *testing.T, b *Broker, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(options, kgo.SeedBrokers(b.Address()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestBrokerKeepsCommittedRecords writes one committed and one aborted transaction, and reads the
// topic from a second broker on the same folder.
func TestBrokerKeepsCommittedRecords(t *testing.T) {
	dir := t.TempDir()
	first, err := StartBroker(BrokerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, time.Minute)
	producer := client(t, first, kgo.TransactionalID("test"))
	if _, err := kadm.NewClient(producer).CreateTopic(ctx, 1, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	for value, end := range map[string]kgo.TransactionEndTry{"kept": kgo.TryCommit, "dropped": kgo.TryAbort} {
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := producer.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := producer.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
	producer.Close()
	first.Close()

	second, err := StartBroker(BrokerConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	consumer := client(t, second, kgo.ConsumeTopics("orders"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ends, err := kadm.NewClient(consumer).ListCommittedOffsets(ctx, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup("orders", 0); end.Offset != 4 { // two records, two markers
		t.Errorf("the topic ends at %d, want 4", end.Offset)
	}
	fetched := consumer.PollFetches(ctx)
	if records := fetched.Records(); fetched.Err() != nil || len(records) != 1 || string(records[0].Value) != "kept" {
		t.Errorf("read %v, error %v, want the one committed record", records, fetched.Err())
	}
}
