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

// Config says what a Publisher publishes. Brackets give the meaning of the zero value.
type Config struct {
	Prefix   string // first part of every topic
	Database string // name of the database; a slot belongs to one database
	Slot     string

	MaxBatchBytes     int            // of source transactions in one Kafka transaction; a larger transaction is sent alone [4 MiB]
	MaxRecordBytes    int32          // of one record, and of a batch before compression [1,000,012: Kafka's default]
	TooLarge          TooLargePolicy // what happens to a change whose record is larger [HaltTooLarge]
	IdleProgress      time.Duration  // how often a position without events is recorded [10s]
	Heartbeat         time.Duration  // interval of records in __debezium-heartbeat.<prefix>, which show that the publisher is alive [never]
	CheckPublications time.Duration  // how often the publications are checked [10s]
	PartAfter         time.Duration  // how long a Kafka transaction stays open for a giant before its records become visible as a part [5m]

	Tables func(context.Context) ([]outbox.Table, error) // lists the existing tables, oldest first; called once, before anything is published [none]

	Shape  *shape.Shape  // sets the topics of tables [Debezium's names]
	Router *shape.Router // sets the topics of the application's events [<prefix>.outbox.<topic>]

	Snapshot    snapshot.Config
	SignalTopic string // topic whose records request snapshots too; the Log must be a SignalLog [none]

	SQLText      SQLText      // how much of the SQL is published [Normalised]
	SQLTextBytes int          // longest SQL text in the record of a row; a longer text is cut [4 KiB]
	OnMissed     MissedPolicy // what happens when changes of a table could not be captured [MissedResync]
	EventTables  []string     // globs of the application's outbox tables: their rows are events, and only the first copy of a slot includes them
	Keys         *record.Keys // the keys that the Format chooses and remembers [nothing is remembered]
	AuditEmpty   bool         // audit transactions that wrote no rows [they are dropped]

	Trace func(KafkaTransaction) // is told about Kafka transactions that have ended, and owns what it gets; it must not block [tracing is off]

	Log *zap.Logger // must name the slot [none]
}

// TransactionalID identifies the slot in Kafka and is the key of its progress record. It is unique per slot: if a name contains a dash, which would
// make the parts ambiguous, slashes separate them, because neither a prefix nor a slot name can contain a slash.
func (c Config) TransactionalID() string {
	if strings.Contains(c.Prefix+c.Database+c.Slot, "-") {
		return "pgtee--" + c.Prefix + "/" + c.Slot + "/" + c.Database
	}
	return c.FormerTransactionalID()
}

// FormerTransactionalID is the transactional id that earlier versions used for every slot.
func (c Config) FormerTransactionalID() string {
	return fmt.Sprintf("pgtee-%s-%s-%s", c.Prefix, c.Database, c.Slot)
}

// Defaults for zero values of Config. The flags use them too.
const (
	DefaultRecordBytes  = 1_000_012 // leaves room for a batch header: Kafka's message.max.bytes is 1,048,588
	DefaultPartAfter    = 5 * time.Minute
	DefaultSQLTextBytes = 4 << 10
)

const (
	maxPartAfter       = 7 * time.Minute // Kafka's transaction.max.timeout.ms is 15 minutes
	largestRecordBytes = 90 << 20        // leaves room in a request: Kafka's socket.request.max.bytes is 100 MiB
)

// WithDefaults returns the configuration with zero values replaced by their defaults.
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

// MissedPolicy says what happens after UPDATEs and DELETEs of a table were not captured for some time.
type MissedPolicy string

const (
	MissedResync MissedPolicy = "resync" // a record of op t tells consumers to discard every row, then every row is published again
	MissedHalt   MissedPolicy = "halt"
	MissedWarn   MissedPolicy = "warn" // only warn
)
