package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/kafka"
)

// granted are ACLs that allow operations on the topics shop.*, and everything on transactional ids.
func granted(operations ...kmsg.ACLOperation) []kfake.ACL {
	acls := []kfake.ACL{{Resource: kmsg.ACLResourceTypeTransactionalId, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationAll, Allow: true}}
	for _, operation := range operations {
		acls = append(acls, kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "shop.", Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: operation, Allow: true})
	}
	return acls
}

// TestPrivileges: each privilege that the publisher lacks is found, and nothing is found if it has all of them.
func TestPrivileges(t *testing.T) {
	const read, write, create, describe, configs = kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs
	own := []string{"shop.progress", "shop.audit", "shop.public.orders"}
	onIDs := func(operations ...kmsg.ACLOperation) (acls []kfake.ACL) {
		for _, operation := range operations {
			acls = append(acls, kfake.ACL{Resource: kmsg.ACLResourceTypeTransactionalId, Name: "pgtee-", Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: operation, Allow: true})
		}
		return append(acls, granted(read, write, create, configs)[1:]...)
	}
	for name, test := range map[string]struct {
		topics []string
		acls   []kfake.ACL
		want   []string // severity and text of the findings
	}{
		"ids":             {own, onIDs(describe, write), nil},
		"no WRITE on ids": {own, onIDs(describe), []string{"problem the user lacks WRITE on transactional id pgtee-"}},
		"no ids":          {own, onIDs(), []string{"problem the user lacks DESCRIBE on transactional id pgtee-"}},
		"heartbeats":      {append(own, "__debezium-heartbeat.shop"), granted(read, write, create, configs), []string{"problem the user may not see topic __debezium-heartbeat.shop"}},
		"all":             {own, granted(read, write, create, configs), nil},
		"all, no topics":  {nil, granted(read, write, create, configs), []string{"warning there are no topics shop.* yet"}},
		"no WRITE":        {own, granted(read, create, configs), []string{"problem the user lacks WRITE on topic shop.audit and 2 more"}},
		"no READ":         {own, granted(write, create, configs), []string{"problem the user lacks READ on topic shop.audit and 2 more"}},
		"only DESCRIBE":   {own[:1], granted(describe, create, configs), []string{"problem the user lacks READ, WRITE on topic shop.progress"}},
		"no CREATE":       {own, granted(read, write, configs), []string{"warning the user may not create topics"}},
		"no CREATE yet":   {nil, granted(read, write, configs), []string{"problem the user may not create topics", "warning there are no topics"}},
		"nothing is seen": {own, granted(create), []string{"problem the user may not see topic shop.audit and 6 more: whether they exist is not known"}},
	} {
		t.Run(name, func(t *testing.T) {
			options := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.User("PLAIN", "pgtee", "pw", test.acls...), kfake.Superuser("PLAIN", "admin", "pw")}
			if test.topics != nil {
				options = append(options, kfake.SeedTopics(1, test.topics...))
			}
			cluster, err := kfake.NewCluster(options...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			cfg := kafka.Config{Brokers: cluster.ListenAddrs(), KafkaOptions: []kgo.Opt{kgo.SASL(saslplain.Auth{User: "pgtee", Pass: "pw"}.AsMechanism())},
				Config: publisher.Config{Prefix: "shop", Database: "orders", Slot: "pgtee"}}
			cfg.TransactionTimeout = time.Minute
			if name == "heartbeats" {
				cfg.Heartbeat = time.Second
			}
			found, err := Kafka(t.Context(), cfg, outbox.System{})
			if err != nil {
				t.Fatal(err)
			}
			found = slices.DeleteFunc(found, func(f outbox.Finding) bool { return f.ID == "topic-not-durable" || f.ID == "progress-topic" }) // of the seeded topics
			var got []string
			for _, f := range found {
				got = append(got, f.Severity.String()+" "+f.Text)
			}
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("found are %q, want %q", got, test.want)
			}
		})
	}
}

// TestPositions: what the publisher would halt at because of the positions under its prefix is found before it starts.
func TestPositions(t *testing.T) {
	origin := outbox.System{ID: "7001", DatabaseOID: 5, Database: "orders", ConfirmedFlush: 200}
	const id = "pgtee-shop-orders-pgtee"
	for name, test := range map[string]struct {
		recorded map[string]publisher.Position
		origin   outbox.System
		want     []string // id and text of the findings
	}{
		"nothing":           {nil, origin, nil},
		"its own":           {map[string]publisher.Position{id: {SystemID: "7001", DatabaseOID: 5, Slot: "pgtee"}}, origin, nil},
		"its former name":   {map[string]publisher.Position{"pgtee-shop-former-pgtee": {SystemID: "7001", DatabaseOID: 5, Slot: "pgtee", Database: "former"}}, origin, nil},
		"another database":  {map[string]publisher.Position{"pgtee-shop-sales-s": {SystemID: "7001", DatabaseOID: 6, Slot: "s", Database: "sales"}}, origin, []string{"prefix-taken the prefix belongs to another database: topics shop.* are those of database sales (slot s)"}},
		"another slot":      {map[string]publisher.Position{"pgtee-shop-orders-s": {SystemID: "7001", DatabaseOID: 5, Slot: "s", Database: "orders", EndLSN: 100}}, origin, []string{"transactions-lost"}},
		"another server":    {map[string]publisher.Position{id: {SystemID: "7002", DatabaseOID: 5, Slot: "pgtee"}}, origin, []string{"other-server"}},
		"a former database": {map[string]publisher.Position{id: {SystemID: "7001", DatabaseOID: 4, Slot: "pgtee"}}, origin, []string{"other-database"}},
		"shared": {map[string]publisher.Position{id: {SystemID: "7001", DatabaseOID: 5, Slot: "pgtee"}, "pgtee-shop-sales-s": {SystemID: "7001", DatabaseOID: 6, Slot: "s", Database: "sales"}}, origin,
			[]string{"prefix-shared database sales (slot s) publishes under prefix shop as well"}},
		"not known": {map[string]publisher.Position{"pgtee-shop-sales-s": {SystemID: "7001", DatabaseOID: 6, Slot: "s"}}, outbox.System{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "shop.progress"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			for key, position := range test.recorded {
				position.Version, position.Timeline = 1, 1
				value, err := position.Marshal()
				if err != nil {
					t.Fatal(err)
				}
				if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.progress", Key: []byte(key), Value: value}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			cfg := kafka.Config{Brokers: cluster.ListenAddrs(), Config: publisher.Config{Prefix: "shop", Database: "orders", Slot: "pgtee"}}
			cfg.TransactionTimeout = time.Minute
			found, err := Kafka(t.Context(), cfg, test.origin)
			if err != nil {
				t.Fatal(err)
			}
			found = slices.DeleteFunc(found, func(f outbox.Finding) bool { return f.ID == "topic-not-durable" || f.ID == "progress-topic" })
			var got []string
			for _, f := range found {
				got = append(got, f.ID+" "+f.Text)
				if f.Repair == "" {
					t.Errorf("%s has no repair", f.ID)
				}
			}
			if !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("found are %q, want %q", got, test.want)
			}
		})
	}
}
