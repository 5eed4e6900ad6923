package kafka

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func fakeKafka(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func testCluster(brokers []string) Config {
	return Config{Brokers: brokers, Config: publisher.Config{Prefix: "shop", Database: "orders", Slot: "pgtee"}}.withDefaults()
}

func testClient(t *testing.T, brokers []string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// committed returns the n first committed records of a topic.
func committed(t *testing.T, brokers []string, topic string, n int) []*kgo.Record {
	t.Helper()
	client := testClient(t, brokers, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s holds %d committed records, want %d", topic, len(records), n)
		}
		records = append(records, fetches.Records()...)
	}
	if len(records) != n {
		t.Fatalf("%s holds %d committed records, want %d", topic, len(records), n)
	}
	return records
}

func testBatch(topic string, values ...string) *record.Batch {
	b := record.NewBatch("7300", "pgtee")
	for _, v := range values {
		key := len(b.Buf)
		b.Buf = append(b.Buf, "k"...)
		value := len(b.Buf)
		b.Buf = append(b.Buf, v...)
		b.Add(topic, key, value)
	}
	return b
}

func testPosition(end outbox.LSN) publisher.Position {
	return publisher.Position{Version: 1, Timeline: 1, EndLSN: end, SystemID: "7300", Slot: "pgtee", CommitTime: time.Unix(0, 0).UTC()}
}

// testSystem is the server of testPosition.
var testSystem = outbox.System{ID: "7300"}

func mustFence(t *testing.T, l *Log) *publisher.Position {
	t.Helper()
	p, err := l.Fence(t.Context(), testSystem)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustPublish(t *testing.T, l *Log, b *record.Batch, p publisher.Position) {
	t.Helper()
	if err := l.Publish(t.Context(), b, p); err != nil {
		t.Fatal(err)
	}
}

func TestPublishedPositionIsReadAfterTheFence(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	if p := mustFence(t, l); p != nil {
		t.Fatalf("position %+v before anything was published", p)
	}
	mustPublish(t, l, testBatch("shop.public.a", "1", "2"), testPosition(100))
	mustPublish(t, l, &record.Batch{}, testPosition(200))
	l.Close()
	if p := mustFence(t, l); !reflect.DeepEqual(*p, testPosition(200)) {
		t.Fatalf("position %+v, want end LSN %d", p, 200)
	}
	l.Close()
	records := committed(t, cfg.Brokers, "shop.public.a", 2)
	if string(records[1].Value) != "2" || string(records[1].Key) != "k" || records[1].Headers[0].Key != record.EventIDHeader {
		t.Fatalf("record %+v", records[1])
	}
}

func TestFencedPublisherStandsByAndLeavesNothing(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	old, twin := newLog(cfg), newLog(cfg)
	mustFence(t, old)
	mustPublish(t, old, testBatch("shop.public.a", "1"), testPosition(100))
	if p := mustFence(t, twin); p.EndLSN != 100 {
		t.Fatalf("the twin reads position %v", p)
	}
	err := old.Publish(t.Context(), testBatch("shop.public.a", "lost"), testPosition(200))
	if !errors.Is(err, halt.ErrFenced) || halt.FateOf(err) != halt.StandBy {
		t.Fatalf("the fenced publisher gets %v", err)
	}
	mustPublish(t, twin, testBatch("shop.public.a", "2"), testPosition(300))
	twin.Close()
	records := committed(t, cfg.Brokers, "shop.public.a", 2)
	if string(records[1].Value) != "2" {
		t.Fatalf("second record %q", records[1].Value)
	}
}

func TestPositionBehindManyOthersAndAnAbortedOne(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	mustFence(t, l)
	mustPublish(t, l, &record.Batch{}, testPosition(100))
	l.Close()

	other := cfg
	other.Slot = "other"
	client, err := newLog(other).connect()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	noise := make([]*kgo.Record, 3*firstWindow)
	for i := range noise {
		noise[i] = &kgo.Record{Topic: "shop.progress", Key: []byte("other"), Value: []byte("{}")}
	}
	if err := client.ProduceSync(t.Context(), noise...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if p := mustFence(t, l); p == nil || p.EndLSN != 100 {
		t.Fatalf("position %+v, want end LSN 100", p)
	}
	l.Close()
}

func TestOwnPositionIsWaitedForBehindAnOpenTransaction(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	mustFence(t, l)

	other := cfg
	other.Slot = "other"
	client, err := newLog(other).connect()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.progress", Key: []byte("other")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, l, &record.Batch{}, testPosition(100))
	l.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if p, err := l.Fence(ctx, testSystem); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("read %+v, %v past an open transaction", p, err)
	}
	if err := client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if p := mustFence(t, l); p == nil || p.EndLSN != 100 {
		t.Fatalf("read %+v, want end LSN 100", p)
	}
	l.Close()
}

func TestSlotsShareTheProgressTopic(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	other := cfg
	other.Slot = "other"
	for end, c := range map[outbox.LSN]Config{100: cfg, 200: other} {
		l := newLog(c)
		mustFence(t, l)
		position := testPosition(end)
		position.Slot = c.Slot
		mustPublish(t, l, &record.Batch{}, position)
		l.Close()
	}
	for end, c := range map[outbox.LSN]Config{100: cfg, 200: other} {
		l := newLog(c)
		if p := mustFence(t, l); p.EndLSN != end {
			t.Errorf("slot %s: end LSN %d, want %d", c.Slot, p.EndLSN, end)
		}
		l.Close()
	}
}

func TestProgressTopicThatExpiresIsRefused(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	admin := kadm.NewClient(testClient(t, cfg.Brokers))
	for _, c := range []struct {
		prefix     string
		partitions int32
		policy     string
	}{{"a", 1, "delete"}, {"b", 1, "compact,delete"}, {"c", 2, "compact"}} {
		if _, err := admin.CreateTopic(t.Context(), c.partitions, 1, map[string]*string{"cleanup.policy": &c.policy}, c.prefix+".progress"); err != nil {
			t.Fatal(err)
		}
		cfg.Prefix = c.prefix
		_, err := newLog(cfg).Fence(t.Context(), testSystem)
		if !errors.Is(err, halt.ErrProgressTopic) || halt.FateOf(err) != halt.Stop {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

func TestNewerProgressRecordIsRefused(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	mustFence(t, l)
	p := testPosition(100)
	p.Version = 1_000
	mustPublish(t, l, &record.Batch{}, p)
	if _, err := l.Fence(t.Context(), testSystem); !errors.Is(err, halt.ErrProgressVersion) {
		t.Fatal(err)
	}
}

func TestRecordsWithoutKeyStayInOnePartition(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	cfg.Partitions = 8
	l := newLog(cfg)
	mustFence(t, l)
	for end := range outbox.LSN(5) {
		b := record.NewBatch("7300", "pgtee")
		b.Buf = append(b.Buf, "v"...)
		b.Add("shop.public.a", record.Null, 0)
		mustPublish(t, l, b, testPosition(100+end))
	}
	l.Close()
	for _, r := range committed(t, cfg.Brokers, "shop.public.a", 5) {
		if r.Partition != 0 || r.Key != nil {
			t.Fatalf("record in partition %d with key %q", r.Partition, r.Key)
		}
	}
}

// A record that the brokers refuse for its size leaves nothing, and the next ones are made smaller.
func TestTooLargeRecordLeavesNothing(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	mustFence(t, l)
	err := l.Publish(t.Context(), testBatch("shop.public.a", string(make([]byte, 2<<20))), testPosition(100))
	var small *publisher.SmallTopic
	if !errors.As(err, &small) || small.Bytes >= int(cfg.MaxRecordBytes) || halt.FateOf(err) != halt.Retry {
		t.Fatal(err)
	}
	if p := mustFence(t, l); p != nil {
		t.Fatalf("position %+v after a refused record", p)
	}
	l.Close()
}

// The limit that a halt tells the operator to raise can be raised.
func TestLargeRecordIsPublishedWhereTheLimitIsRaised(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	cfg.MaxRecordBytes = 4 << 20
	l := newLog(cfg)
	defer l.Close()
	mustFence(t, l)
	mustPublish(t, l, testBatch("shop.public.a", string(make([]byte, 2<<20))), testPosition(100))
	configs, err := kadm.NewClient(l.client).DescribeTopicConfigs(t.Context(), "shop.public.a")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range configs[0].Configs {
		if c.Key == "max.message.bytes" && c.MaybeValue() != "4259840" {
			t.Errorf("max.message.bytes = %s", c.MaybeValue())
		}
	}
}

// A giant transaction is sent in parts. Nobody sees one before all are committed, or one that was left behind.
func TestPartsBecomeVisibleTogether(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	defer l.Close()
	mustFence(t, l)
	for _, value := range []string{"left behind", "1", "2"} {
		if err := l.Send(t.Context(), testBatch("shop.public.a", value)); err != nil {
			t.Fatal(err)
		}
		if err := l.client.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if value == "left behind" {
			mustFence(t, l)
		}
	}
	admin := kadm.NewClient(testClient(t, cfg.Brokers))
	stable, err := admin.ListCommittedOffsets(t.Context(), "shop.public.a")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := stable.Lookup("shop.public.a", 0); end.Offset != 2 { // one record, and the marker of its abort
		t.Errorf("readers may read up to offset %d before the commit, want 2", end.Offset)
	}
	mustPublish(t, l, testBatch("shop.public.a", "3"), testPosition(100))
	for i, r := range committed(t, cfg.Brokers, "shop.public.a", 3) {
		if want := fmt.Sprint(i + 1); string(r.Value) != want {
			t.Errorf("record %d is %s", i, r.Value)
		}
	}
}

func TestRedeliveredTransactionsArePublishedOnce(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	for _, source := range []*queueSource{queueOf(rowEnding(100), rowEnding(200)), queueOf(rowEnding(100), rowEnding(200), rowEnding(300))} {
		last := source.queue[len(source.queue)-1].EndLSN
		p, err := publisher.New(cfg.Config, func(context.Context) (publisher.Source, error) { return source, nil }, newLog(cfg), blockFormat{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		for p.Stats().Acked < last && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
		if err := <-done; err != nil || p.Stats().Acked != last {
			t.Fatalf("%v, %+v", err, p.Stats())
		}
	}
	for i, r := range committed(t, cfg.Brokers, "shop.s.t", 3) {
		if want := fmt.Sprintf("7300/pgtee/1/%s/0", outbox.LSN(100*(i+1)-8)); string(r.Headers[0].Value) != want {
			t.Errorf("event %d is %s, want %s", i, r.Headers[0].Value, want)
		}
	}
	committed(t, cfg.Brokers, "shop.audit", 3)
}

// Events are visible without a transaction; the position follows, and a predecessor cannot move it.
func TestAtLeastOnce(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	cfg.Delivery = AtLeastOnce
	old, young := newLog(cfg), newLog(cfg)
	defer old.Close()
	defer young.Close()
	if _, err := old.Fence(t.Context(), testSystem); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, old, testBatch("shop.public.a", "1"), testPosition(100))
	if err := old.Send(t.Context(), testBatch("shop.public.a", "2")); err != nil {
		t.Fatal(err)
	}
	committed(t, cfg.Brokers, "shop.public.a", 2) // the second before any position covers it
	recorded, err := young.Fence(t.Context(), testSystem)
	if err != nil || recorded.EndLSN != 100 {
		t.Fatalf("%+v, %v", recorded, err)
	}
	if err := old.Publish(t.Context(), &record.Batch{}, testPosition(200)); !errors.Is(err, halt.ErrFenced) {
		t.Errorf("the predecessor moves the position: %v", err)
	}
	mustPublish(t, young, testBatch("shop.public.a", "2"), testPosition(150))
	if recorded, err = young.Fence(t.Context(), testSystem); err != nil || recorded.EndLSN != 150 {
		t.Errorf("%+v, %v", recorded, err)
	}
	committed(t, cfg.Brokers, "shop.public.a", 3) // one came twice
}

// Which of two names is there must be the same every time.
func TestTopicsThatExcludeEachOther(t *testing.T) {
	for _, tt := range []struct {
		topics []string
		want   int
	}{
		{[]string{"a.b", "a_c"}, 2},
		{[]string{"a.b", "c", "a_b", "d"}, 2},
		{make20(), createdAtOnce},
	} {
		if got := creatableAtOnce(tt.topics); got != tt.want {
			t.Errorf("%v: %d at once, want %d", tt.topics, got, tt.want)
		}
	}
}

func make20() (topics []string) {
	for i := range 20 {
		topics = append(topics, fmt.Sprint(i))
	}
	return topics
}
