package publisher

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/twmb/franz-go/pkg/kadm"
)

// topics are the topics of a prefix that are not of a table.
type topics struct{ audit, ddl, deadLetter, progress string }

func topicsOf(prefix string) topics {
	return topics{
		audit: TopicName(prefix, "audit"), ddl: TopicName(prefix, "ddl"),
		deadLetter: TopicName(prefix, "dead-letter"), progress: TopicName(prefix, "progress"),
	}
}

// TopicName joins parts with dots. Characters that Kafka does not take become underscores; that two
// names may become the same one is caught when they are published.
func TopicName(parts ...string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '_'
	}, strings.Join(parts, "."))
}

// owners knows, by topic, which table (or kind of message) is published to it.
type owners map[string]owner

type owner struct {
	name     string
	relation *pgoutput.Relation // of its last record: most need no comparison of names
}

// claim refuses a record of the batch, from the given one on, whose topic another table has, unless the shape
// lets them share it. Events own no topic, and are refused in that of a table.
func (o owners) claim(b *Batch, from int, c *outbox.Change, shape *Shape, router *Router) error {
	for i := from; i < len(b.entries); i++ {
		e := &b.entries[i]
		have, known := o[e.topic]
		if e.event {
			if known {
				b.Refuse(i, router.Refused(), e.topic, fmt.Errorf("the topic of %s", have.name))
			}
			continue
		}
		if known && c.Relation != nil && have.relation == c.Relation {
			continue
		}
		name := sourceName(c)
		if known && have.name != name && !(c.Relation != nil && shape.TopicSettings(e.topic).Shared) {
			return &Halt{ErrTopicCollision, fmt.Sprintf("%s and %s both map to topic %s", have.name, name, e.topic), "give one of them another topic or exclude it, or say that the topic is shared (tables: [{match, topic, shared: true}])"}
		}
		o[e.topic] = owner{name, c.Relation}
	}
	return nil
}

// topicConfigs are those of a new topic: the broker's, save for larger records and what the shape says.
func (c Config) topicConfigs(own map[string]string) map[string]*string {
	configs := map[string]*string{}
	if c.MaxRecordBytes > defaultRecordBytes {
		const batchHeader = 64 << 10 // more than it needs
		configs["max.message.bytes"] = kadm.StringPtr(strconv.Itoa(int(c.MaxRecordBytes) + batchHeader))
	}
	for name, value := range own {
		configs[name] = kadm.StringPtr(value)
	}
	return configs
}

// ensureTopics creates what topics of the batch are missing, before the first record goes there. The
// application names the topics of its events: one that Kafka does not take is no reason to halt.
func (l *kafkaLog) ensureTopics(ctx context.Context, b *Batch) error {
	if err := l.learn(ctx, l.unknownTopics(b)); err != nil {
		return err
	}
	last := ""
	for i := range b.entries {
		e := &b.entries[i]
		if e.topic == last {
			continue
		}
		err := l.known[e.topic]
		if err != nil && e.event && e.topic != l.cfg.Router.Refused() {
			err = l.refuse(ctx, b, i, err)
		}
		if err != nil {
			return err
		}
		last = e.topic
	}
	return nil
}

// refuse sends an event whose topic Kafka does not take to the one for such events.
func (l *kafkaLog) refuse(ctx context.Context, b *Batch, i int, why error) error {
	topic := l.cfg.Router.Refused()
	b.Refuse(i, topic, b.entries[i].topic, why)
	if err, known := l.known[topic]; known {
		return err
	}
	if err := l.learn(ctx, []string{topic}); err != nil {
		return err
	}
	return l.known[topic]
}

// maxKnownTopics bounds what is remembered of topics; it is learnt again.
const maxKnownTopics = 10_000

// unknownTopics lists, each once, the topics of the batch that may be missing.
func (l *kafkaLog) unknownTopics(b *Batch) []string {
	if len(l.known) >= maxKnownTopics {
		clear(l.known)
	}
	var unknown []string
	last := ""
	for i := range b.entries {
		topic := b.entries[i].topic
		if topic == last {
			continue
		}
		last = topic
		if _, known := l.known[topic]; !known && !slices.Contains(unknown, topic) {
			unknown = append(unknown, topic)
		}
	}
	return unknown
}

// createdAtOnce is how many topics are created at the same time: each takes Kafka's controller some milliseconds.
const createdAtOnce = 16

// together counts the topics that may be created at the same time. Of names that differ in dots and underscores only, Kafka
// takes the first: which one that is must not depend on which is quicker.
func together(topics []string) int {
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

// learn creates the topics that do not exist and remembers which ones Kafka refuses.
func (l *kafkaLog) learn(ctx context.Context, topics []string) error {
	if len(topics) == 0 {
		return nil
	}
	found, err := kadm.NewClient(l.client).ListTopics(ctx, topics...)
	if err != nil {
		return fmt.Errorf("look for topics: %w", err)
	}
	var missing []string
	for _, topic := range topics {
		if d, ok := found[topic]; ok && d.Err == nil {
			l.known[topic] = nil
		} else {
			missing = append(missing, topic)
		}
	}
	return l.createAll(ctx, missing)
}

func (l *kafkaLog) createAll(ctx context.Context, topics []string) error {
	for len(topics) > 0 {
		some := topics[:together(topics)]
		topics = topics[len(some):]
		errs := make([]error, len(some))
		var creating sync.WaitGroup
		for i, topic := range some {
			creating.Go(func() { errs[i] = l.create(ctx, topic) })
		}
		creating.Wait()
		for i, topic := range some {
			if errs[i] != nil && !isRefusal(errs[i]) {
				return errs[i]
			}
			l.known[topic] = errs[i]
		}
	}
	return nil
}

// create creates a topic of records unless it exists.
func (l *kafkaLog) create(ctx context.Context, topic string) error {
	own := l.cfg.Shape.TopicSettings(topic)
	orDefault(&own.Partitions, l.cfg.Partitions)
	orDefault(&own.ReplicationFactor, l.cfg.ReplicationFactor)
	_, err := ensureTopic(ctx, kadm.NewClient(l.client), topic, own.Partitions, own.ReplicationFactor, l.cfg.topicConfigs(own.Config))
	return err
}

// ensureTopic creates a topic unless it exists; then it returns how many partitions that has. For one
// that exists the right to create topics is not needed.
func ensureTopic(ctx context.Context, admin *kadm.Client, topic string, partitions int32, replicas int16, configs map[string]*string) (existing int, err error) {
	_, refused := admin.CreateTopic(ctx, partitions, replicas, configs, topic)
	if refused == nil {
		return 0, nil
	}
	details, err := admin.ListTopics(ctx, topic)
	if err != nil || !details.Has(topic) || details[topic].Err != nil {
		return 0, fmt.Errorf("create topic %s: %w", topic, refused)
	}
	return len(details[topic].Partitions), nil
}
