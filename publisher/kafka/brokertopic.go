package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// brokerTopic describes a topic as Kafka reports it. Settings are zero without the privilege DESCRIBE_CONFIGS.
type brokerTopic struct {
	refused    error     // why no record can be written there; nil: records can
	asked      time.Time // when Kafka was asked
	partitions int
	replicas   int
	compacted  bool // Kafka accepts no record without a key
	largest    int  // maximum size of a batch, in bytes
	inSync     int  // min.insync.replicas
	unclean    bool // unclean.leader.election.enable
}

// retryRefusedAfter is how long a topic that refused records is left alone; meanwhile its events go to the topic of refused ones.
const retryRefusedAfter = time.Minute

// outdated reports whether a topic was refused long enough ago to try it again.
func (t *brokerTopic) outdated() bool {
	return t.refused != nil && time.Since(t.asked) > retryRefusedAfter
}

// The operations that the user may do with a topic are a set of bits. Brokers before Kafka 2.3 do not report them.
const (
	writeOperation    = 1 << kmsg.ACLOperationWrite
	unknownOperations = math.MinInt32
)

// readTopicConfigs queries the configuration of topics. Without the privilege DESCRIBE_CONFIGS the settings stay unknown.
func (l *Log) readTopicConfigs(ctx context.Context, topics ...string) {
	if len(topics) == 0 {
		return
	}
	configs, _ := kadm.NewClient(l.client).DescribeTopicConfigs(ctx, topics...)
	for _, topic := range configs {
		if known := l.known[topic.Name]; known != nil && topic.Err == nil {
			known.configure(topic.Configs)
			l.storeBatchLimit(topic.Name, known)
		}
	}
}

func (t *brokerTopic) configure(configs []kadm.Config) {
	segment := math.MaxInt
	for _, c := range configs {
		number, _ := strconv.Atoi(c.MaybeValue())
		switch c.Key {
		case "cleanup.policy":
			t.compacted = strings.Contains(c.MaybeValue(), "compact")
		case "max.message.bytes":
			t.largest = number
		case "segment.bytes":
			segment = number
		case "min.insync.replicas":
			t.inSync = number
		case "unclean.leader.election.enable":
			t.unclean = c.MaybeValue() == "true"
		}
	}
	t.largest = min(t.largest, segment)
}

// batchBytes returns the largest record batch for a topic. Kafka's client calls it from its own goroutines.
func (l *Log) batchBytes(topic string) int32 {
	if largest, known := l.largest.Load(topic); known {
		return largest.(int32)
	}
	return l.cfg.MaxRecordBytes
}

// checkRecordSizes returns an error if a record of the batch is larger than its topic accepts: it was composed before the topic's limit was known.
func (l *Log) checkRecordSizes(b *record.Batch) (err error) {
	b.EachSize(record.Cursor{}, func(i, size int) {
		if t := l.known[b.Topic(i)]; err == nil && l.acceptsLess(t) && size > t.largest-record.Overhead {
			err = l.smallTopicError(b.Topic(i), t.largest, fmt.Errorf("one has %d", size))
		}
	})
	return err
}

// smallTopicError returns the error of a topic that accepts only smaller records, with the command that raises its limit.
func (l *Log) smallTopicError(topic string, bytes int, err error) error {
	repair := "run " + record.AlterTopic(l.cfg.Brokers, topic, fmt.Sprintf("max.message.bytes=%d", int(l.cfg.MaxRecordBytes)+batchHeader))
	return &publisher.SmallTopic{Topic: topic, Bytes: bytes, Err: err, Repair: repair}
}

// acceptsLess reports whether a topic accepts less than the configured maximum.
func (l *Log) acceptsLess(t *brokerTopic) bool {
	return t.largest > 0 && t.largest < int(l.cfg.MaxRecordBytes)
}

// storeBatchLimit records the largest batch that a topic accepts.
func (l *Log) storeBatchLimit(topic string, t *brokerTopic) {
	if l.acceptsLess(t) {
		l.largest.Store(topic, int32(max(t.largest, minBatchBytes)))
	} else if t.largest > 0 {
		l.largest.Delete(topic)
	}
}

// minBatchBytes is the smallest limit that Kafka's client accepts.
const minBatchBytes = 512

// checkPartitions checks the number of partitions of a topic, for records that go into every partition. If partitions were added, the client may not know
// them yet and must be recreated.
func (l *Log) checkPartitions(ctx context.Context, topic string) error {
	found, err := findTopics(ctx, l.client, topic)
	if err != nil {
		return classify(fmt.Errorf("partitions of topic %s: %w", topic, err))
	}
	now := found[topic]
	if now == nil {
		return nil // a broker may learn of a new topic a moment later
	}
	if known := l.known[topic]; known.partitions != now.partitions {
		return fmt.Errorf("topic %s has %d partitions, but had %d: its partitions are queried again", topic, now.partitions, known.partitions)
	}
	return nil
}

// findTopics queries a broker for topics, bypassing the client's cache. Topics that do not exist, or that the user may not see, are left out.
// Topics to which the user may not write are refused: a transaction that includes one fails without saying which it was.
func findTopics(ctx context.Context, client *kgo.Client, names ...string) (map[string]*brokerTopic, error) {
	request := kmsg.NewPtrMetadataRequest()
	request.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	found := map[string]*brokerTopic{}
	for _, topic := range response.Topics {
		if topic.ErrorCode == 0 && topic.Topic != nil && len(topic.Partitions) > 0 {
			t := &brokerTopic{partitions: len(topic.Partitions), replicas: len(topic.Partitions[0].Replicas)}
			if may := topic.AuthorizedOperations; may != unknownOperations && may&writeOperation == 0 {
				t.refused = fmt.Errorf("topic %s: %w", *topic.Topic, kerr.TopicAuthorizationFailed)
			}
			found[*topic.Topic] = t
		}
	}
	return found, nil
}

// refusedRecords classifies the error of records of a flight that were sent to a topic; it may ask Kafka about the topic. The caller closes the client
// afterwards.
func (l *Log) refusedRecords(ctx context.Context, f *flight, topic string, err error) error {
	before := l.known[topic]
	if before == nil {
		return classify(err)
	}
	switch {
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		used := int(l.batchBytes(topic))
		now := *before
		l.known[topic] = &now
		l.readTopicConfigs(ctx, topic)
		if now.largest == 0 || now.largest >= used {
			now.largest = used / 2 // the limit is unknown, or another limit applies: try less
		}
		l.largest.Store(topic, int32(max(now.largest, minBatchBytes)))
		return l.smallTopicError(topic, now.largest, err)
	case errors.Is(err, kerr.InvalidRecord) && !before.compacted && !l.keyed[topic]:
		l.keyed[topic] = true // the most likely cause: it has become compacted, or its configuration is not visible
		return fmt.Errorf("%w: tried again with a key in each record", err)
	case isTopicError(err) && f.hasEvents(topic) && topic != l.cfg.Router.Refused():
		maps.DeleteFunc(l.rejected, func(_ string, t *brokerTopic) bool { return t.outdated() })
		l.rejected[topic] = &brokerTopic{refused: err, asked: time.Now()}
		return fmt.Errorf("%w: tried again with its events in %s", err, l.cfg.Router.Refused())
	}
	return classify(err)
}
