package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/record"
)

// histories are the topics that must not be compacted: every record counts, whatever its key.
var histories = []string{"audit", "ddl", "transaction", "dead-letter"}

// Kafka checks the topics of a prefix, and whether the publisher of cfg has the privileges it needs, and may publish under it what
// comes from origin; without an ID, origin is not known. It changes nothing.
func Kafka(ctx context.Context, cfg kafka.Config, origin outbox.System) ([]outbox.Finding, error) {
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cfg.Brokers...)}, cfg.KafkaOptions...)...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	k := &kafkaCheck{cfg: cfg, origin: origin, client: client, admin: kadm.NewClient(client)}
	// privileges asks for topics that the user may not see, and the client then refuses to list anything.
	for _, look := range []func(context.Context) error{k.topics, k.transactions, k.privileges, k.durability, k.letters, k.positions} {
		if err := look(ctx); err != nil {
			return k.findings, fmt.Errorf("inspect Kafka: %w", err)
		}
	}
	return k.findings, nil
}

type kafkaCheck struct {
	cfg      kafka.Config
	origin   outbox.System // ID "": not known
	client   *kgo.Client
	admin    *kadm.Client
	seen     kadm.TopicDetails // the topics that the user may see
	hidden   bool              // the user may not see all topics of the prefix
	findings []outbox.Finding
}

func (k *kafkaCheck) add(id, repair, format string, args ...any) {
	entry, _ := Lookup(id)
	k.findings = append(k.findings, outbox.Finding{ID: id, Severity: entry.Severity, Text: fmt.Sprintf(format, args...), Repair: repair})
}

// topicOperations are those that a publisher needs, besides DESCRIBE_CONFIGS.
var topicOperations = []kmsg.ACLOperation{kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe}

// unknownOperations is what brokers before Kafka 2.3 report.
const unknownOperations = math.MinInt32

// privileges checks what the user may do with the topics of the prefix, and whether it may create others. A list of topics leaves out those that the user
// may not see, so pgtee's own topics are asked for by name.
func (k *kafkaCheck) privileges(ctx context.Context) error {
	own := record.TopicsOf(k.cfg.Prefix)
	names := []string{own.Progress, own.Audit, own.Transaction, own.DDL, own.Message, own.DeadLetter, own.Refused}
	heartbeats := k.cfg.Heartbeat > 0 || k.seen.Has(own.Heartbeat)
	if heartbeats {
		names = append(names, own.Heartbeat)
	}
	for _, name := range k.seen.Names() {
		if strings.HasPrefix(name, k.cfg.Prefix+".") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	request := kmsg.NewPtrMetadataRequest()
	request.IncludeTopicAuthorizedOperations = true
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = &name
		request.Topics = append(request.Topics, topic)
	}
	response, err := request.RequestWith(ctx, k.client)
	if err != nil {
		return err
	}
	var hidden []string
	lacking := map[string][]string{} // topics by the operations that are refused
	for _, topic := range response.Topics {
		switch {
		case topic.Topic == nil:
		case topic.ErrorCode == kerr.TopicAuthorizationFailed.Code:
			hidden = append(hidden, *topic.Topic)
		case topic.ErrorCode == 0 && topic.AuthorizedOperations != unknownOperations:
			if refused := refusedOperations(topic.AuthorizedOperations); refused != "" {
				lacking[refused] = append(lacking[refused], *topic.Topic)
			}
		}
	}
	grant := fmt.Sprintf("grant READ, WRITE, DESCRIBE and DESCRIBE_CONFIGS on topics %s.* (--resource-pattern-type prefixed)", k.cfg.Prefix)
	if heartbeats {
		grant += ", and on topic " + own.Heartbeat
	}
	if k.hidden = len(hidden) > 0; k.hidden {
		k.add("kafka-privilege", grant, "the user may not see %s: whether they exist is not known", andMore(hidden))
	}
	for _, refused := range slices.Sorted(maps.Keys(lacking)) {
		k.add("kafka-privilege", grant, "the user lacks %s on %s", refused, andMore(lacking[refused]))
	}
	return k.creation(ctx, k.seen.Has(own.Progress))
}

// refusedOperations returns those of topicOperations that are not in a set of bits.
func refusedOperations(allowed int32) string {
	var refused []string
	for _, operation := range topicOperations {
		if allowed&(1<<operation) == 0 {
			refused = append(refused, operation.String())
		}
	}
	return strings.Join(refused, ", ")
}

// andMore names topics: the first one, and the number of the others.
func andMore(topics []string) string {
	if len(topics) == 1 {
		return "topic " + topics[0]
	}
	slices.Sort(topics)
	return fmt.Sprintf("topic %s and %d more", topics[0], len(topics)-1)
}

// creation checks whether the user may create the topics of tables, by a request that creates nothing. A publisher that has started lacks this privilege
// only when it publishes another table.
func (k *kafkaCheck) creation(ctx context.Context, started bool) error {
	name := record.TopicName(k.cfg.Prefix, "public", "pgtee_check")
	answers, err := k.admin.ValidateCreateTopics(ctx, -1, -1, nil, name)
	if err != nil {
		return err
	}
	if err := answers[name].Err; !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		return nil
	}
	k.add("kafka-privilege", fmt.Sprintf("grant CREATE on topics %s.* (--resource-pattern-type prefixed), or create each topic before its first record", k.cfg.Prefix),
		"the user may not create topics: the publisher stops at the first row of a table without one")
	if started {
		k.findings[len(k.findings)-1].Severity = warning
	}
	return nil
}

func (k *kafkaCheck) durability(ctx context.Context) error {
	weak, topics, err := kafka.WeakTopics(ctx, k.cfg)
	if err != nil {
		return err
	}
	for _, t := range weak {
		k.add("topic-not-durable", k.cfg.RepairDurable(t.Name), "topic %s has %s: Kafka may lose what it has confirmed", t.Name, t.Why)
	}
	if topics == 0 && !k.hidden {
		k.add("topics-missing", "check again when the publisher has started", "there are no topics %s.* yet", k.cfg.Prefix)
	}
	return nil
}

// topics checks the configuration of the topics of the prefix.
func (k *kafkaCheck) topics(ctx context.Context) (err error) {
	if k.seen, err = k.admin.ListTopics(ctx); err != nil {
		return err
	}
	names := slices.DeleteFunc(k.seen.Names(), func(name string) bool { return !strings.HasPrefix(name, k.cfg.Prefix+".") })
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
	if n := len(k.seen[progress].Partitions); n > 1 {
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
			k.add("progress-topic", "run "+record.AlterTopic(k.cfg.Brokers, topic.Name, "cleanup.policy=compact"), "%s has cleanup.policy=%s, so its records expire", topic.Name, value)
		case c.Key == "cleanup.policy" && slices.Contains(histories, short) && strings.Contains(value, "compact"):
			k.add("topic-compacted", "run "+record.AlterTopic(k.cfg.Brokers, topic.Name, "cleanup.policy=delete"), "topic %s has cleanup.policy=%s: Kafka deletes what has the key of a later record", topic.Name, value)
		case c.Key == "max.message.bytes":
			bytes, _ := strconv.Atoi(value)
			if want := int(k.cfg.MaxRecordBytes); bytes > 0 && bytes < want {
				k.add("topic-message-bytes", fmt.Sprintf("run %s, or lower --max-record-bytes", record.AlterTopic(k.cfg.Brokers, topic.Name, "max.message.bytes="+strconv.Itoa(want+recordRoom))),
					"topic %s takes records of %d bytes, --max-record-bytes is %d", topic.Name, bytes, want)
			}
		}
	}
}

// recordRoom is more than the header of a batch adds to a record.
const recordRoom = 64 << 10

// transactions checks whether the publisher may use transactions, and with the timeout that it requests.
func (k *kafkaCheck) transactions(ctx context.Context) error {
	refused, err := k.refusesTransactions(ctx)
	if err != nil {
		return err
	}
	if refused != "" {
		k.add("kafka-privilege", "grant DESCRIBE and WRITE on transactional ids pgtee-*", "the user lacks %s on transactional id %s", refused, k.cfg.TransactionalID())
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

// refusesTransactions returns the operation on the transactional id that Kafka refuses to the user; "" if none. DESCRIBE is needed to find the coordinator
// of the id. WRITE is tested by ending a transaction of a producer that does not exist: the coordinator first checks the privilege, then refuses the
// producer, and changes nothing.
func (k *kafkaCheck) refusesTransactions(ctx context.Context) (string, error) {
	id := k.cfg.TransactionalID()
	coordinator := k.admin.FindTxnCoordinators(ctx, id)[id]
	switch {
	case errors.Is(coordinator.Err, kerr.TransactionalIDAuthorizationFailed):
		return "DESCRIBE", nil
	case coordinator.Err != nil: // it will be there when a publisher starts
		return "", nil
	}
	request := kmsg.NewPtrEndTxnRequest()
	request.TransactionalID, request.ProducerID, request.ProducerEpoch = id, math.MaxInt64, math.MaxInt16
	answer, err := k.client.Broker(int(coordinator.NodeID)).Request(ctx, request)
	if err != nil {
		return "", err
	}
	if answer.(*kmsg.EndTxnResponse).ErrorCode == kerr.TransactionalIDAuthorizationFailed.Code {
		return "WRITE", nil
	}
	return "", nil
}

// positions checks whether the positions under the prefix are those of this database.
func (k *kafkaCheck) positions(ctx context.Context) error {
	if k.origin.ID == "" {
		return nil
	}
	shared, err := kafka.CheckPositions(ctx, k.cfg, k.origin)
	if shared != "" {
		k.add("prefix-shared", "use another --prefix for one of them", "%s publishes under prefix %s as well: tables of the same name share their topics", shared, k.cfg.Prefix)
	}
	var stops *halt.Halt
	switch {
	case errors.As(err, &stops):
		k.add(IDs(err)[0], stops.Repair, "%v: %s", stops.Reason, stops.Detail)
	case errors.Is(err, kerr.TopicAuthorizationFailed): // privileges has reported it
	default:
		return err
	}
	return nil
}

func (k *kafkaCheck) letters(ctx context.Context) error {
	n, err := kafka.DeadLetters(ctx, k.cfg)
	if n > 0 {
		k.add("dead-letters", "read what is there; raise max.message.bytes and --max-record-bytes if such changes come again; suppress this finding with --ignore dead-letters",
			"about %d records in %s: changes that were too large", n, record.TopicName(k.cfg.Prefix, "dead-letter"))
	}
	return err
}
