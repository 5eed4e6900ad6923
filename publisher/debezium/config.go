package debezium

import (
	"time"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// Config is what records say beside the data, and in which of Debezium's forms. Zero values are Debezium's
// defaults.
type Config struct {
	Prefix   string           // first part of every topic; source.name
	Database string           // source.db
	Version  string           // source.version
	RunID    string           // header __debezium.context.runId; "": no context headers
	Catalog  Catalog          // nil: types that are not built in become text, keys come from the log alone
	Keys     *record.Keys     // remembers keys that no primary key tells; nil: the oldest unique index is the key
	Now      func() time.Time // ts_ms of the envelope; nil: time.Now

	Shape    *shape.Shape   // which tables, columns and rows, under which topics and keys; nil: all, as Debezium does
	Envelope Envelope       // of the rows
	Flat     FlatConfig     // if Envelope is Flat
	Framing  record.Framing // of keys and values; nil: the bare payload

	Outboxes []OutboxTable              // tables of the application whose rows are events; the first that matches counts
	Router   *shape.Router              // where events may go; nil: to any topic but pgtee's and Kafka's own
	Warn     func(finding, text string) // is told what an operator should know; nil: nobody is

	Modes // forms of the values

	// TransactionMetadata adds the topic <prefix>.transaction and the field "transaction" in other records:
	// provide.transaction.metadata.
	TransactionMetadata bool

	NoTombstones bool // no null record after a delete: tombstones.on.delete=false

	Skip          Operations  // that have no record: skipped.operations
	SkipUnchanged bool        // no record of an UPDATE that leaves all columns as they were: skip.messages.without.change
	Propagate     Propagation // of types to the parameters of schemas
}
