package consume

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A transaction that is open at the start is consumed whole once it commits: --from end is before it.
func TestFromEndOfAnOpenTransaction(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.TransactionalID("writer"), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	write := func(commit bool) {
		t.Helper()
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		if err := client.ProduceSync(t.Context(), kgo.StringRecord("x"), kgo.StringRecord("y")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if commit {
			if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(true) // offsets 0 and 1, and the end of the transaction
	write(false)
	offsets, err := Start{end: true}.resolve(t.Context(), kadm.NewClient(client), &topic{name: "orders"}, true)
	if err != nil || offsets[0] != 3 {
		t.Errorf("starts at %v (%v), want offset 3", offsets, err)
	}
}
