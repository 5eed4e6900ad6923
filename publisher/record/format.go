package record

import (
	"context"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Record is one Kafka record. Key and Value are slices of the Batch's buffer, valid until its next Add; nil means null.
type Record struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header

	Everywhere bool // goes to every partition of the topic; in partition N > 0 its event id ends in .N
	First      bool // goes to partition 0, whatever its key is
}

// Header is a header of a Kafka record.
type Header struct {
	Key   string
	Value []byte // nil: null
}

// Format turns the changes of a transaction into records. It never skips a change: if it cannot encode one, it returns an error, and the
// publisher halts. It is used by one goroutine at a time. It may wait for the catalog or the schema registry, once per version of a table; a cancelled
// context ends the wait.
type Format interface {
	// Begin and End append the records, if any, for the begin and the end of a transaction. Begin is called before its first Append, End after its
	// last. For a transaction without changes neither is called. In between, tx may be the parts of a giant in turn. If no End follows a Begin, the
	// transaction could not be published; it will be composed again from its start.
	Begin(ctx context.Context, b *Batch, tx *outbox.Transaction) error
	End(ctx context.Context, b *Batch, tx *outbox.Transaction) error

	// Append appends the records of tx.Changes[i] to b. One change may result in several records (a key change produces a delete, a tombstone and a
	// create), or none (for a table that is filtered out).
	Append(ctx context.Context, b *Batch, tx *outbox.Transaction, i int) error

	// Identity returns which columns of a table's old rows the WAL contains at a place in it. Its errors are like those of Append.
	Identity(ctx context.Context, relation *pgoutput.Relation, at Place) (Identity, error)
}

// Forgetter is a Format that remembers tables.
type Forgetter interface {
	// Forget releases what is remembered of a table that was dropped. If changes of it are composed again, it is learnt again.
	Forget(table uint32)
}

// StandInKeys is a Format that generates keys for records without one: Kafka requires keys in compacted topics.
type StandInKeys interface {
	// AppendStandInKey appends a key that is unique to the record with this event id.
	AppendStandInKey(ctx context.Context, dst []byte, eventID []byte) ([]byte, error)
}

// Heartbeats is a Format with a record that shows that the publisher is alive, for consumers of tables that rarely change.
type Heartbeats interface {
	// AppendHeartbeat appends the record with AddWithoutID: it belongs to no transaction.
	AppendHeartbeat(ctx context.Context, b *Batch) error
}
