package publisher

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// Config says what a Publisher publishes. Zero values have the meaning in brackets.
type Config struct {
	Prefix   string // first part of every topic
	Database string // one slot is one database
	Slot     string

	MaxBatchBytes     int            // of source transactions in one Kafka transaction; one larger goes alone [4 MiB]
	MaxRecordBytes    int32          // of one record, and of a batch before compression [1,000,012: what Kafka takes by default]
	TooLarge          TooLargePolicy // of a change whose record is larger [HaltTooLarge]
	IdleProgress      time.Duration  // how often "nothing for us up to here" is recorded [10s]
	Heartbeat         time.Duration  // how often a record in __debezium-heartbeat.<prefix> says that the publisher is alive [never]
	CheckPublications time.Duration  // how often they are compared [10s]
	PartAfter         time.Duration  // how long a Kafka transaction stays open for a giant before what it holds becomes visible as a part [5m]

	Tables func(context.Context) ([]outbox.Table, error) // lists those that are there, oldest first, once: before anything is published [none]

	Shape  *shape.Shape  // of the topics of tables [as Debezium names them]
	Router *shape.Router // of events of the application [to <prefix>.outbox.<topic>]

	Snapshot    snapshot.Config
	SignalTopic string // whose records ask for snapshots, too; the Log has to be a SignalLog [none]

	SQLText      SQLText      // how much of the SQL is published [Normalised]
	SQLTextBytes int          // longest SQL text in the record of a row; a longer one is cut [4 KiB]
	OnMissed     MissedPolicy // when changes of a table could not be captured [MissedResync]
	EventTables  []string     // globs of the application's outbox tables: their rows are events, which nothing repeats
	Keys         *record.Keys // what the Format chooses keys with [nothing to remember]
	AuditEmpty   bool         // audit transactions that wrote no row [they are dropped]

	Log *zap.Logger // names the slot [none]
}

// TransactionalID identifies the slot in Kafka, and is the key of its progress record. No two slots share one: if a name has a dash, which
// would make the parts ambiguous, they are separated by slashes, which neither a prefix nor a slot name can contain.
func (c Config) TransactionalID() string {
	if strings.Contains(c.Prefix+c.Database+c.Slot, "-") {
		return "pgtee--" + c.Prefix + "/" + c.Slot + "/" + c.Database
	}
	return c.FormerTransactionalID()
}

// FormerTransactionalID is the one that earlier versions used for every slot.
func (c Config) FormerTransactionalID() string {
	return fmt.Sprintf("pgtee-%s-%s-%s", c.Prefix, c.Database, c.Slot)
}

// What the zero values of Config stand for. The flags have their defaults from here.
const (
	DefaultRecordBytes  = 1_000_012 // leaves a batch its header: Kafka's message.max.bytes is 1,048,588
	DefaultPartAfter    = 5 * time.Minute
	DefaultSQLTextBytes = 4 << 10
)

const (
	maxPartAfter       = 7 * time.Minute // Kafka's transaction.max.timeout.ms is 15 minutes
	largestRecordBytes = 90 << 20        // leaves room in a request: Kafka's socket.request.max.bytes is 100 MiB
)

// WithDefaults returns the configuration with what the zero values stand for.
func (c Config) WithDefaults() Config {
	c.MaxBatchBytes = cmp.Or(c.MaxBatchBytes, 4<<20)
	c.MaxRecordBytes = cmp.Or(c.MaxRecordBytes, DefaultRecordBytes)
	c.SQLTextBytes = cmp.Or(c.SQLTextBytes, DefaultSQLTextBytes)
	c.IdleProgress = cmp.Or(c.IdleProgress, 10*time.Second)
	c.CheckPublications = cmp.Or(c.CheckPublications, 10*time.Second)
	c.PartAfter = cmp.Or(c.PartAfter, DefaultPartAfter)
	c.OnMissed = cmp.Or(c.OnMissed, MissedResync)
	if c.Shape == nil {
		c.Shape = &shape.Shape{}
	}
	if c.Router == nil {
		c.Router, _ = shape.NewRouter(c.Prefix, nil) // cannot fail without topics
	}
	c.Snapshot.SetDefaults()
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

func (c Config) validate() error {
	switch {
	case c.Prefix == "" || record.TopicName(c.Prefix) != c.Prefix:
		return fmt.Errorf("prefix %q: use letters, digits, dot, dash and underscore", c.Prefix)
	case record.TopicName(c.SignalTopic) != c.SignalTopic:
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

// MissedPolicy decides what happens after UPDATEs and DELETEs of a table went uncaptured for some time.
type MissedPolicy string

const (
	MissedResync MissedPolicy = "resync" // the topic is emptied by a record of op t, then every row comes afresh
	MissedHalt   MissedPolicy = "halt"
	MissedWarn   MissedPolicy = "warn" // only
)
