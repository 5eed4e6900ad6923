package publisher

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// Config says what a Publisher publishes, and where. Zero values have the meaning in brackets.
type Config struct {
	Brokers  []string // host:port
	Prefix   string   // first part of every topic
	Database string   // one slot is one database
	Slot     string

	Partitions        int32 // of topics that the publisher creates [1]
	ReplicationFactor int16 // of topics that the publisher creates [the broker's default]

	MaxBatchBytes      int            // of source transactions in one Kafka transaction; one larger goes alone [4 MiB]
	MaxRecordBytes     int32          // of one record, and of a batch before compression [1,000,012: what Kafka takes by default]
	TooLarge           TooLargePolicy // of a change whose record is larger [HaltTooLarge]
	IdleProgress       time.Duration  // how often "nothing for us up to here" is recorded [10s]
	Heartbeat          time.Duration  // how often a record in __debezium-heartbeat.<prefix> says that the publisher is alive [never]
	CheckPublications  time.Duration  // how often they are compared [10s]
	TransactionTimeout time.Duration  // after which the broker aborts a transaction of a dead publisher [twice PartAfter, at least a minute]
	PartAfter          time.Duration  // how long a Kafka transaction stays open for a giant before what it holds becomes visible as a part [5m]

	Tables func(context.Context) ([]outbox.Table, error) // lists those that are there, oldest first, once: before anything is published [none]

	Shape  *Shape  // of the topics of tables [as Debezium names them]
	Router *Router // of events of the application [to <prefix>.outbox.<topic>]

	Snapshot    SnapshotConfig
	SignalTopic string // whose records ask for snapshots, too [none]

	Delivery Delivery // [Transactional]

	RequireDurable bool // halt where Kafka's settings do not carry the promise [it is told]

	SQLText      SQLText      // how much of the SQL is published [Normalised]
	SQLTextBytes int          // longest SQL text in the record of a row; a longer one is cut [4 KiB]
	OnMissed     MissedPolicy // when changes of a table could not be captured [MissedResync]
	EventTables  []string     // globs of the application's outbox tables: their rows are events, which nothing repeats
	Keys         *Keys        // what the Format chooses keys with [nothing to remember]
	AuditEmpty   bool         // audit transactions that wrote no row [they are dropped]

	run string // names the copy of SnapshotOnly: unlike in every other run

	KafkaOptions []kgo.Opt   // TLS, SASL
	Log          *zap.Logger // names the slot [none]
}

// Delivery says how events get into Kafka.
type Delivery byte

const (
	// Transactional: events and position are one Kafka transaction. Who reads committed records has each event once.
	Transactional Delivery = iota
	// AtLeastOnce: events are visible at once, without a transaction; the position follows. After a failure those since
	// the last position come again, with the same event ids.
	AtLeastOnce
)

// ParseDelivery reads "transactional", which "" is too, or "at-least-once".
func ParseDelivery(name string) (Delivery, error) {
	switch name {
	case "", "transactional":
		return Transactional, nil
	case "at-least-once":
		return AtLeastOnce, nil
	}
	return 0, fmt.Errorf("--delivery %q: want transactional or at-least-once", name)
}

// TransactionalID is the identity of the slot in Kafka, and the key of its progress record. Two slots never have the same:
// where a dash in a name would leave open which part it belongs to, slashes part them, which neither prefix nor slot can have.
func (c Config) TransactionalID() string {
	if strings.Contains(c.Prefix+c.Database+c.Slot, "-") {
		return "pgtee--" + c.Prefix + "/" + c.Slot + "/" + c.Database
	}
	return c.formerTransactionalID()
}

// formerTransactionalID is what former versions had for every slot.
func (c Config) formerTransactionalID() string {
	return fmt.Sprintf("pgtee-%s-%s-%s", c.Prefix, c.Database, c.Slot)
}

// onlyPrefix begins the name of each copy of SnapshotOnly.
const onlyPrefix = "only-"

const (
	defaultRecordBytes = 1_000_012       // leaves a batch its header: Kafka's message.max.bytes is 1,048,588
	maxPartAfter       = 7 * time.Minute // Kafka's transaction.max.timeout.ms is 15 minutes
	largestRecordBytes = 90 << 20        // leaves room in a request: Kafka's socket.request.max.bytes is 100 MiB
)

func (c Config) withDefaults() Config {
	orDefault(&c.Partitions, 1)
	orDefault(&c.ReplicationFactor, -1)
	orDefault(&c.MaxBatchBytes, 4<<20)
	orDefault(&c.MaxRecordBytes, defaultRecordBytes)
	orDefault(&c.SQLTextBytes, defaultRowTextBytes)
	orDefault(&c.IdleProgress, 10*time.Second)
	orDefault(&c.CheckPublications, 10*time.Second)
	orDefault(&c.PartAfter, 5*time.Minute)
	orDefault(&c.OnMissed, MissedResync)
	orDefault(&c.TransactionTimeout, max(2*c.PartAfter, time.Minute))
	if c.Shape == nil {
		c.Shape = &Shape{}
	}
	if c.Router == nil {
		c.Router, _ = NewRouter(c.Prefix, nil) // cannot fail without topics
	}
	c.Snapshot.setDefaults()
	orDefault(&c.run, onlyPrefix+time.Now().UTC().Format("20060102T150405.000"))
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

func orDefault[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

func (c Config) validate() error {
	switch {
	case len(c.Brokers) == 0:
		return fmt.Errorf("no Kafka broker given: use --kafka HOST:PORT")
	case c.Prefix == "" || TopicName(c.Prefix) != c.Prefix:
		return fmt.Errorf("prefix %q: use letters, digits, dot, dash and underscore", c.Prefix)
	case TopicName(c.SignalTopic) != c.SignalTopic:
		return fmt.Errorf("topic of signals %q: use letters, digits, dot, dash and underscore", c.SignalTopic)
	case c.Slot == "" || c.Database == "":
		return fmt.Errorf("slot %q of database %q: both need a name", c.Slot, c.Database)
	case c.MaxRecordBytes < 0 || c.MaxRecordBytes > largestRecordBytes:
		return fmt.Errorf("records of %d bytes: want no more than %d", c.MaxRecordBytes, largestRecordBytes)
	case c.PartAfter < 0 || c.PartAfter > maxPartAfter:
		return fmt.Errorf("parts of transactions after %s: want a positive time up to %s", c.PartAfter, maxPartAfter)
	case c.Heartbeat < 0:
		return fmt.Errorf("a heartbeat every %s: want a positive time, or 0 for none", c.Heartbeat)
	case c.SQLTextBytes < 0 || c.SQLTextBytes > maxAuditTextBytes:
		return fmt.Errorf("SQL texts of %d bytes: want no more than %d", c.SQLTextBytes, maxAuditTextBytes)
	}
	return nil
}
