package shop

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

// TestCompareSeesWhatIsWrong lets the staff work on a bare server, publishes the ledger itself as
// events, and then spoils the topics in one way after the other.
func TestCompareSeesWhatIsWrong(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	server := openShop(ctx, t)
	broker, err := embedded.StartBroker(embedded.BrokerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	records := eventsOf(ctx, t, server.URL(Database))

	for _, test := range []struct {
		name  string
		spoil func([]*kgo.Record) []*kgo.Record
		want  Result // beside transactions and events
	}{
		{"nothing", func(all []*kgo.Record) []*kgo.Record { return all }, Result{}},
		{"one lost", func(all []*kgo.Record) []*kgo.Record { return all[1:] }, Result{Lost: 1}},
		{"one twice", func(all []*kgo.Record) []*kgo.Record { return append(all[:1:1], all...) }, Result{Duplicated: 1}},
		{"a transaction lost in the audit", func(all []*kgo.Record) []*kgo.Record { return all[:len(all)-1] }, Result{Lost: 1}},
		{"a transaction twice in the audit", func(all []*kgo.Record) []*kgo.Record { return append(all, all[len(all)-1]) }, Result{Duplicated: 1}},
		{"a transaction of nobody", func(all []*kgo.Record) []*kgo.Record {
			last := len(all) - 1
			return append(all[:last:last], &kgo.Record{Topic: ".audit", Value: bytes.Replace(all[last].Value, []byte("true"), []byte("false"), 1)})
		}, Result{Unattributed: 1}},
		{"one of nobody", func(all []*kgo.Record) []*kgo.Record {
			return append([]*kgo.Record{altered(all[0], "verified", false)}, all[1:]...)
		}, Result{Unattributed: 1}},
		{"one of another", func(all []*kgo.Record) []*kgo.Record {
			return append([]*kgo.Record{altered(all[0], "session", map[string]string{"user": "mallory"})}, all[1:]...)
		}, Result{Unattributed: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			prefix := fmt.Sprintf("test%d", time.Now().UnixNano())
			publish(ctx, t, broker.Address(), prefix, test.spoil(records))
			got, err := Compare(ctx, server.URL(Database), []string{broker.Address()}, prefix)
			if err != nil {
				t.Fatal(err)
			}
			if got.Transactions < 10 || got.Events < 30 {
				t.Errorf("only %d transactions and %d events", got.Transactions, got.Events)
			}
			if want := (Result{got.Transactions, got.Events, test.want.Lost, test.want.Duplicated, test.want.Unattributed}); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			if got.Good() != (test.want == Result{}) {
				t.Errorf("Good() = %v for %s", got.Good(), got)
			}
		})
	}
}

// openShop starts a server with the shop in it, and stops when the staff has made 40 row changes.
func openShop(ctx context.Context, t *testing.T) *embedded.Postgres {
	t.Helper()
	server, err := embedded.NewPostgres(ctx, embedded.PostgresConfig{Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Remove() })
	address := Address{HostPort: server.Address(), Password: "secret"}
	for _, step := range []func() error{
		func() error { return server.Start(ctx) },
		func() error { return Create(ctx, server.URL, "secret") },
		func() error { return Migrate(ctx, address) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	working, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- Work(working, address) }()
	for count(ctx, t, server.URL(Database), "SELECT count(*) FROM ledger.history") < 60 {
		select {
		case err := <-done:
			t.Fatalf("the staff went home early: %v", err)
		default:
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return server
}

func count(ctx context.Context, t *testing.T, connString, sql string) (n int) {
	t.Helper()
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// eventsOf makes a Debezium-shaped record of each entry of the history.
func eventsOf(ctx context.Context, t *testing.T, connString string) (records []*kgo.Record) {
	t.Helper()
	conn, err := pgx.Connect(ctx, connString)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, "SELECT tab, op, image, user_name, application FROM ledger.history ORDER BY at DESC, xid")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, op, user, application string
		var image json.RawMessage
		if err := rows.Scan(&table, &op, &image, &user, &application); err != nil {
			t.Fatal(err)
		}
		side := map[string]string{"d": "before"}[op]
		if side == "" {
			side = "after"
		}
		value := fmt.Sprintf(`{"op":%q,%q:%s,"pgtee":{"session":{"user":%q,"application":%q},"verified":true}}`, op, side, image, user, application)
		records = append([]*kgo.Record{{Topic: ".public." + table, Value: []byte(value)}}, records...)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return append(records, auditOf(ctx, t, conn)...)
}

// auditOf makes an audit record of each transaction of the history.
func auditOf(ctx context.Context, t *testing.T, conn *pgx.Conn) (records []*kgo.Record) {
	t.Helper()
	rows, err := conn.Query(ctx, "SELECT DISTINCT xid::text FROM ledger.history")
	if err != nil {
		t.Fatal(err)
	}
	xids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, xid := range xids {
		records = append(records, &kgo.Record{Topic: ".audit", Value: fmt.Appendf(nil, `{"xid":%s,"verified":true}`, xid)})
	}
	return records
}

// altered is a copy of an event with another value in its pgtee block.
func altered(record *kgo.Record, key string, to any) *kgo.Record {
	var value map[string]any
	_ = json.Unmarshal(record.Value, &value)
	value["pgtee"].(map[string]any)[key] = to
	text, _ := json.Marshal(value)
	return &kgo.Record{Topic: record.Topic, Value: text}
}

// publish writes the records in one transaction, after an aborted one of the same contents.
func publish(ctx context.Context, t *testing.T, broker, prefix string, records []*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.TransactionalID(prefix))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	topics := []string{".audit"}
	for _, table := range Tables {
		topics = append(topics, ".public."+table)
	}
	for _, topic := range topics {
		if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, 1, nil, prefix+topic); err != nil {
			t.Fatal(err)
		}
	}
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if err := client.ProduceSync(ctx, &kgo.Record{Topic: prefix + r.Topic, Value: r.Value}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := client.EndTransaction(ctx, end); err != nil {
			t.Fatal(err)
		}
	}
}
