package integration

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Requests through Kafka need no connection to the database and leave nothing in it; each is obeyed once, though the publisher
// is killed after it.
func TestSignalTopic(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Exec(requestSchema)
	r.Setup()
	topic := r.prefix + ".signal"
	ask := func(code int, text string, args ...string) {
		t.Helper()
		nowhere := "postgres://nobody@127.0.0.1:1/" + r.database
		args = append([]string{"snapshot", "start", "--postgres", nowhere, "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot, "--signal-topic", topic}, args...)
		if out, got := r.Pgtee(args...); got != code || !strings.Contains(out, text) {
			t.Errorf("pgtee %q exits with %d, want %d and %q:\n%s", args, got, code, text, out)
		}
	}
	ask(2, "start the publisher with --signal-topic", "--table", "public.orders")
	args := append(r.publishArgs(), "--signal-topic", topic)
	r.publisher = r.process("publish", args...)
	r.awaitProgress(`"signals":{"topic":"` + topic + `","next":0}`)
	ask(0, "one finished: 200 rows of 1 tables", "--table", "public.orders", "--where", "state = 'it''s new'", "--id", "one", "--wait")
	ask(1, "stopped: no published table matches public.misspelt", "--table", "public.misspelt", "--wait")
	ask(2, "use 1 to 100 letters", "--table", "public.orders", "--id", "a b")
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Address))
	r.must(err)
	defer client.Close()
	const debezium = `{"type": "execute-snapshot", "data": {"data-collections": ["public.orders"], "type": "INCREMENTAL"}}`
	for _, key := range []string{"other", r.prefix} {
		r.must(client.ProduceSync(r.ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(debezium)}).FirstErr())
	}
	r.AwaitSnapshots("kafka-3")
	r.Kill(r.publisher)
	r.publisher = r.process("publish", args...)
	ask(0, "two finished: 2,000 rows", "--table", "public.orders", "--id", "two", "--wait")
	if got := len(r.copiedRows(r.Topic("public.orders"), "r")); got != 4200 {
		t.Errorf("%d rows copied, want 4200", got)
	}
}
