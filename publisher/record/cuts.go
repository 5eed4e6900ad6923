package record

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/pgtee/pgtee/outbox"
)

// Cuts are the positions to which repairs have set the stream back, oldest first. Event ids contain how many there were. Records that were published
// before a cut stay in the topics, but if their transaction commits at or after the cut, the database has lost it, or it is that of another database.
type Cuts []outbox.LSN

// UnmarshalJSON also reads a number, which an earlier build wrote: how many cuts there were. Their positions are not known, so nothing counts as lost.
func (c *Cuts) UnmarshalJSON(text []byte) error {
	var number uint16
	if json.Unmarshal(text, &number) == nil && string(text) != "null" {
		*c = slices.Repeat(Cuts{math.MaxUint64}, int(number))
		return nil
	}
	return json.Unmarshal(text, (*[]outbox.LSN)(c))
}
