package kafka

import (
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	saslplain "github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
)

// eventAndRow is a transaction with an event for topic orders and a row of a table.
func eventAndRow(end outbox.LSN) *outbox.Transaction {
	tx := rowEnding(end)
	tx.Changes = append(tx.Changes, outbox.Change{Op: outbox.Event, Note: -1, Ordinal: 1, Event: &outbox.EventRecord{Topic: "orders", Payload: []byte("placed")}})
	return tx
}

// What keeps Kafka from creating the topic of events for a while keeps them waiting; it does not send them elsewhere.
func TestEventsWaitForTheirTopic(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.InvalidReplicationFactor, kerr.ThrottlingQuotaExceeded, kerr.PolicyViolation} {
		cluster := fakeKafka(t)
		var refused atomic.Int64
		cluster.ControlKey(int16(kmsg.CreateTopics), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			topic := request.(*kmsg.CreateTopicsRequest).Topics[0].Topic
			if topic != "shop.outbox.orders" || refused.Load() > 0 {
				return nil, nil, false
			}
			refused.Add(1)
			response := request.ResponseKind().(*kmsg.CreateTopicsResponse)
			response.Topics = []kmsg.CreateTopicsResponseTopic{{Topic: topic, ErrorCode: code.Code}}
			return response, nil, true
		})
		cfg := testCluster(cluster.ListenAddrs())
		p, err := publishAll(t, cfg, blockFormat{}, eventAndRow(108))
		if err != nil {
			t.Fatal(err)
		}
		committed(t, cfg.Brokers, "shop.outbox.orders", 1)
		if s := p.Stats(); s.Refused != 0 || s.Retries == 0 || refused.Load() == 0 {
			t.Errorf("%s: %+v after %d refusals", code.Message, s, refused.Load())
		}
	}
}

// A topic of events that takes no records does not stop the stream.
func TestEventsThatTheirTopicRefuses(t *testing.T) {
	cluster := fakeKafka(t)
	refuseRecords(cluster, "shop.outbox.orders", math.MaxInt64)
	cfg := testCluster(cluster.ListenAddrs())
	p, err := publishAll(t, cfg, blockFormat{}, eventAndRow(108), eventAndRow(208))
	if err != nil {
		t.Fatal(err)
	}
	committed(t, cfg.Brokers, "shop.outbox.refused", 2)
	committed(t, cfg.Brokers, "shop.s.t", 2)
	if s := p.Stats(); s.Refused != 2 {
		t.Errorf("%+v", s)
	}
}

// Nor does one to which the user may not write: a transaction with it fails as a whole, and nobody says which topic it was.
func TestEventsForATopicThatIsNotGranted(t *testing.T) {
	acl := func(kind kmsg.ACLResourceType, name string, pattern kmsg.ACLResourcePatternType, operation kmsg.ACLOperation, allow bool) kfake.ACL {
		return kfake.ACL{Resource: kind, Name: name, Pattern: pattern, Operation: operation, Allow: allow}
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "shop.outbox.orders"),
		kfake.User("PLAIN", "pgtee", "pw",
			acl(kmsg.ACLResourceTypeTopic, "*", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationAll, true),
			acl(kmsg.ACLResourceTypeTransactionalId, "*", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationAll, true),
			acl(kmsg.ACLResourceTypeTopic, "shop.outbox.orders", kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLOperationWrite, false)),
		kfake.Superuser("PLAIN", "reader", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	cluster.ControlKey(int16(kmsg.AddPartitionsToTxn), func(request kmsg.Request) (kmsg.Response, error, bool) { // as Kafka does, other than kfake
		cluster.KeepControl()
		added := request.(*kmsg.AddPartitionsToTxnRequest)
		if !slices.ContainsFunc(added.Topics, func(t kmsg.AddPartitionsToTxnRequestTopic) bool { return t.Topic == "shop.outbox.orders" }) {
			return nil, nil, false
		}
		response := added.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
		for _, topic := range added.Topics {
			answered := kmsg.AddPartitionsToTxnResponseTopic{Topic: topic.Topic}
			code := kerr.OperationNotAttempted.Code
			if topic.Topic == "shop.outbox.orders" {
				code = kerr.TopicAuthorizationFailed.Code
			}
			for _, partition := range topic.Partitions {
				answered.Partitions = append(answered.Partitions, kmsg.AddPartitionsToTxnResponseTopicPartition{Partition: partition, ErrorCode: code})
			}
			response.Topics = append(response.Topics, answered)
		}
		return response, nil, true
	})
	login := func(user string) kgo.Opt { return kgo.SASL(saslplain.Auth{User: user, Pass: "pw"}.AsMechanism()) }
	cfg := testCluster(cluster.ListenAddrs())
	cfg.KafkaOptions = []kgo.Opt{login("pgtee")}
	p, err := publishAll(t, cfg, blockFormat{}, eventAndRow(108))
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); s.Refused != 1 || s.Retries != 0 {
		t.Errorf("%+v", s)
	}
}

// A topic that was refused is asked for again after a while.
func TestRefusedTopicIsAskedForAgain(t *testing.T) {
	cfg := testCluster(fakeKafka(t).ListenAddrs())
	l := newLog(cfg)
	defer l.Close()
	mustFence(t, l)
	publish := func(end outbox.LSN) {
		b := record.NewBatch("7300", "pgtee")
		b.Buf = append(b.Buf, 'e')
		b.AddEvent("shop.outbox.orders", record.Null, 0)
		mustPublish(t, l, b, testPosition(end))
	}
	refused := &brokerTopic{refused: kerr.TopicAuthorizationFailed, asked: time.Now()}
	l.known["shop.outbox.orders"] = refused
	publish(100)
	committed(t, cfg.Brokers, "shop.outbox.refused", 1)
	refused.asked = refused.asked.Add(-2 * retryRefusedAfter)
	publish(200)
	committed(t, cfg.Brokers, "shop.outbox.orders", 1)
}
