package publisher

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/pgtee/pgtee/outbox"
)

// positionVersion is written into progress records. Older ones are read, newer ones refused.
const positionVersion = 1

// Position says up to where Kafka holds the database: everything committed up to EndLSN of Timeline,
// and nothing after it. It travels in the same Kafka transaction as the events, as a record of the
// compacted topic <prefix>.progress whose key is the transactional id.
type Position struct {
	Version  int        `json:"v"`
	Timeline int32      `json:"timeline"`
	EndLSN   outbox.LSN `json:"end_lsn"`
	Ordinal  int        `json:"ordinal"` // changes of the next transaction that are out already; 0: none

	XID        outbox.XID `json:"xid"` // of the last transaction that was published, for comparison
	CommitTime time.Time  `json:"commit_time"`

	SystemID        string `json:"system_id"`
	DatabaseOID     uint32 `json:"database_oid"`
	Database        string `json:"database"`
	Slot            string `json:"slot"`
	PublicationHash string `json:"publication_hash"`

	Snapshots *Snapshots `json:"snapshots,omitempty"` // nil: there was none
}

// startPosition is the position of a slot that has published nothing yet.
func startPosition(s outbox.System, slot string) Position {
	return Position{
		Version: positionVersion, Timeline: s.Timeline,
		SystemID: s.ID, DatabaseOID: s.DatabaseOID, Database: s.Database,
		Slot: slot, PublicationHash: s.PublicationHash,
	}
}

func (p Position) marshal() ([]byte, error) { return json.Marshal(p) }

// parsePosition reads the value of a progress record.
func parsePosition(value []byte) (*Position, error) {
	var p Position
	if err := json.Unmarshal(value, &p); err != nil {
		return nil, &Halt{ErrProgressRecord, err.Error(), "see what wrote to the progress topic; restore the record, or start over with another --prefix after `pgtee teardown` and `pgtee setup`"}
	}
	if p.Version > positionVersion {
		return nil, &Halt{ErrProgressVersion,
			fmt.Sprintf("record version %d, this program reads up to %d", p.Version, positionVersion), "upgrade this publisher"}
	}
	if p.Version < 1 || p.Timeline < 1 {
		return nil, &Halt{ErrProgressRecord,
			fmt.Sprintf("version %d, timeline %d", p.Version, p.Timeline), "see what wrote to the progress topic; restore the record, or start over with another --prefix after `pgtee teardown` and `pgtee setup`"}
	}
	return &p, nil
}
