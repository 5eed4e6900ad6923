package publisher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
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

// claim returns an error for a record of the batch, from the given one on, whose topic another table has, unless the shape
// lets them share it. Events share their topics, and are refused in that of a table.
func (o owners) claim(b *Batch, from int, c *outbox.Change, shape *Shape, router *Router) *unusableTopic {
	for i := from; i < len(b.entries); i++ {
		e := &b.entries[i]
		have, known := o[e.topic]
		switch {
		case e.event && known && have.name != eventsOwner:
			b.Refuse(i, router.Refused(), e.topic, fmt.Errorf("the topic of %s", have.name))
			continue
		case e.event && !known && len(o) < maxKnownTopics:
			o[e.topic] = owner{name: eventsOwner}
			continue
		case e.event:
			continue
		case known && c.Relation != nil && have.relation == c.Relation:
			continue
		}
		next := owner{sourceName(c), c.Relation}
		if known && !have.is(next) && !(c.Relation != nil && shape.TopicSettings(e.topic).Shared) {
			return &unusableTopic{e.topic, fmt.Errorf("it is that of %s", have.name)}
		}
		o[e.topic] = next
	}
	return nil
}

// eventsOwner owns the topics of the application's events.
const eventsOwner = "events of the application"

// is says whether two owners are the same one: a table that was renamed is.
func (o owner) is(other owner) bool {
	return o.name == other.name || o.relation != nil && other.relation != nil && o.relation.OID != 0 && o.relation.OID == other.relation.OID
}

// batchHeader is more than the header of a batch needs.
const batchHeader = 64 << 10

// topicConfigs are those of a new topic: the broker's, save for larger records and what the shape says. A topic of pgtee's own
// has a history, whatever the brokers do by default.
func (c Config) topicConfigs(topic string, own map[string]string) map[string]*string {
	configs := map[string]*string{}
	if name, ours := strings.CutPrefix(topic, TopicName(c.Prefix)+"."); ours && slices.Contains(internal, name) {
		configs["cleanup.policy"] = kadm.StringPtr("delete")
	}
	if c.MaxRecordBytes > defaultRecordBytes {
		configs["max.message.bytes"] = kadm.StringPtr(strconv.Itoa(int(c.MaxRecordBytes) + batchHeader))
	}
	for name, value := range own {
		configs[name] = kadm.StringPtr(value)
	}
	return configs
}

// alterTopic is what an operator runs to set configs of a topic.
func (c Config) alterTopic(topic, configs string) string {
	return fmt.Sprintf("`kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s`", strings.Join(c.Brokers, ","), topic, configs)
}

// ensureTopics creates what topics of the batch are missing, before the first record goes there, and looks whether they take
// its records. The application names the topics of its events: one that Kafka does not take is no reason to halt.
func (l *kafkaLog) ensureTopics(ctx context.Context, b *Batch) error {
	if err := l.learn(ctx, l.unknownTopics(b)); err != nil {
		return err
	}
	last, small := "", false
	for i := range b.entries {
		e := &b.entries[i]
		if e.everywhere {
			if err := l.recount(ctx, e.topic); err != nil {
				return err
			}
		}
		if e.topic == last {
			continue
		}
		err := l.known[e.topic].refused
		if err != nil && e.event && e.topic != l.cfg.Router.Refused() {
			err = l.refuse(ctx, b, i, err)
		}
		if err != nil {
			return l.unusable(e.topic, err)
		}
		last, small = e.topic, small || l.takesLess(l.known[e.topic])
	}
	if small {
		return l.fit(b)
	}
	return nil
}

// unusable says what it means that Kafka does not take a topic: if its name is the reason, a table can have another one.
func (l *kafkaLog) unusable(topic string, why error) error {
	if l.cfg.Shape.TopicSettings(topic).Own != "" && (errors.Is(why, errOwnTopic) || errors.Is(why, kerr.InvalidTopicException)) {
		return &unusableTopic{topic, why}
	}
	return why
}

// refuse sends an event whose topic Kafka does not take to the one for such events.
func (l *kafkaLog) refuse(ctx context.Context, b *Batch, i int, why error) error {
	topic := l.cfg.Router.Refused()
	b.Refuse(i, topic, b.entries[i].topic, why)
	if known := l.known[topic]; known != nil {
		return known.refused
	}
	if err := l.learn(ctx, []string{topic}); err != nil {
		return err
	}
	return l.known[topic].refused
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
	found, err := findTopics(ctx, l.client, l.withOwn(topics)...)
	if err != nil {
		return fmt.Errorf("look for topics: %w", err)
	}
	var there, missing []string
	for _, topic := range topics {
		switch {
		case found[l.cfg.Shape.TopicSettings(topic).Own] != nil:
			l.known[topic] = &brokerTopic{refused: errOwnTopic}
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
		l.bound(topic, l.known[topic])
	}
	l.describe(ctx, there...)
	for _, topic := range topics {
		l.known[topic].compacted = l.known[topic].compacted || l.keyed[topic]
	}
	return l.checkDurable(topics)
}

// withOwn returns topics, and those that their tables may have in place of them.
func (l *kafkaLog) withOwn(topics []string) []string {
	all := slices.Clone(topics)
	for _, topic := range topics {
		if own := l.cfg.Shape.TopicSettings(topic).Own; own != "" {
			all = append(all, own)
		}
	}
	return all
}

func (l *kafkaLog) createAll(ctx context.Context, topics []string) error {
	for len(topics) > 0 {
		some := topics[:together(topics)]
		topics = topics[len(some):]
		made := make([]*brokerTopic, len(some))
		errs := make([]error, len(some))
		var creating sync.WaitGroup
		for i, topic := range some {
			creating.Go(func() { made[i], errs[i] = l.create(ctx, topic) })
		}
		creating.Wait()
		for i, topic := range some {
			if a, answered := answerTo(errs[i]); errs[i] != nil && (!answered || a.repair == "") {
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
func (l *kafkaLog) create(ctx context.Context, topic string) (*brokerTopic, error) {
	own := l.cfg.Shape.TopicSettings(topic)
	orDefault(&own.Partitions, l.cfg.Partitions)
	orDefault(&own.ReplicationFactor, l.cfg.ReplicationFactor)
	made, _, err := ensureTopic(ctx, l.client, topic, own.Partitions, own.ReplicationFactor, l.cfg.topicConfigs(topic, own.Config))
	return made, err
}

// ensureTopic creates a topic unless it exists. For one that exists the right to create topics is not needed.
func ensureTopic(ctx context.Context, client *kgo.Client, topic string, partitions int32, replicas int16, configs map[string]*string) (t *brokerTopic, created bool, err error) {
	made, refused := kadm.NewClient(client).CreateTopic(ctx, partitions, replicas, configs, topic)
	if refused == nil {
		t = &brokerTopic{partitions: int(max(made.NumPartitions, partitions)), replicas: int(made.ReplicationFactor)}
		t.configure(slices.Collect(maps.Values(made.Configs)))
		return t, true, nil
	}
	found, err := findTopics(ctx, client, topic)
	if err != nil || found[topic] == nil {
		return nil, false, fmt.Errorf("create topic %s: %w", topic, inWords(refused, made.ErrMessage))
	}
	return found[topic], false, nil
}
