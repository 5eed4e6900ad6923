package record

import (
	"errors"
	"fmt"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// TooLarge is the error of a Format that needs a value that was too long to be kept in memory.
type TooLarge struct {
	What  string // such as "column body"
	Bytes uint64
}

func (e *TooLarge) Error() string { return fmt.Sprintf("%s has %d bytes", e.What, e.Bytes) }

// Overhead is an upper bound of the bytes that Kafka adds to key, value and headers of a record that is alone in its record batch.
const Overhead = 1024

// Unencoded turns an error of a Format into one that is retried, if the catalog or a schema registry was unavailable, or else into a halt.
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
	return halt.New(halt.ErrEncode, fmt.Sprintf("%s: %v", what, err), "exclude the table (--exclude-tables), publish it in another form, or report the defect; nothing is skipped meanwhile")
}

// SourceName returns the name of a change's source, for errors and for the owner of a topic.
func SourceName(c *outbox.Change) string {
	if c.Relation == nil {
		return "logical messages"
	}
	return "table " + c.Relation.Schema + "." + c.Relation.Name
}
