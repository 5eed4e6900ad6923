package integration

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

// The witness must tell apart what committed, what was aborted and what is still open, or it would
// find nothing wrong with a program that shows aborted work.
func TestWitnessTellsFates(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const topic = "witness"
	createTopic(t, ctx, topic, 2)
	first := transactionalProducer(t, topic+"-1")
	produce(t, ctx, first, topic, kgo.TryCommit, "c1", "c2")
	produce(t, ctx, first, topic, kgo.TryAbort, "a1", "a2")
	produce(t, ctx, first, topic, kgo.TryCommit, "c3")
	second := transactionalProducer(t, topic+"-2")
	if err := second.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	send(t, ctx, second, topic, "o1")
	produce(t, ctx, first, topic, kgo.TryCommit, "c4")

	want := map[string]verdict.Fate{"c1 c1": verdict.Committed, "c2 c2": verdict.Committed, "c3 c3": verdict.Committed, "c4 c4": verdict.Committed,
		"a1 a1": verdict.Aborted, "a2 a2": verdict.Aborted, "o1 o1": verdict.Open}
	err := harness.Eventually(20*time.Second, func(context.Context) error { // markers follow the answer to EndTxn
		got := map[string]verdict.Fate{}
		for _, r := range readTopic(t, topic) {
			got[fmt.Sprintf("%s %s", r.Key, r.Headers["n"])] = r.Fate
		}
		if !maps.Equal(got, want) {
			return fmt.Errorf("fates are %v, want %v", got, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func createTopic(t *testing.T, ctx context.Context, topic string, partitions int32) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(must(t, sharedBroker).Address))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(ctx, partitions, 1, nil, topic); err != nil {
		t.Fatal(err)
	}
}

func transactionalProducer(t *testing.T, id string) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(must(t, sharedBroker).Address), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func produce(t *testing.T, ctx context.Context, client *kgo.Client, topic string, end kgo.TransactionEndTry, values ...string) {
	t.Helper()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	send(t, ctx, client, topic, values...)
	if err := client.EndTransaction(ctx, end); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, ctx context.Context, client *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Key: []byte(v), Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "n", Value: []byte(v)}}}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func readTopic(t *testing.T, topic string) []verdict.Record {
	t.Helper()
	topics, err := verdict.Read(must(t, sharedBroker).Address, verdict.Only(topic))
	if err != nil {
		t.Fatal(err)
	}
	return topics[topic]
}
