package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Kafka's client tries again until the time is up, and says nothing else: the reason is asked for.
func TestTimeoutsHaveReasons(t *testing.T) {
	t.Run("replicas", func(t *testing.T) {
		cluster := fakeKafka(t)
		cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			produce := request.(*kmsg.ProduceRequest)
			response := produce.ResponseKind().(*kmsg.ProduceResponse)
			for _, topic := range produce.Topics {
				answered := kmsg.ProduceResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
				for _, partition := range topic.Partitions {
					answered.Partitions = append(answered.Partitions, kmsg.ProduceResponseTopicPartition{Partition: partition.Partition, ErrorCode: kerr.NotEnoughReplicas.Code})
				}
				response.Topics = append(response.Topics, answered)
			}
			return response, nil, true
		})
		cfg := testCluster(cluster.ListenAddrs())
		cfg.TransactionTimeout = 2 * time.Second
		mustCreate(t, cfg.Brokers, "shop.public.a", 1, map[string]string{"min.insync.replicas": "2"})
		l := newLog(cfg)
		mustFence(t, l)
		err := l.Publish(t.Context(), testBatch("shop.public.a", "1"), testPosition(100))
		for _, want := range []string{"partition 0 of topic shop.public.a", "1 of its replicas are in sync, min.insync.replicas is 2", "bring brokers back"} {
			if err == nil || !strings.Contains(err.Error(), want) || halt.FateOf(err) != halt.Retry {
				t.Errorf("%v; want a word about %q", err, want)
			}
		}
	})
	t.Run("coordinator", func(t *testing.T) {
		cluster := fakeKafka(t)
		cluster.ControlKey(int16(kmsg.FindCoordinator), func(request kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			find := request.(*kmsg.FindCoordinatorRequest)
			response := find.ResponseKind().(*kmsg.FindCoordinatorResponse)
			response.ErrorCode = kerr.CoordinatorNotAvailable.Code
			for _, key := range find.CoordinatorKeys {
				response.Coordinators = append(response.Coordinators, kmsg.FindCoordinatorResponseCoordinator{Key: key, NodeID: -1, ErrorCode: kerr.CoordinatorNotAvailable.Code})
			}
			return response, nil, true
		})
		l := newLog(testCluster(cluster.ListenAddrs()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := l.Fence(ctx, testSystem)
		if !errors.Is(err, kerr.CoordinatorNotAvailable) && (err == nil || !strings.Contains(err.Error(), "__transaction_state")) {
			t.Error(err)
		}
	})
}
