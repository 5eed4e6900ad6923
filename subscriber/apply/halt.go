package apply

import "errors"

// Halt is an end that a human has to decide on: what happened, and what to do about it.
type Halt struct{ What, Repair string }

func (h Halt) Error() string { return h.What + ": " + h.Repair }

// isHalt reports whether another try is of no use.
func isHalt(err error) bool {
	var halt Halt
	return errors.As(err, &halt)
}

// haltAt is a Halt before a transaction: everything that committed earlier is to be applied.
type haltAt struct {
	Halt
	commit LSN
}

func (h haltAt) Unwrap() error { return h.Halt }

// before makes a Halt, if err is one, one before the transaction of an event.
func before(e event, err error) error {
	var halt Halt
	if errors.As(err, &halt) {
		return haltAt{halt, e.commit}
	}
	return err
}
