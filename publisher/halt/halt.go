// Package halt defines which errors stop a publisher and which ones are retried. Every error of the publisher has one of three fates.
package halt

import (
	"errors"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

var (
	// ErrFenced means that another publisher has taken over the transactional id. It has the slot, too, or will have it soon: stand by.
	ErrFenced = errors.New("another publisher has taken over")

	ErrOtherSystem     = errors.New("the progress record belongs to another server")
	ErrOtherDatabase   = errors.New("the progress record belongs to another database")
	ErrDatabaseBehind  = errors.New("the database is behind Kafka")
	ErrDiverged        = errors.New("the server's history diverged from the published one")
	ErrPublications    = errors.New("the publications are not those of the progress record")
	ErrGap             = errors.New("committed transactions are lost between Kafka and the slot")
	ErrProgressLost    = errors.New("the progress record is lost")
	ErrProgressTopic   = errors.New("the progress topic is not safe")
	ErrProgressVersion = errors.New("a newer pgtee wrote the progress record")
	ErrProgressRecord  = errors.New("the progress record cannot be read")
	ErrTopicCollision  = errors.New("two sources share a topic")
	ErrShape           = errors.New("a table does not fit the configuration")
	ErrEncode          = errors.New("a change cannot be encoded")
	ErrText            = errors.New("text is not what the database's encoding says")
	ErrKafkaRefused    = errors.New("Kafka refused")
	ErrRecordTooLarge  = errors.New("a record is larger than Kafka accepts")
	ErrSignalTopic     = errors.New("the signal topic is unusable")
	ErrNotDurable      = errors.New("Kafka may lose what it has confirmed")
	ErrPrefixTaken     = errors.New("the prefix belongs to another database")
	ErrMissed          = errors.New("changes of tables are not in the stream")
	ErrUndecodable     = errors.New("PostgreSQL cannot decode a transaction")
	ErrSnapshotStopped = errors.New("the snapshot was stopped")
)

// Halt is an error that no retry can cure: continuing would skip, duplicate or misplace events.
type Halt struct {
	Reason error  // one of the Err... of this package
	Detail string // the numbers
	Repair string // what to do: the command, or the setting
}

// New returns a Halt.
func New(reason error, detail, repair string) *Halt { return &Halt{reason, detail, repair} }

func (h *Halt) Error() string {
	text := h.Reason.Error()
	if h.Detail != "" {
		text += ": " + h.Detail
	}
	return text + "; " + h.Repair
}

func (h *Halt) Unwrap() error { return h.Reason }

// Fate says what the loop does after an error.
type Fate int

const (
	Retry   Fate = iota // retry with bounded backoff, keeping the slot
	StandBy             // another publisher is active: release the slot and wait for it
	Stop                // an operator must act
)

// halts are the errors of the stream that a retry would only repeat or hide.
var halts = []error{
	outbox.ErrSlotMissing, outbox.ErrSlotLost, outbox.ErrPublicationMissing, outbox.ErrPublicationChanged,
	outbox.ErrNotSetUp, outbox.ErrServerWarning, outbox.ErrUndecodable, outbox.ErrSourceEncoding,
	pgoutput.ErrMalformed,
}

func FateOf(err error) Fate {
	if errors.Is(err, ErrFenced) || errors.Is(err, outbox.ErrSlotBusy) {
		return StandBy
	}
	var h *Halt
	if errors.As(err, &h) {
		return Stop
	}
	for _, h := range halts {
		if errors.Is(err, h) {
			return Stop
		}
	}
	return Retry
}
