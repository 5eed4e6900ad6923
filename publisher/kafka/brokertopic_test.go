package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// publishAll runs a publisher until Kafka holds the transactions, and returns it, or the error that stops it.
func publishAll(t *testing.T, cfg Config, format record.Format, transactions ...*outbox.Transaction) (*publisher.Publisher, error) {
	t.Helper()
	return publishSource(t, cfg, format, queueOf(transactions...), transactions[len(transactions)-1].EndLSN)
}

func openOf(source publisher.Source) func(context.Context) (publisher.Source, error) {
	return func(context.Context) (publisher.Source, error) { return source, nil }
}

func publishSource(t *testing.T, cfg Config, format record.Format, source publisher.Source, last outbox.LSN) (*publisher.Publisher, error) {
	t.Helper()
	p, err := publisher.New(cfg.Config, openOf(source), newLog(cfg), format)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for p.Stats().Acked < last {
		select {
		case err := <-done:
			if err == nil {
				t.Fatalf("nothing is published within the time: %+v", p.Stats())
			}
			return p, err
		case <-time.After(time.Millisecond):
		}
	}
	cancel()
	return p, <-done
}

func mustCreate(t *testing.T, brokers []string, topic string, partitions int32, configs map[string]string) {
	t.Helper()
	all := map[string]*string{}
	for name, value := range configs {
		all[name] = kadm.StringPtr(value)
	}
	if _, err := kadm.NewClient(testClient(t, brokers)).CreateTopic(t.Context(), partitions, 1, all, topic); err != nil {
		t.Fatal(err)
	}
}

// keylessFormat has a record without a key for each change; that of TRUNCATE goes everywhere.
type keylessFormat struct{ blockFormat }

func (keylessFormat) Append(ctx context.Context, b *record.Batch, tx *outbox.Transaction, i int) error {
	from := len(b.Buf)
	b.Buf = append(b.Buf, byte(tx.Changes[i].Op))
	b.Add("shop.public.docs", record.Null, from)
	if tx.Changes[i].Op == outbox.Truncate {
		b.Everywhere()
	}
	return nil
}

func docsChange(end outbox.LSN, ops ...outbox.Op) *outbox.Transaction {
	tx := &outbox.Transaction{XID: 7, CommitLSN: end - 8, EndLSN: end}
	for n, op := range ops {
		tx.Changes = append(tx.Changes, outbox.Change{Op: op, Note: -1, Ordinal: n, Relation: docsTable('d')})
	}
	return tx
}

// A record without a key has one of its own where Kafka compacts the topic, and only there. TRUNCATE is in each partition,
// once, the rest of what has no key in the first.
func TestRecordsWithoutKey(t *testing.T) {
	for _, policy := range []string{"delete", "compact", "compact,delete"} {
		cfg := testCluster(fakeKafka(t).ListenAddrs())
		mustCreate(t, cfg.Brokers, "shop.public.docs", 3, map[string]string{"cleanup.policy": policy})
		if _, err := publishAll(t, cfg, keylessFormat{}, docsChange(108, outbox.Insert, outbox.Truncate, outbox.Insert)); err != nil {
			t.Fatal(err)
		}
		var got []string
		keys := map[string]bool{}
		for _, r := range committed(t, cfg.Brokers, "shop.public.docs", 5) {
			id := string(eventIDOf(r.Headers))
			got = append(got, fmt.Sprintf("%d %s %s", r.Partition, r.Value, id[strings.LastIndex(id, "/")+1:]))
			keys[string(r.Key)] = true
			if (r.Key != nil) != (policy != "delete") || r.Key != nil && string(r.Key) != id {
				t.Errorf("%s: record %s has key %q", policy, id, r.Key)
			}
		}
		slices.Sort(got)
		if want := []string{"0 I 0", "0 I 2", "0 T 1", "1 T 1.1", "2 T 1.2"}; !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", policy, got, want)
		}
		if policy != "delete" && len(keys) != 5 {
			t.Errorf("%s: %d keys", policy, len(keys))
		}
	}
}

// refuseRecords has a topic refuse records so many times, and returns how many it has refused.
func refuseRecords(cluster *kfake.Cluster, topic string, times int64) *atomic.Int64 {
	refused := &atomic.Int64{}
	cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		produce := request.(*kmsg.ProduceRequest)
		response := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, sent := range produce.Topics {
			if sent.Topic != topic || refused.Load() >= times {
				continue // it is sent again
			}
			answered := kmsg.ProduceResponseTopic{Topic: sent.Topic, TopicID: sent.TopicID}
			for _, partition := range sent.Partitions {
				answered.Partitions = append(answered.Partitions, kmsg.ProduceResponseTopicPartition{Partition: partition.Partition, ErrorCode: kerr.InvalidRecord.Code})
			}
			response.Topics = append(response.Topics, answered)
		}
		refused.Add(int64(len(response.Topics)))
		return response, nil, len(response.Topics) > 0
	})
	return refused
}

// A topic that has become compacted, or whose settings must not be asked, refuses records without a key: they get one.
func TestTopicThatTurnsOutToBeCompacted(t *testing.T) {
	cluster := fakeKafka(t)
	refused := refuseRecords(cluster, "shop.public.docs", 1)
	cfg := testCluster(cluster.ListenAddrs())
	if _, err := publishAll(t, cfg, keylessFormat{}, docsChange(108, outbox.Insert)); err != nil {
		t.Fatal(err)
	}
	if r := committed(t, cfg.Brokers, "shop.public.docs", 1)[0]; r.Key == nil || refused.Load() == 0 {
		t.Errorf("key %q after %d refusals", r.Key, refused.Load())
	}
}

// A partition that is added while the publisher runs has its TRUNCATE, too.
func TestTruncateOfATopicThatGrows(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	defer l.Close()
	mustFence(t, l)
	truncate := func() *record.Batch {
		b := record.NewBatch("7300", "pgtee")
		b.Buf = append(b.Buf, 'T')
		b.Add("shop.public.docs", record.Null, 0)
		b.Everywhere()
		return b
	}
	mustPublish(t, l, truncate(), testPosition(100))
	if _, err := kadm.NewClient(testClient(t, cfg.Brokers)).CreatePartitions(t.Context(), 2, "shop.public.docs"); err != nil {
		t.Fatal(err)
	}
	if err := l.Publish(t.Context(), truncate(), testPosition(200)); err == nil || halt.FateOf(err) != halt.Retry {
		t.Fatalf("new partitions are not noticed: %v", err)
	}
	if p := mustFence(t, l); p.EndLSN != 100 {
		t.Fatalf("position %v", p)
	}
	mustPublish(t, l, truncate(), testPosition(200))
	committed(t, cfg.Brokers, "shop.public.docs", 4)
}

// incompressible is a text of n bytes that takes as many when it is compressed, nearly.
func incompressible(n int) string {
	random := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, n)
	for i := range text {
		text[i] = byte(random.Uint32())
	}
	return string(text)
}

// docsRow is a row with one long value.
func docsRow(end outbox.LSN, body int) *outbox.Transaction {
	tx := docsChange(end, outbox.Insert)
	tx.Changes[0].New = textTuple("7", "t", incompressible(body), "m")
	return tx
}

// The limit of a topic counts where it is lower than that of the publisher, whether it can be asked or not.
func TestTopicThatTakesLess(t *testing.T) {
	for name, prepare := range map[string]func(*kfake.Cluster){
		"told":     func(*kfake.Cluster) {},
		"not told": func(c *kfake.Cluster) { hideConfigs(c) },
	} {
		t.Run(name, func(t *testing.T) {
			cluster := fakeKafka(t)
			prepare(cluster)
			cfg := testCluster(cluster.ListenAddrs())
			mustCreate(t, cfg.Brokers, "shop.public.docs", 1, map[string]string{"max.message.bytes": "300000"})
			p, err := publishAll(t, cfg, tupleFormat{}, docsRow(108, 900_000), docsRow(208, 900_000), docsRow(308, 100))
			if err != nil {
				t.Fatal(err)
			}
			rows := committed(t, cfg.Brokers, "shop.public.docs", 3)
			if string(rows[0].Value) != "t?m" || string(rows[1].Value) != "t?m" || len(rows[2].Value) != 102 {
				t.Errorf("rows of %d, %d and %d bytes", len(rows[0].Value), len(rows[1].Value), len(rows[2].Value))
			}
			var letter struct {
				Topic  string `json:"topic"`
				Limit  int32  `json:"limit"`
				Pieces int    `json:"pieces"`
			}
			letters := committed(t, cfg.Brokers, "shop.dead-letter", 4)
			if err := json.Unmarshal(letters[0].Value, &letter); err != nil || letter.Pieces != 1 || letter.Topic != "shop.public.docs" || letter.Limit > 300_000 && name == "told" {
				t.Errorf("%s: %v", letters[0].Value, err)
			}
			if p.Stats().DeadLetters != 2 {
				t.Errorf("%+v", p.Stats())
			}
		})
	}
}

// hideConfigs refuses to tell how topics are configured, save for that of the positions.
func hideConfigs(c *kfake.Cluster) {
	c.ControlKey(int16(kmsg.DescribeConfigs), func(request kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		describe := request.(*kmsg.DescribeConfigsRequest)
		if describe.Resources[0].ResourceName == "shop.progress" {
			return nil, nil, false
		}
		return hiddenConfigs(describe), nil, true
	})
}

func hiddenConfigs(describe *kmsg.DescribeConfigsRequest) kmsg.Response {
	response := describe.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for _, r := range describe.Resources {
		response.Resources = append(response.Resources, kmsg.DescribeConfigsResponseResource{ResourceName: r.ResourceName, ResourceType: r.ResourceType, ErrorCode: kerr.TopicAuthorizationFailed.Code})
	}
	return response
}

// A table whose topic's name Kafka takes for another one has a topic of its own, now and after each start, also when the name
// has become free.
func TestNamesThatKafkaTakesForTheSame(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	mustCreate(t, cfg.Brokers, "shop_sales.orders", 1, nil)
	row := func(end outbox.LSN) *outbox.Transaction {
		tx := docsChange(end, outbox.Insert)
		tx.Changes[0].Relation = &pgoutput.Relation{OID: 5, Schema: "sales", Name: "orders"}
		return tx
	}
	own := shape.OwnTopic("shop.sales.orders", "sales.orders", 1)
	for n := range 2 {
		cfg.Shape = shopShape(t)
		p, err := publishAll(t, cfg, shapedTopics{shape: cfg.Shape}, []*outbox.Transaction{row(108), row(208), row(308)}[:2+n]...)
		if err != nil {
			t.Fatal(err)
		}
		if p.Stats().OwnTopics != 1 {
			t.Errorf("%+v", p.Stats())
		}
		committed(t, cfg.Brokers, own, 2+n)
		if _, err := kadm.NewClient(testClient(t, cfg.Brokers)).DeleteTopics(t.Context(), "shop_sales.orders"); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever may create a table cannot divert another one: a table that is named like the topic of its own of another does not get that name.
func TestTableNamedLikeAnOwnTopic(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	own := shape.OwnTopic("shop.public.orders", "public.orders", 1)
	row := func(end outbox.LSN, oid uint32, table string) *outbox.Transaction {
		tx := docsChange(end, outbox.Insert)
		tx.Changes[0].Relation = &pgoutput.Relation{OID: oid, Schema: "public", Name: table}
		return tx
	}
	named := strings.TrimPrefix(own, "shop.public.")
	rows := []*outbox.Transaction{row(108, 1, "orders"), row(208, 2, named), row(308, 1, "orders")}
	for _, sent := range []int{2, 3} {
		cfg.Shape = shopShape(t)
		if _, err := publishAll(t, cfg, shapedTopics{shape: cfg.Shape}, rows[:sent]...); err != nil {
			t.Fatal(err)
		}
	}
	committed(t, cfg.Brokers, "shop.public.orders", 2)
	committed(t, cfg.Brokers, shape.OwnTopic(own, "public."+named, 1), 1)
}

// A topic of pgtee's own cannot have another name: the publisher halts with the broker's words.
func TestPrefixThatKafkaTakesForAnother(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	mustCreate(t, cfg.Brokers, "shop_audit", 1, nil)
	_, err := publishAll(t, cfg, keylessFormat{}, docsChange(108, outbox.Insert))
	if !errors.Is(err, halt.ErrKafkaRefused) || !strings.Contains(err.Error(), "shop.audit") || !strings.Contains(err.Error(), "use another name: --prefix") {
		t.Error(err)
	}
}

// The records of pgtee's own topics are a history also where brokers compact what they are not told about.
func TestOwnTopicsAreNotCompacted(t *testing.T) {
	cfg := Config{Config: publisher.Config{Prefix: "shop"}}.withDefaults()
	for topic, want := range map[string]bool{"shop.audit": true, "shop.ddl": true, "shop.dead-letter": true, "shop.outbox.refused": true, "shop.public.audit": false, "shop.outbox.orders": false, "other.audit": false} {
		policy := cfg.topicConfigs(topic, nil)["cleanup.policy"]
		if (policy != nil) != want || want && *policy != "delete" {
			t.Errorf("%s: cleanup.policy %v", topic, policy)
		}
	}
}

// Below what a dead letter takes the publisher halts, and names the command that helps.
func TestTopicThatTakesHardlyAnything(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	mustCreate(t, cfg.Brokers, "shop.public.docs", 1, map[string]string{"max.message.bytes": "5000"})
	_, err := publishAll(t, cfg, tupleFormat{}, docsRow(108, 9000))
	want := "run `kafka-configs.sh --bootstrap-server " + strings.Join(cfg.Brokers, ",") + " --alter --entity-type topics --entity-name shop.public.docs --add-config max.message.bytes=1065548`"
	if !errors.Is(err, halt.ErrRecordTooLarge) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v; want %s", err, want)
	}
}

// Two tables that are there when the publisher starts have the topics that they had, whichever is written first.
func TestTopicsOfTablesThatAreThere(t *testing.T) {
	table := func(oid uint32, name string) outbox.Table {
		return outbox.Table{OID: oid, Schema: "public", Name: name}
	}
	row := func(end outbox.LSN, oid uint32, name string) *outbox.Transaction {
		tx := docsChange(end, outbox.Insert)
		tx.Changes[0].Relation = &pgoutput.Relation{OID: oid, Schema: "public", Name: name}
		return tx
	}
	for _, test := range []struct {
		name, own string // topic that is there, of that table
		want      []string
	}{
		{"the older one has it", "", []string{"b-own", "a"}},
		{"the younger one had one of its own", "public.x y", []string{"b-own", "a"}},
		{"the older one had one of its own", "public.x_y", []string{"b", "a-own"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := testCluster(fakeKafka(t).ListenAddrs())
			if test.own != "" {
				mustCreate(t, cfg.Brokers, shape.OwnTopic("shop.public.x_y", test.own, 1), 1, nil)
			}
			cfg.Shape = shopShape(t)
			cfg.Tables = func(context.Context) ([]outbox.Table, error) {
				return []outbox.Table{table(1, "x_y"), table(2, "x y")}, nil
			}
			if _, err := publishAll(t, cfg, shapedTopics{shape: cfg.Shape}, row(108, 2, "x y"), row(208, 1, "x_y")); err != nil {
				t.Fatal(err)
			}
			topics := map[string]string{"a": "shop.public.x_y", "b": "shop.public.x_y", "a-own": shape.OwnTopic("shop.public.x_y", "public.x_y", 1), "b-own": shape.OwnTopic("shop.public.x_y", "public.x y", 1)}
			for _, want := range test.want {
				committed(t, cfg.Brokers, topics[want], 1)
			}
		})
	}
}

func shopShape(t *testing.T) *shape.Shape {
	t.Helper()
	s, err := shape.New(shape.Config{Prefix: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
