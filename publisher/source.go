package publisher

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
)

// Source is the stream of committed transactions of one slot, which it holds while it is open. *outbox.Stream implements it, and the simulation has
// another implementation.
type Source interface {
	// System describes the server and the slot, as of the connect.
	System() outbox.System
	// TimelineHistory lists the timelines that led to the given one, oldest first, each with the position where the server left it.
	TimelineHistory(ctx context.Context, timeline int32) ([]outbox.TimelineSwitch, error)
	// Next waits for transactions or parts of giants and returns the head of the queue, at least one and no more than about maxBytes, without
	// removing it. When ctx ends, Next returns the error of ctx and the source remains usable; after any other error it does not.
	Next(ctx context.Context, maxBytes int) ([]*outbox.Transaction, error)
	// Drop removes from the queue what Next returned last, except a marker that another one has replaced since.
	Drop(head []*outbox.Transaction)
	// Ack lets PostgreSQL discard the WAL up to upTo.
	Ack(upTo outbox.LSN)
	// Received is the end LSN of what has been decoded.
	Received() outbox.LSN
	// CheckPublications compares the publications with those at the time of the connect.
	CheckPublications(ctx context.Context) error
	// Err says why the source is no longer usable; nil while it is.
	Err() error
	// Close releases the slot.
	Close() error
}

// Log is Kafka as seen by the publisher's loop. After an error it must be fenced again: the log is the source of truth, not memory.
type Log interface {
	// Fence takes the transactional id, which aborts any open transaction of a predecessor, and returns the recorded position, nil if there is none.
	// It also finds the position of a predecessor that knew the database, which source identifies, by an earlier name.
	Fence(ctx context.Context, source outbox.System) (*Position, error)
	// Send adds the records of the batch to the transaction that the next Publish commits. It may return before Kafka has the records: it takes over
	// the memory of the batch, which may be filled again immediately. An error may concern records that were sent earlier.
	Send(ctx context.Context, b *record.Batch) error
	// Publish commits the records sent before, the records of the batch and the position in one transaction. After an error the transaction may or
	// may not be committed. Publish takes over the memory of the batch, like Send.
	Publish(ctx context.Context, b *record.Batch, p Position) error
	// Close aborts the open transaction.
	Close()
}

// UnusableTopic is the error of a table that cannot use its topic and needs another one.
type UnusableTopic struct {
	Topic  string
	Why    error
	Repair string // what to do if the topic does not belong to a table
}

func (e *UnusableTopic) Error() string { return fmt.Sprintf("topic %s: %v", e.Topic, e.Why) }
func (e *UnusableTopic) Unwrap() error { return e.Why }

// SmallTopic is the error of a topic that accepts only smaller records than were produced.
type SmallTopic struct {
	Topic  string
	Bytes  int // size of the largest record that it accepts
	Err    error
	Repair string // what to do if the records cannot be made smaller
}

func (e *SmallTopic) Error() string {
	return fmt.Sprintf("topic %s accepts records of up to %d bytes: %v", e.Topic, e.Bytes, e.Err)
}
func (e *SmallTopic) Unwrap() error { return e.Err }

// ErrOwnTopic is the Why of an UnusableTopic if the table already has a topic of its own in Kafka: it keeps that one.
var ErrOwnTopic = errors.New("the table has had a topic of its own before")
