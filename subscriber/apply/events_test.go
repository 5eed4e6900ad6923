package apply

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// kafka is a broker with the topics of a publisher.
type kafka struct {
	*testing.T
	ctx   context.Context
	cfg   Config
	admin *kadm.Client
}

func newKafka(t *testing.T, topics ...string) *kafka {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	k := &kafka{T: t, ctx: ctx, cfg: Config{Brokers: cluster.ListenAddrs(), Prefix: "shop", Log: zap.NewNop()}}
	k.admin = kadm.NewClient(k.client())
	for _, topic := range append(topics, "shop.progress") {
		k.createTopic(topic)
	}
	return k
}

// client returns a client that knows no topic that was deleted before.
func (k *kafka) client() *kgo.Client {
	k.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(k.cfg.Brokers...))
	if err != nil {
		k.Fatal(err)
	}
	k.Cleanup(client.Close)
	return client
}

func (k *kafka) createTopic(topic string) {
	k.Helper()
	if _, err := k.admin.CreateTopic(k.ctx, 1, 1, nil, topic); err != nil {
		k.Fatal(err)
	}
}

func (k *kafka) deleteTopic(topic string) {
	k.Helper()
	if _, err := k.admin.DeleteTopic(k.ctx, topic); err != nil {
		k.Fatal(err)
	}
}

// publish writes a record for each event id, and then the position of the publisher.
func (k *kafka) publish(topic string, end LSN, ids ...string) {
	k.Helper()
	var records []*kgo.Record
	for _, id := range ids {
		records = append(records, &kgo.Record{Topic: topic, Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: headerEventID, Value: []byte(id)}}})
	}
	records = append(records, &kgo.Record{Topic: "shop.progress", Value: fmt.Appendf(nil, `{"v":2,"timeline":1,"system_id":"1","slot":"s","end_lsn":%q}`, end)})
	client := k.client()
	for _, r := range records {
		if err := client.ProduceSync(k.ctx, r).FirstErr(); err != nil {
			k.Fatal(err)
		}
	}
}

// read returns the event ids after a mark up to the publisher's position, and the mark there.
func (k *kafka) read(from Mark, begins LSN) (ids []string, to Mark, err error) {
	k.Helper()
	events, err := Read(k.ctx, k.cfg, from, begins)
	if err != nil {
		return nil, to, err
	}
	defer events.Close()
	for {
		e, ok, err := events.Next(k.ctx)
		if err != nil {
			return ids, to, err
		}
		if !ok {
			return ids, events.Mark(), nil
		}
		ids = append(ids, string(e.ID))
	}
}

// deleteTo does what the retention does.
func (k *kafka) deleteTo(topic string, offset int64) {
	k.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, offset, -1)
	if deleted, err := k.admin.DeleteRecords(k.ctx, offsets); err != nil || deleted.Error() != nil {
		k.Fatal(err, deleted.Error())
	}
}

// An archive that begins at a position holds what commits from there on, and no row that a snapshot has read before: that may be deleted since. Until
// there is a first file, a record that Kafka deletes is missed.
func TestReadFromTheNewestPosition(t *testing.T) {
	k := newKafka(t, "shop.a")
	k.publish("shop.a", 150, "1/s/1/0/64/1", "1/s/1/0/64/snapshot.x.1", "1/s/1/0/65/snapshot.x.2")
	k.deleteTo("shop.a", 1)
	start, err := Newest(k.ctx, k.cfg)
	if err != nil || start.EndLSN != 150 || !reflect.DeepEqual(start.Offsets, map[string][]int64{"shop.a": {1}}) {
		t.Fatalf("%+v, %v", start, err)
	}
	ids, read, err := k.read(start, start.EndLSN)
	if err != nil || len(ids) > 0 || !read.Exact || !reflect.DeepEqual(read.Offsets, map[string][]int64{"shop.a": {3}}) {
		t.Errorf("read %q up to %+v, %v", ids, read, err)
	}
	want := []string{"1/s/1/0/C8/1", "1/s/1/0/C8/snapshot.y.1"}
	k.publish("shop.a", 300, want...)
	for _, from := range []Mark{start, read} {
		if ids, _, err := k.read(from, start.EndLSN); err != nil || !reflect.DeepEqual(ids, want) {
			t.Errorf("read %q (%v), want %q", ids, err, want)
		}
	}
	k.deleteTo("shop.a", 4)
	for _, from := range []Mark{start, read} {
		var halt Halt
		if ids, _, err := k.read(from, start.EndLSN); !errors.As(err, &halt) || !strings.Contains(halt.What, "records were deleted before they were archived") {
			t.Errorf("a record was deleted: read %q, %v", ids, err)
		}
	}
}

// A topic that was deleted may have held records that were not read; whoever knows that it did not names it.
func TestDeletedTopic(t *testing.T) {
	k := newKafka(t, "shop.a", "shop.b")
	k.publish("shop.a", 150, "1/s/1/0/64/1")
	k.publish("shop.b", 250, "1/s/1/0/C8/1")
	_, read, err := k.read(Mark{}, 0)
	if err != nil || read.Topics["shop.b"] == "" {
		t.Fatalf("%+v, %v", read, err)
	}
	k.publish("shop.a", 350, "1/s/1/0/12C/1")
	k.deleteTopic("shop.b")
	var halt Halt
	if _, _, err := k.read(read, 0); !errors.As(err, &halt) || !strings.Contains(halt.Error(), "topics no longer exist: shop.b") || !strings.Contains(halt.Error(), "--deleted-topics shop.b") {
		t.Errorf("a topic was deleted: %v", err)
	}
	k.cfg.DeletedTopics = []string{"shop.b"}
	ids, without, err := k.read(read, 0)
	if want := []string{"1/s/1/0/12C/1"}; err != nil || !reflect.DeepEqual(ids, want) || without.Topics["shop.b"] != "" || without.Offsets["shop.b"] != nil {
		t.Errorf("read %q up to %+v, %v", ids, without, err)
	}
	k.createTopic("shop.b")
	k.publish("shop.b", 450, "1/s/1/0/190/1")
	want := []string{"1/s/1/0/190/1"}
	if ids, _, err := k.read(without, 0); err != nil || !reflect.DeepEqual(ids, want) {
		t.Errorf("read %q of the new topic (%v), want %q", ids, err, want)
	}
	if ids, _, err := k.read(read, 0); err != nil || len(ids) != 2 {
		t.Errorf("read %q behind the deleted topic, %v", ids, err)
	}
	k.cfg.DeletedTopics = nil
	if _, _, err := k.read(read, 0); !errors.As(err, &halt) || !strings.Contains(halt.Error(), "topics were re-created: shop.b") {
		t.Errorf("a topic was re-created: %v", err)
	}
}

// The topics of a publisher whose prefix begins with ours are not ours, even if its slot has the same name; a table named progress makes no publisher.
func TestPrefixesThatNest(t *testing.T) {
	k := newKafka(t, "shop.public.orders", "shop.public.progress", "shop.eu.progress", "shop.eu.public.orders", "shop.eu.ddl", "shop.eu.orders")
	theirs := func(topic, id string) {
		k.Helper()
		r := &kgo.Record{Topic: topic, Value: []byte(`{"v":2,"system_id":"2","slot":"s","end_lsn":"0/64"}`)}
		if id != "" {
			r.Headers = []kgo.RecordHeader{{Key: headerEventID, Value: []byte(id)}}
		}
		if err := k.client().ProduceSync(k.ctx, r).FirstErr(); err != nil {
			k.Fatal(err)
		}
	}
	theirs("shop.eu.public.orders", "2/s/1/0/64/1")
	k.publish("shop.public.orders", 0x65, "1/s/1/0/64/1")
	_, before, err := k.read(Mark{}, 0) // nothing tells yet whose topic it is
	if err != nil || before.Topics["shop.eu.public.orders"] == "" {
		t.Fatalf("reads %v (%v)", before.Topics, err)
	}
	theirs("shop.eu.progress", "")
	theirs("shop.eu.ddl", "2/s/1/0/64/0")
	theirs("shop.eu.orders", "2/s/1/0/65/2") // of table orders, without its schema
	k.publish("shop.eu.orders", 0x66, "1/s/1/0/65/1")
	k.publish("shop.public.progress", 0x67, "1/s/1/0/66/1")
	k.deleteTopic("shop.eu.public.orders")
	ids, after, err := k.read(before, 0)
	if want := []string{"1/s/1/0/65/1", "1/s/1/0/66/1"}; err != nil || !reflect.DeepEqual(ids, want) {
		t.Errorf("reads %v (%v), want %v", ids, err, want)
	}
	for _, topic := range []string{"shop.eu.ddl", "shop.eu.progress", "shop.eu.public.orders"} {
		if _, has := after.Topics[topic]; has {
			t.Errorf("reads topic %s", topic)
		}
	}
}
