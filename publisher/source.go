package publisher

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/record"
)

// Source is the stream of committed transactions of one slot, which it holds while it lives.
// *outbox.Stream is one; the simulation has another.
type Source interface {
	// System says which server and slot this is, as of the connect.
	System() outbox.System
	// TimelineHistory lists the timelines that led to this one, oldest first, each with the position
	// where the server left it.
	TimelineHistory(ctx context.Context, timeline int32) ([]outbox.TimelineSwitch, error)
	// Next waits for transactions, or parts of giants, and returns the head of the queue, at least one, no more
	// than about maxBytes, without removing it. When ctx ends it returns the error of ctx and stays usable; any
	// other error means that the stream is gone.
	Next(ctx context.Context, maxBytes int) ([]*outbox.Transaction, error)
	// Drop removes what Next has returned last from the queue. A marker that another has replaced stays.
	Drop(head []*outbox.Transaction)
	// Ack lets Postgres discard the log up to upTo.
	Ack(upTo outbox.LSN)
	// Received is the end of what has been decoded.
	Received() outbox.LSN
	// CheckPublications compares the publications with those of the connect.
	CheckPublications(ctx context.Context) error
	// Err says why the stream is gone; nil while it lives.
	Err() error
	// Close lets the slot go.
	Close() error
}

// Log is Kafka as the loop sees it. After an error it must be fenced again: the log decides, never
// memory.
type Log interface {
	// Fence takes the transactional id, which aborts what a predecessor left open, and returns the
	// recorded position, nil if there is none.
	Fence(ctx context.Context) (*Position, error)
	// Send puts the records of the batch into the transaction that the next Publish commits. It may return
	// before Kafka has them: it takes the memory of the batch, which may be filled again at once. An error may
	// tell of records that were sent before.
	Send(ctx context.Context, b *record.Batch) error
	// Publish commits what was sent, the records of the batch and the position in one transaction. After
	// an error it may be committed or not. It takes the memory of the batch as Send does.
	Publish(ctx context.Context, b *record.Batch, p Position) error
	// Close aborts what is open.
	Close()
}

// UnusableTopic is the error of a table whose topic is not to be had: it needs another one.
type UnusableTopic struct {
	Topic  string
	Why    error
	Repair string // what to do if the topic is of no table
}

func (e *UnusableTopic) Error() string { return fmt.Sprintf("topic %s: %v", e.Topic, e.Why) }
func (e *UnusableTopic) Unwrap() error { return e.Why }

// SmallTopic is the error of a topic that takes smaller records than were made.
type SmallTopic struct {
	Topic  string
	Bytes  int // of the largest that it takes
	Err    error
	Repair string // what to do if the records cannot be made smaller
}

func (e *SmallTopic) Error() string {
	return fmt.Sprintf("topic %s takes records of up to %d bytes: %v", e.Topic, e.Bytes, e.Err)
}
func (e *SmallTopic) Unwrap() error { return e.Err }

// ErrOwnTopic is the why of an unusableTopic: what a table had before is where its rows belong.
var ErrOwnTopic = errors.New("the table has had a topic of its own before")
