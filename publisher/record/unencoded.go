package record

import (
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// TooLarge is the error of a Format that needs a value which was too long to be held.
type TooLarge struct {
	What  string // "column body"
	Bytes uint64
}

func (e *TooLarge) Error() string { return fmt.Sprintf("%s has %d bytes", e.What, e.Bytes) }

// Overhead is above what Kafka adds to key, value and headers of a record, a batch of its own included.
const Overhead = 1024

// Unencoded says what an error of the format means: to be tried again, if it was an outage (of the catalog, of
// a schema registry), else a halt.
func Unencoded(what string, err error) error {
	var outage interface{ Temporary() bool }
	if errors.As(err, &outage) && outage.Temporary() {
		return fmt.Errorf("%s: %w", what, err)
	}
	var stop *halt.Halt
	var large *TooLarge
	if errors.As(err, &stop) || errors.As(err, &large) {
		return err
	}
	return halt.New(halt.ErrEncode, fmt.Sprintf("%s: %v", what, err), "exclude the table or report the defect; nothing is skipped meanwhile")
}

// SourceName says what a change is of, for errors and owners of topics.
func SourceName(c *outbox.Change) string {
	if c.Relation == nil {
		return "logical messages"
	}
	return "table " + c.Relation.Schema + "." + c.Relation.Name
}
