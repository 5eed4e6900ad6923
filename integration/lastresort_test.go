package integration

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/verdict"
)

const lastResortSchema = `
CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE bare (v int); CREATE TABLE "x y" (id int PRIMARY KEY); CREATE TABLE x_y (id int PRIMARY KEY);
CREATE SCHEMA sales; CREATE SCHEMA sales_order; CREATE TABLE sales.order_items (id int PRIMARY KEY); CREATE TABLE sales_order.items (id int PRIMARY KEY);
CREATE SCHEMA outbox; CREATE TABLE outbox.events (id int PRIMARY KEY); CREATE SCHEMA audit; CREATE TABLE audit.log (id int PRIMARY KEY);
CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY);`

const lastResortFile = `
tables:
  - match: public.*
    topic-config: {cleanup.policy: compact}
  - match: public.t
    partitions: 3
`

// What Kafka does not take as it is keeps nobody from publishing, and nothing is lost: records without a key in compacted
// topics, TRUNCATE where there are several partitions, tables whose topics have the same name, or for Kafka the same, schemas
// that are named like topics of ours, a message that no record takes.
func TestKafkaTakesItOtherwise(t *testing.T) {
	for _, envelope := range []string{"debezium", "flat"} {
		t.Run(envelope, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
			r.Exec(lastResortSchema)
			r.Setup()
			r.startShaped(lastResortFile, "--envelope", envelope)
			r.Exec("INSERT INTO t SELECT generate_series(1, 30)", "TRUNCATE t", "INSERT INTO t SELECT generate_series(1, 5)",
				"INSERT INTO bare VALUES (1)", "INSERT INTO bare VALUES (1)", "TRUNCATE bare", "INSERT INTO bare VALUES (2)",
				`INSERT INTO x_y VALUES (1)`, `INSERT INTO "x y" VALUES (1)`,
				"INSERT INTO sales.order_items VALUES (1)", "INSERT INTO sales_order.items VALUES (1)",
				"INSERT INTO outbox.events VALUES (1)", "INSERT INTO audit.log VALUES (1)",
				"SELECT pg_logical_emit_message(true, 'x', repeat('x', 2000000))")
			r.Drain()
			log := r.publisher.Log()
			r.Kill(r.publisher) // what was decided lasts
			r.startShaped(lastResortFile, "--envelope", envelope)
			r.Exec(`INSERT INTO "x y" VALUES (2)`, "INSERT INTO x_y VALUES (2)", "INSERT INTO sales_order.items VALUES (2)",
				`INSERT INTO pgtee.signal VALUES ('mine', 'resync', '{"data-collections": ["public.t"]}')`)
			r.AwaitSnapshots("mine")
			r.Drain()
			r.expectEmptied("public.t", 3, 2, 5)
			r.expectEmptied("public.bare", 1, 1, 1)
			r.expectKeys(map[string]string{"public.x_y": "2", "public.x y": "2", "sales.order_items": "1", "sales_order.items": "2", "outbox.events": "1", "audit.log": "1"})
			r.expectPieces(strings.Repeat("x", 2_000_000))
			for _, told := range []string{"a table gets a topic of its own", "public.x y", "sales_order.items", "create topic " + r.prefix + ".sales_order.items: INVALID_TOPIC_EXCEPTION", "collides with"} {
				if !strings.Contains(log, told) {
					t.Errorf("the log does not say %q:\n%s", told, log)
				}
			}
		})
	}
}

// expectEmptied expects that many records in each partition that empty it, and rows behind the last of them, in all.
func (r *runner) expectEmptied(topic string, partitions, emptied, rows int) {
	r.t.Helper()
	times, left := map[int32]int{}, map[string]bool{}
	ids := map[string]bool{}
	for _, record := range r.Topic(topic) {
		if id := record.EventID(); ids[id] {
			r.t.Errorf("%s: event %s stands there twice", topic, id)
		} else {
			ids[id] = true
		}
		if record.Key == nil {
			r.t.Errorf("%s: a record has no key", topic)
		}
		key := fmt.Sprint(record.Partition, string(record.Key))
		if !strings.Contains(string(record.Value), `op":"t"`) { // or __op
			left[key] = true
			continue
		}
		times[record.Partition]++
		for old := range left {
			if strings.HasPrefix(old, fmt.Sprint(record.Partition)) {
				delete(left, old)
			}
		}
	}
	for partition := range partitions {
		if n := times[int32(partition)]; n != emptied {
			r.t.Errorf("%s: partition %d is emptied %d times, want %d", topic, partition, n, emptied)
		}
	}
	if len(left) != rows {
		r.t.Errorf("%s: %d rows are left, want %d: %v", topic, len(left), rows, left)
	}
}

// expectKeys expects that each table has one topic, with keys 1 up to the given one.
func (r *runner) expectKeys(last map[string]string) {
	r.t.Helper()
	topics := r.Topics()
	found := map[string][]string{}
	for name, records := range topics {
		plain := name
		if i := strings.LastIndexByte(name, '-'); i > 0 && name != "dead-letter" {
			plain = name[:i]
		}
		var keys []string
		for _, record := range records {
			keys = append(keys, strings.Trim(string(record.Key), `{}id":`))
		}
		found[plain] = append(found[plain], strings.Join(keys, ","))
	}
	want := map[string][]string{}
	for table, key := range last {
		plain := strings.ReplaceAll(table, " ", "_")
		keys := "1"
		if key == "2" {
			keys = "1,2"
		}
		want[plain] = append(want[plain], keys)
	}
	for plain, keys := range want {
		slices.Sort(found[plain])
		if !slices.Equal(found[plain], keys) {
			r.t.Errorf("topics %s: keys %q, want %q", plain, found[plain], keys)
		}
	}
}

// expectPieces expects one dead letter, behind which the pieces hold a logical message.
func (r *runner) expectPieces(content string) {
	r.t.Helper()
	letters := r.Topic("dead-letter")
	if len(letters) < 2 || !strings.Contains(string(letters[0].Value), `"source":"logical messages with prefix x"`) {
		r.t.Fatalf("%d dead letters", len(letters))
	}
	var whole []byte
	for i, piece := range letters[1:] {
		if got, want := piece.Headers["pgtee-piece"], fmt.Sprintf("%d/%d", i+1, len(letters)-1); got != want {
			r.t.Errorf("piece %s, want %s", got, want)
		}
		whole = append(whole, piece.Value...)
	}
	var message struct{ Message struct{ Content string } }
	r.must(json.Unmarshal(whole, &message))
	if got, err := base64.StdEncoding.DecodeString(message.Message.Content); err != nil || string(got) != content {
		r.t.Errorf("the pieces hold %d bytes, want %d (%v)", len(got), len(content), err)
	}
}

// admin is a client of Kafka that does what an operator does.
func (r *runner) admin() *kadm.Client {
	r.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.broker.Address))
	r.must(err)
	r.t.Cleanup(client.Close)
	return kadm.NewClient(client)
}

// An operator changes a topic while the publisher runs: it becomes compacted, gets partitions, takes less. And one of our own
// topics that is refused says so until it is right.
func TestTopicsChangeUnderThePublisher(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "message")
	r.Exec("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	r.Setup()
	r.StartPublisher()
	r.Exec("INSERT INTO t VALUES (1, 'a')", "TRUNCATE t")
	r.Drain()
	admin, topic := r.admin(), r.prefix+".public.t"
	_, err := admin.CreatePartitions(r.ctx, 2, topic)
	r.must(err)
	alter := func(name, value string) {
		t.Helper()
		altered, err := admin.AlterTopicConfigs(r.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: kadm.StringPtr(value)}}, topic)
		r.must(err)
		r.must(altered[0].Err)
	}
	alter("cleanup.policy", "compact")
	alter("max.message.bytes", "200000")
	r.Exec("TRUNCATE t", "INSERT INTO t SELECT 2, string_agg(md5(g::text), '') FROM generate_series(1, 20000) AS g")
	r.Drain()
	records := r.Topic("public.t")
	keyed, truncates := 0, map[int32]int{}
	for _, record := range records {
		if strings.Contains(string(record.Value), `"op":"t"`) {
			truncates[record.Partition]++
			if record.Key != nil {
				keyed++
			}
		}
	}
	if len(truncates) != 3 || truncates[0] != 2 || truncates[1] != 1 || truncates[2] != 1 || keyed != 3 {
		t.Errorf("TRUNCATE by partition: %v, %d with a key", truncates, keyed)
	}
	if last := records[len(records)-1]; !slices.ContainsFunc(records, func(r verdict.Record) bool { return r.Headers["pgtee-left-out"] == "1" }) {
		t.Errorf("the large row is published as %d bytes, %v", len(last.Value), last.Headers)
	}
	if letters := r.Topic("dead-letter"); len(letters) < 2 {
		t.Errorf("%d dead letters", len(letters))
	}
}

// A prefix that another database publishes under is refused; two brokers' worth of promises that one broker cannot keep are told.
func TestPrefixAndPromise(t *testing.T) {
	first := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "message")
	first.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	first.Setup()
	first.StartPublisher()
	first.Drain()
	if log := first.publisher.Log(); strings.Count(log, "exactly-once delivery is not guaranteed") != 1 || !strings.Contains(log, "min.insync.replicas=1") {
		t.Errorf("the publisher does not tell once that one replica is not enough:\n%s", log)
	}
	second := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "message")
	second.prefix = first.prefix
	second.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)")
	second.Setup()
	out, code := second.Pgtee(second.publishArgs()...)
	if code != 3 || !strings.Contains(out, "database "+first.database) || !strings.Contains(out, "another --prefix") {
		t.Errorf("publish exits with %d:\n%s", code, out)
	}
	second.prefix = second.database
	out, code = second.Pgtee(append(second.publishArgs(), "--require-durable-topics")...)
	if code != 3 || !strings.Contains(out, "has 1 replica, min.insync.replicas=1") || !strings.Contains(out, "kafka-configs.sh --bootstrap-server "+second.broker.Address+" --alter") {
		t.Errorf("publish --require-durable-topics exits with %d:\n%s", code, out)
	}
	out, code = first.Pgtee("check", "--postgres", first.URL(), "--slot", first.slot, "--kafka", first.broker.Address, "--prefix", first.prefix)
	if code != 1 || !strings.Contains(out, "topic "+first.prefix+".progress has 1 replica, min.insync.replicas=1") || !strings.Contains(out, "--entity-name "+first.prefix+".progress") {
		t.Errorf("check --kafka exits with %d:\n%s", code, out)
	}
}
