package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// Exactly-once delivery requires that Kafka never loses acknowledged records: at least two replicas, min.insync.replicas of at least 2 and no unclean
// leader election, both for pgtee's topics and for that of the transaction coordinator.

const transactionState = "__transaction_state"

// weakness returns why a topic may lose acknowledged records; "" if it does not, or if its settings are not known.
func (t *brokerTopic) weakness() string {
	var why []string
	if t.replicas == 1 {
		why = append(why, "1 replica")
	}
	if t.inSync == 1 {
		why = append(why, "min.insync.replicas=1")
	}
	if t.unclean {
		why = append(why, "unclean.leader.election.enable=true")
	}
	return strings.Join(why, ", ")
}

// checkDurable logs each weakness once, or halts with RequireDurable.
func (l *Log) checkDurable(topics []string) error {
	for _, topic := range topics {
		why := l.known[topic].weakness()
		if why == "" || l.warned[why] {
			continue
		}
		if l.cfg.RequireDurable {
			return halt.New(halt.ErrNotDurable, fmt.Sprintf("topic %s has %s", topic, why), l.cfg.RepairDurable(topic)+", or start without --require-durable-topics")
		}
		l.warned[why] = true
		l.cfg.Log.Warn("when Kafka loses a broker, it may lose records that it has acknowledged: exactly-once delivery is not guaranteed", zap.String("finding", "topic-not-durable"), zap.String("topic", topic), zap.String("has", why), zap.String("repair", l.cfg.RepairDurable(topic)))
	}
	return nil
}

// checkDurableProgress checks, once, the topics of the position and of Kafka's transactions.
func (l *Log) checkDurableProgress(ctx context.Context) error {
	if l.checkedTopics {
		return nil
	}
	topics, err := durability(ctx, l.client, l.topics.Progress, transactionState)
	if err != nil {
		l.cfg.Log.Debug("durability of the topics", zap.Error(err)) // a lasting error will occur again elsewhere
		return nil
	}
	l.checkedTopics = true
	var names []string
	for name, topic := range topics {
		l.known[name] = topic
		names = append(names, name)
	}
	slices.Sort(names)
	return l.checkDurable(names)
}

// durability queries the settings of topics. Topics that do not exist, or that the user may not see, are left out.
func durability(ctx context.Context, client *kgo.Client, topics ...string) (map[string]*brokerTopic, error) {
	known, err := findTopics(ctx, client, topics...)
	if err != nil || len(known) == 0 {
		return known, err
	}
	configs, err := kadm.NewClient(client).DescribeTopicConfigs(ctx, slices.Collect(maps.Keys(known))...)
	for _, c := range configs {
		if t := known[c.Name]; t != nil && c.Err == nil {
			t.configure(c.Configs)
		}
	}
	return known, err
}

// WeakTopic is a topic that may lose acknowledged records.
type WeakTopic struct{ Name, Why string }

// WeakTopics returns the topics of a prefix, and Kafka's own topic of transactions, that may lose acknowledged records, and the number of topics with
// the prefix.
func WeakTopics(ctx context.Context, cfg Config) (weak []WeakTopic, topics int, err error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, cfg.KafkaOptions...)...)
	if err != nil {
		return nil, 0, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	all, err := kadm.NewClient(client).ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, 0, err
	}
	var names []string
	for _, name := range all.Names() {
		if strings.HasPrefix(name, cfg.Prefix+".") || name == transactionState {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	known, err := durability(ctx, client, names...)
	for _, name := range names {
		if t := known[name]; t != nil && t.weakness() != "" {
			weak = append(weak, WeakTopic{name, t.weakness()})
		}
		if name != transactionState {
			topics++
		}
	}
	return weak, topics, err
}
