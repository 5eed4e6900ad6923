package apply

import "errors"

// Halt is an end that a human has to decide on: what happened, and what to do about it.
type Halt struct{ What, Repair string }

func (h Halt) Error() string { return h.What + ": " + h.Repair }

// isHalt says whether another try is of no use.
func isHalt(err error) bool {
	var halt Halt
	return errors.As(err, &halt)
}
