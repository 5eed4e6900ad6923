package record

import (
	"encoding/json"
	"math"
	"slices"

	"github.com/pgtee/pgtee/outbox"
)

// Cuts are the positions to which repairs have set the stream back, oldest first. The event ids have their number. Of what was published before a cut,
// the database has lost the transactions that commit at or after it, or they are those of another database; their records stay in the topics.
type Cuts []outbox.LSN

// UnmarshalJSON also reads the mere number of cuts that an earlier build has written. Where they were is not known: nothing counts as lost.
func (c *Cuts) UnmarshalJSON(text []byte) error {
	var number uint16
	if json.Unmarshal(text, &number) == nil && string(text) != "null" {
		*c = slices.Repeat(Cuts{math.MaxUint64}, int(number))
		return nil
	}
	return json.Unmarshal(text, (*[]outbox.LSN)(c))
}
