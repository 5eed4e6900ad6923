package kafka

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Config configures what a Publisher publishes and to which cluster. The meaning of a zero value is given in brackets.
type Config struct {
	publisher.Config

	Brokers      []string  // host:port
	KafkaOptions []kgo.Opt // TLS, SASL

	Partitions        int32 // of topics that the publisher creates [1]
	ReplicationFactor int16 // of topics that the publisher creates [the broker's default]

	TransactionTimeout time.Duration // time after which the broker aborts a transaction of a dead publisher [twice PartAfter, at least a minute]

	Delivery Delivery // [Transactional]

	RequireDurable bool // halt if Kafka's settings do not support the guarantee [warn]
}

// New returns a Publisher that takes its slot with open, turns changes into records with format and writes them to a Kafka cluster.
func New(cfg Config, open func(context.Context) (publisher.Source, error), format record.Format) (*publisher.Publisher, error) {
	if len(cfg.Brokers) == 0 {
		return nil, fmt.Errorf("no Kafka broker given: use --kafka HOST:PORT")
	}
	cfg = cfg.withDefaults()
	return publisher.New(cfg.Config, open, newLog(cfg), format)
}

// DefaultPartitions is the value used if Partitions is zero.
const DefaultPartitions = 1

func (c Config) withDefaults() Config {
	c.Config = c.WithDefaults()
	c.Partitions = cmp.Or(c.Partitions, DefaultPartitions)
	c.ReplicationFactor = cmp.Or(c.ReplicationFactor, -1)
	c.TransactionTimeout = cmp.Or(c.TransactionTimeout, max(2*c.PartAfter, time.Minute))
	return c
}

// Delivery says how events get into Kafka.
type Delivery byte

const (
	// Transactional: events and position are one Kafka transaction. read_committed consumers see each event once.
	Transactional Delivery = iota
	// AtLeastOnce: events are visible immediately, without a transaction; the position follows. After a failure, events since the last position are
	// published again, with the same event ids.
	AtLeastOnce
)

// ParseDelivery parses "transactional", for which "" also stands, or "at-least-once".
func ParseDelivery(name string) (Delivery, error) {
	switch name {
	case "", "transactional":
		return Transactional, nil
	case "at-least-once":
		return AtLeastOnce, nil
	}
	return 0, fmt.Errorf("--delivery %q: want transactional or at-least-once", name)
}

// topicConfigs returns the settings of a new topic: the broker's defaults, except for larger records and settings of the shape. A topic of pgtee's
// own keeps its history, whatever the brokers' defaults are.
func (c Config) topicConfigs(topic string, own map[string]string) map[string]*string {
	configs := map[string]*string{}
	if record.IsInternal(c.Prefix, topic) {
		configs["cleanup.policy"] = kadm.StringPtr("delete")
	}
	if c.MaxRecordBytes > publisher.DefaultRecordBytes {
		configs["max.message.bytes"] = kadm.StringPtr(strconv.Itoa(int(c.MaxRecordBytes) + batchHeader))
	}
	for name, value := range own {
		configs[name] = kadm.StringPtr(value)
	}
	return configs
}

// RepairDurable returns the repair for a topic that may lose acknowledged records.
func (c Config) RepairDurable(topic string) string {
	return "give it 3 replicas with kafka-reassign-partitions.sh, and new topics with --replication-factor 3, then run " + record.AlterTopic(c.Brokers, topic, "min.insync.replicas=2,unclean.leader.election.enable=false")
}
