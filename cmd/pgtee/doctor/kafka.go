package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/record"
)

// histories are the topics that must not be compacted: every record counts, whatever its key.
var histories = []string{"audit", "ddl", "transaction", "dead-letter"}

// Kafka checks the topics of a prefix, and whether the publisher of cfg has the privileges it needs. It changes nothing.
func Kafka(ctx context.Context, cfg kafka.Config) ([]outbox.Finding, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, cfg.KafkaOptions...)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	k := &kafkaCheck{cfg: cfg, admin: kadm.NewClient(client)}
	for _, look := range []func(context.Context) error{k.durability, k.topics, k.transactions, k.letters} {
		if err := look(ctx); err != nil {
			return k.findings, fmt.Errorf("inspect Kafka: %w", err)
		}
	}
	return k.findings, nil
}

type kafkaCheck struct {
	cfg      kafka.Config
	admin    *kadm.Client
	findings []outbox.Finding
}

func (k *kafkaCheck) add(id, repair, format string, args ...any) {
	entry, _ := Lookup(id)
	k.findings = append(k.findings, outbox.Finding{ID: id, Severity: entry.Severity, Text: fmt.Sprintf(format, args...), Repair: repair})
}

// alter returns the command that sets configs of a topic.
func (k *kafkaCheck) alter(topic, configs string) string {
	return fmt.Sprintf("`kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config %s`", strings.Join(k.cfg.Brokers, ","), topic, configs)
}

func (k *kafkaCheck) durability(ctx context.Context) error {
	weak, topics, err := kafka.WeakTopics(ctx, k.cfg)
	if err != nil {
		return err
	}
	for _, t := range weak {
		k.add("topic-not-durable", k.cfg.RepairDurable(t.Name), "topic %s has %s: Kafka may lose what it has confirmed", t.Name, t.Why)
	}
	if topics == 0 {
		k.add("topics-missing", "check again when the publisher has started", "there are no topics %s.* yet", k.cfg.Prefix)
	}
	return nil
}

// topics checks the configuration of the topics of the prefix.
func (k *kafkaCheck) topics(ctx context.Context) error {
	all, err := k.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	names := slices.DeleteFunc(all.Names(), func(name string) bool { return !strings.HasPrefix(name, k.cfg.Prefix+".") })
	if len(names) == 0 {
		return nil
	}
	configs, err := k.admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return err
	}
	progress := record.TopicName(k.cfg.Prefix, "progress")
	for _, topic := range configs {
		if errors.Is(topic.Err, kerr.TopicAuthorizationFailed) {
			k.add("kafka-privilege", "grant DESCRIBE_CONFIGS on topics "+k.cfg.Prefix+".*", "the configuration of topic %s cannot be read", topic.Name)
			return nil // the others have the same result
		}
		k.topic(topic, progress)
	}
	if n := len(all[progress].Partitions); n > 1 {
		k.add("progress-topic", "use another --prefix, or delete the topic if nothing was published with it", "%s has %d partitions, want 1: a record could be in any", progress, n)
	}
	return nil
}

func (k *kafkaCheck) topic(topic kadm.ResourceConfig, progress string) {
	short, _ := strings.CutPrefix(topic.Name, k.cfg.Prefix+".")
	for _, c := range topic.Configs {
		value := c.MaybeValue()
		switch {
		case c.Key == "cleanup.policy" && topic.Name == progress && value != "compact":
			k.add("progress-topic", "run "+k.alter(topic.Name, "cleanup.policy=compact"), "%s has cleanup.policy=%s, so its records expire", topic.Name, value)
		case c.Key == "cleanup.policy" && slices.Contains(histories, short) && strings.Contains(value, "compact"):
			k.add("topic-compacted", "run "+k.alter(topic.Name, "cleanup.policy=delete"), "topic %s has cleanup.policy=%s: Kafka deletes what has the key of a later record", topic.Name, value)
		case c.Key == "max.message.bytes":
			bytes, _ := strconv.Atoi(value)
			if want := int(k.cfg.MaxRecordBytes); bytes > 0 && bytes < want {
				k.add("topic-message-bytes", fmt.Sprintf("run %s, or lower --max-record-bytes", k.alter(topic.Name, "max.message.bytes="+strconv.Itoa(want+recordRoom))),
					"topic %s takes records of %d bytes, --max-record-bytes is %d", topic.Name, bytes, want)
			}
		}
	}
}

// recordRoom is more than the header of a batch adds to a record.
const recordRoom = 64 << 10

// transactions checks whether the publisher may use transactions, and with the timeout that it requests.
func (k *kafkaCheck) transactions(ctx context.Context) error {
	found := k.admin.FindTxnCoordinators(ctx, k.cfg.TransactionalID())
	if coordinator := found[k.cfg.TransactionalID()]; errors.Is(coordinator.Err, kerr.TransactionalIDAuthorizationFailed) {
		k.add("kafka-privilege", "grant DESCRIBE and WRITE on transactional ids pgtee-*", "the user lacks the privilege to use transactional id %s", k.cfg.TransactionalID())
	}
	brokers, err := k.admin.ListBrokers(ctx)
	if err != nil || len(brokers) == 0 {
		return err
	}
	configs, err := k.admin.DescribeBrokerConfigs(ctx, brokers[0].NodeID)
	if err != nil || len(configs) == 0 || configs[0].Err != nil {
		return nil // this requires a privilege that a publisher does not need
	}
	for _, c := range configs[0].Configs {
		most, _ := strconv.ParseInt(c.MaybeValue(), 10, 64)
		if c.Key == "transaction.max.timeout.ms" && most > 0 && k.cfg.TransactionTimeout.Milliseconds() > most {
			k.add("transaction-timeout", "raise transaction.max.timeout.ms of the brokers to twice --part-after, or lower that option",
				"brokers allow transactions of %s, the publisher asks for %s", time.Duration(most)*time.Millisecond, k.cfg.TransactionTimeout)
		}
	}
	return nil
}

func (k *kafkaCheck) letters(ctx context.Context) error {
	n, err := kafka.DeadLetters(ctx, k.cfg)
	if n > 0 {
		k.add("dead-letters", "read what is there; raise max.message.bytes and --max-record-bytes if such changes come again",
			"about %d records in %s: changes that were too large", n, record.TopicName(k.cfg.Prefix, "dead-letter"))
	}
	return err
}
