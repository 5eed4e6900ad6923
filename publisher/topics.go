package publisher

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/twmb/franz-go/pkg/kadm"
)

// topics are the topics of a prefix that are not of a table.
type topics struct{ audit, ddl, progress string }

func topicsOf(prefix string) topics {
	return topics{audit: TopicName(prefix, "audit"), ddl: TopicName(prefix, "ddl"), progress: TopicName(prefix, "progress")}
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
	last := ""
	for i := range b.entries {
		e := &b.entries[i]
		if e.topic == last {
			continue
		}
		err := l.ensureOnce(ctx, e.topic)
		if refused := l.cfg.Router.Refused(); e.event && isRefusal(err) && e.topic != refused {
			b.Refuse(i, refused, e.topic, err)
			err = l.ensureOnce(ctx, refused)
		}
		if err != nil {
			return err
		}
		last = e.topic
	}
	return nil
}

// maxKnownTopics bounds what is remembered of topics; it is learnt again.
const maxKnownTopics = 10_000

// ensureOnce creates a topic unless it is known to exist. That Kafka does not take its name is remembered, too.
func (l *kafkaLog) ensureOnce(ctx context.Context, topic string) error {
	if err, known := l.known[topic]; known {
		return err
	}
	own := l.cfg.Shape.TopicSettings(topic)
	orDefault(&own.Partitions, l.cfg.Partitions)
	orDefault(&own.ReplicationFactor, l.cfg.ReplicationFactor)
	_, err := ensureTopic(ctx, kadm.NewClient(l.client), topic, own.Partitions, own.ReplicationFactor, l.cfg.topicConfigs(own.Config))
	if err != nil && !isRefusal(err) {
		return err
	}
	if len(l.known) >= maxKnownTopics {
		clear(l.known)
	}
	l.known[topic] = err
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
