package apply

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Halt is an error on which an operator must decide: what happened, and what to do about it.
type Halt struct{ What, Repair string }

func (h Halt) Error() string { return h.What + ": " + h.Repair }

// isHalt reports whether a retry is useless.
func isHalt(err error) bool {
	var halt Halt
	return errors.As(err, &halt)
}

// haltAt is a Halt before a transaction: everything that committed earlier is still applied.
type haltAt struct {
	Halt
	commit LSN
}

func (h haltAt) Unwrap() error { return h.Halt }

// placed adds the place of a record to a Halt about what the record holds.
func placed(record *kgo.Record, err error) error {
	var halt Halt
	if errors.As(err, &halt) {
		return Halt{placeOf(record) + ": " + halt.What, halt.Repair}
	}
	return err
}

// before turns a Halt into a haltAt before a transaction, unless it is one. It returns any other error unchanged.
func before(commit LSN, err error) error {
	if at := (haltAt{}); errors.As(err, &at) {
		return err
	}
	var halt Halt
	if errors.As(err, &halt) {
		return haltAt{halt, commit}
	}
	return err
}
