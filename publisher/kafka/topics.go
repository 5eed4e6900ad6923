package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// batchHeader is an upper bound of the header of a record batch.
const batchHeader = 64 << 10

// ensureTopics creates the missing topics of the batch before any record is sent there, and checks that each topic accepts its records. The
// application chooses the topics of its events: one that Kafka rejects is not a reason to halt.
func (l *Log) ensureTopics(ctx context.Context, b *record.Batch) error {
	if err := l.learn(ctx, l.unknownTopics(b)); err != nil {
		return err
	}
	last, small := "", false
	for i := range b.Len() {
		topic := b.Topic(i)
		if b.IsEverywhere(i) {
			if err := l.checkPartitions(ctx, topic); err != nil {
				return err
			}
		}
		if topic == last {
			continue
		}
		err := l.known[topic].refused
		if err != nil && b.IsEvent(i) && topic != l.cfg.Router.Refused() {
			err = l.refuse(ctx, b, i, err)
		}
		if err != nil {
			return l.unusable(b.Topic(i), err)
		}
		last, small = b.Topic(i), small || l.acceptsLess(l.known[b.Topic(i)]) // refuse may have moved the event to another topic
	}
	if small {
		return l.checkRecordSizes(b)
	}
	return nil
}

// unusable classifies why Kafka rejects a topic: if its name is the reason, the table can have another topic.
func (l *Log) unusable(topic string, why error) error {
	if l.cfg.Shape.TopicSettings(topic).Own != "" && (errors.Is(why, publisher.ErrOwnTopic) || errors.Is(why, kerr.InvalidTopicException)) {
		return &publisher.UnusableTopic{Topic: topic, Why: why, Repair: reactions[kerr.InvalidTopicException].repair}
	}
	return why
}

// refuse redirects an event whose topic Kafka rejects to the topic of refused events.
func (l *Log) refuse(ctx context.Context, b *record.Batch, i int, why error) error {
	topic := l.cfg.Router.Refused()
	b.Refuse(i, topic, b.Topic(i), why)
	if known := l.known[topic]; known != nil {
		return known.refused
	}
	if err := l.learn(ctx, []string{topic}); err != nil {
		return err
	}
	return l.known[topic].refused
}

// maxKnownTopics bounds the topics that are remembered. Beyond it, all topics are queried again.
const maxKnownTopics = 10_000

// unknownTopics returns the topics of the batch that may be missing, without duplicates.
func (l *Log) unknownTopics(b *record.Batch) []string {
	if len(l.known) >= maxKnownTopics {
		clear(l.known)
	}
	var unknown []string
	last := ""
	for i := range b.Len() {
		topic := b.Topic(i)
		if topic == last {
			continue
		}
		last = topic
		if known := l.known[topic]; (known == nil || known.outdated()) && !slices.Contains(unknown, topic) {
			unknown = append(unknown, topic)
		}
	}
	return unknown
}

// createdAtOnce is how many topics are created concurrently: each takes Kafka's controller a few milliseconds.
const createdAtOnce = 16

// creatableAtOnce returns how many of the first topics may be created concurrently. Of names that differ only in dots and underscores, Kafka accepts
// only the first one: which one that is must not depend on a race.
func creatableAtOnce(topics []string) int {
	var folded []string
	for _, topic := range topics[:min(len(topics), createdAtOnce)] {
		name := strings.ReplaceAll(topic, ".", "_")
		if slices.Contains(folded, name) {
			break
		}
		folded = append(folded, name)
	}
	return len(folded)
}

// learn creates the topics that do not exist and remembers which ones Kafka rejects.
func (l *Log) learn(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	found, err := findTopics(ctx, l.client, l.withOwn(topics)...)
	if err != nil {
		return fmt.Errorf("look for topics: %w", err)
	}
	var there, missing []string
	for _, topic := range topics {
		switch {
		case found[l.cfg.Shape.TopicSettings(topic).Own] != nil:
			l.known[topic] = &brokerTopic{refused: publisher.ErrOwnTopic}
		case found[topic] != nil:
			l.known[topic] = found[topic]
			there = append(there, topic)
		default:
			missing = append(missing, topic)
		}
	}
	if err := l.createAll(ctx, missing); err != nil {
		return err
	}
	for _, topic := range missing {
		l.storeBatchLimit(topic, l.known[topic])
	}
	l.readTopicConfigs(ctx, there...)
	for _, topic := range topics {
		t := l.known[topic]
		t.compacted, t.asked = t.compacted || l.keyed[topic], time.Now()
		if r, rejected := l.rejected[topic]; rejected && !r.outdated() && t.refused == nil {
			t.refused, t.asked = r.refused, r.asked
		}
	}
	return l.checkDurable(topics)
}

// withOwn returns the topics and, for those of tables, the alternatives that the tables may have been given.
func (l *Log) withOwn(topics []string) []string {
	all := slices.Clone(topics)
	for _, topic := range topics {
		if own := l.cfg.Shape.TopicSettings(topic).Own; own != "" {
			all = append(all, own)
		}
	}
	return all
}

func (l *Log) createAll(ctx context.Context, topics []string) error {
	for len(topics) > 0 {
		some := topics[:creatableAtOnce(topics)]
		topics = topics[len(some):]
		made := make([]*brokerTopic, len(some))
		errs := make([]error, len(some))
		var creating sync.WaitGroup
		for i, topic := range some {
			creating.Go(func() { made[i], errs[i] = l.create(ctx, topic) })
		}
		creating.Wait()
		for i, topic := range some {
			if errs[i] != nil && !isTopicError(errs[i]) {
				return errs[i]
			}
			if l.known[topic] = made[i]; errs[i] != nil {
				l.known[topic] = &brokerTopic{refused: errs[i]}
			}
		}
	}
	return nil
}

// create creates a topic of records unless it exists.
func (l *Log) create(ctx context.Context, topic string) (*brokerTopic, error) {
	own := l.cfg.Shape.TopicSettings(topic)
	partitions, replicas := cmp.Or(own.Partitions, l.cfg.Partitions), cmp.Or(own.ReplicationFactor, l.cfg.ReplicationFactor)
	made, _, err := ensureTopic(ctx, l.client, topic, partitions, replicas, l.cfg.topicConfigs(topic, own.Config))
	return made, err
}

// ensureTopic creates a topic unless it exists. If it exists, no privilege to create topics is needed.
func ensureTopic(ctx context.Context, client *kgo.Client, topic string, partitions int32, replicas int16, configs map[string]*string) (t *brokerTopic, created bool, err error) {
	made, refused := kadm.NewClient(client).CreateTopic(ctx, partitions, replicas, configs, topic)
	if refused == nil {
		t = &brokerTopic{partitions: int(max(made.NumPartitions, partitions)), replicas: int(made.ReplicationFactor)}
		t.configure(slices.Collect(maps.Values(made.Configs)))
		return t, true, nil
	}
	found, err := findTopics(ctx, client, topic)
	if err != nil || found[topic] == nil {
		return nil, false, fmt.Errorf("create topic %s: %w", topic, withMessage(refused, made.ErrMessage))
	}
	return found[topic], false, nil
}
