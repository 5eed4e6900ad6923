package record

import (
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Record is one Kafka record on its way. Key and Value are slices of the Batch's buffer; nil means null.
type Record struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header

	Everywhere bool // in each partition of the topic, where its event id ends in the number of the partition, save for 0
}

// Header is a header of a Kafka record.
type Header struct {
	Key   string
	Value []byte // nil: null
}

// Format turns the changes of a transaction into records. It never skips: what it cannot encode is
// an error, and the publisher stops. It is used by one goroutine at a time.
type Format interface {
	// Begin and End append the records, if any, that say that a transaction begins and ends: Begin before its
	// first Append, End after its last; a transaction without any has neither. Between them tx may be one part
	// of a giant after the other. A Begin without its End was of a transaction that could not be published,
	// and comes again from its start.
	Begin(b *Batch, tx *outbox.Transaction) error
	End(b *Batch, tx *outbox.Transaction) error

	// Append appends the records of tx.Changes[i] to b. One change may make several records (a key
	// change makes a delete, a tombstone and a create), or none (a table that is filtered out).
	Append(b *Batch, tx *outbox.Transaction, i int) error

	// Identity says what the log has of the old rows of a table whose change stands at a place. Errors are as those of Append.
	Identity(relation *pgoutput.Relation, at Place) (Identity, error)
}

// StandInKeys is a Format that makes keys for records that have none, where Kafka takes no other: in compacted topics.
type StandInKeys interface {
	// AppendStandInKey appends the key of the record with that event id, which no other record has.
	AppendStandInKey(dst []byte, eventID []byte) ([]byte, error)
}

// Heartbeats is a Format that has a record for "the publisher is alive", which tells consumers of quiet tables
// that nothing is missing.
type Heartbeats interface {
	// AppendHeartbeat appends the record with AddWithoutID: it belongs to no transaction.
	AppendHeartbeat(b *Batch) error
}
