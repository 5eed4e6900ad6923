package debezium

import (
	"time"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Config says what records contain besides the data, and which of Debezium's formats they have. Zero values are Debezium's defaults.
type Config struct {
	Prefix   string           // first part of every topic; source.name
	Database string           // source.db
	Version  string           // source.version
	RunID    string           // header __debezium.context.runId; "": no context headers
	Catalog  Catalog          // nil: types that are not built in become text, and keys come from pgoutput alone
	Keys     *record.Keys     // remembers the keys of tables without a primary key; nil: their key is the oldest unique index
	Now      func() time.Time // ts_ms of the envelope; nil: time.Now

	Shape    *shape.Shape   // selects tables, columns and rows, and sets topics and keys; nil: everything, as Debezium does
	Envelope Envelope       // of the values of rows
	Flat     FlatConfig     // if Envelope is Flat
	Framing  record.Framing // of keys and values; nil: the bare payload

	Outboxes []OutboxTable              // outbox tables of the application, whose rows are events; the first that matches a table applies
	Router   *shape.Router              // topics that events may be sent to; nil: any topic except pgtee's and Kafka's own
	Warn     func(finding, text string) // receives findings for the operator; may be nil

	Modes // forms of values

	// TransactionMetadata adds the topic <prefix>.transaction and the field "transaction" in other records:
	// provide.transaction.metadata.
	TransactionMetadata bool

	NoTombstones bool // no tombstone after a delete: tombstones.on.delete=false

	Skip          Operations  // operations that get no record: skipped.operations
	SkipUnchanged bool        // no record for an UPDATE that leaves all columns unchanged: skip.messages.without.change
	Propagate     Propagation // columns whose source type goes into the schema parameters
}
