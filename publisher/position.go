package publisher

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// positionVersion is the version of new progress records. Older versions are accepted, newer ones are refused. Version 1 had no parts of
// transactions.
const positionVersion = 2

// Position says up to where Kafka holds the database: everything committed up to EndLSN of Timeline, the first Ordinal changes of the transaction
// whose commit record starts there, and nothing else. It is published in the same Kafka transaction as the events, as a record of the compacted topic
// <prefix>.progress whose key is the transactional id.
type Position struct {
	Version  int        `json:"v"`
	Timeline int32      `json:"timeline"`
	EndLSN   outbox.LSN `json:"end_lsn"`
	Ordinal  int        `json:"ordinal"`        // 0: no part of a transaction
	Part     int        `json:"part,omitempty"` // number of Kafka transactions that hold those changes

	XID        outbox.XID `json:"xid"` // of the last completely published transaction: see resendCheck
	CommitTime time.Time  `json:"commit_time"`
	LastLSN    outbox.LSN `json:"last_lsn"` // end LSN of that transaction, or the slot's position before the first one; 0: not known

	Cuts record.Cuts `json:"cuts,omitempty"`

	record.ChosenKeys // of tables without a primary key: see record.Keys

	SystemID        string   `json:"system_id"`
	DatabaseOID     uint32   `json:"database_oid"`
	Database        string   `json:"database"`
	FormerNames     []string `json:"former_names,omitempty"` // of the database, the latest last: earlier audit records have them
	Slot            string   `json:"slot"`
	Generation      int      `json:"generation,omitempty"` // of the slot: differs for each slot of the same name; 0: not known
	PublicationHash string   `json:"publication_hash"`

	Snapshots *snapshot.State `json:"snapshots,omitempty"` // nil: there were no snapshots
}

// startPosition is the position of a slot from which nothing has been published yet.
func startPosition(s outbox.System, slot string) Position {
	return Position{
		Version: positionVersion, Timeline: s.Timeline,
		SystemID: s.ID, DatabaseOID: s.DatabaseOID, Database: s.Database,
		Slot: slot, PublicationHash: s.PublicationHash, LastLSN: s.ConfirmedFlush, Generation: s.Generation,
	}
}

// maxFormerNames bounds the names in the progress record.
const maxFormerNames = 16

// under returns the position of a database that may have another name now.
func (p Position) under(name string) Position {
	if p.Database != name && p.Database != "" {
		names := slices.DeleteFunc(slices.Clone(p.FormerNames), func(former string) bool { return former == p.Database })
		names = append(names, p.Database)
		p.FormerNames = names[max(0, len(names)-maxFormerNames):]
	}
	p.Database = name
	return p
}

// holds reports whether a transaction is completely published. The end of a giant is unknown before its last part, but a position is never inside a
// commit record.
func (p Position) holds(tx *outbox.Transaction) bool {
	if tx.More {
		return tx.CommitLSN < p.EndLSN
	}
	return tx.EndLSN <= p.EndLSN
}

// publishedOf returns how many changes of a partly published transaction are published, and in how many Kafka transactions.
func (p Position) publishedOf(tx *outbox.Transaction) (changes, parts int) {
	if tx.CommitLSN != p.EndLSN {
		return 0, 0
	}
	return p.Ordinal, p.Part
}

// after returns the position next, which is p or follows it, advanced past tx.
func (p Position) after(next Position, tx *outbox.Transaction) Position {
	next.EndLSN = max(next.EndLSN, tx.Through())
	switch upTo := tx.UpTo(); {
	case tx.IsMarker():
	case !tx.More:
		next.Ordinal, next.Part = 0, 0
		next.XID, next.CommitTime, next.LastLSN = tx.XID, tx.CommitTime, tx.EndLSN
	case upTo > next.Ordinal:
		_, parts := p.publishedOf(tx)
		next.Ordinal, next.Part = upTo, parts+1
	}
	return next
}

// reach is the LSN up to which a server must at least have written WAL to contain everything that is published.
func (p Position) reach() outbox.LSN {
	if p.Ordinal > 0 {
		return p.EndLSN + 1 // the commit record that begins at EndLSN
	}
	return p.EndLSN
}

// isBefore reports whether the slot has been recreated since this position.
func (p Position) isBefore(generation int) bool {
	return p.Generation != 0 && p.Generation < generation
}

func (p Position) Marshal() ([]byte, error) { return json.Marshal(p) }

// ParsePosition reads the value of a progress record.
func ParsePosition(value []byte) (*Position, error) {
	var p Position
	if err := json.Unmarshal(value, &p); err != nil {
		return nil, halt.New(halt.ErrProgressRecord, err.Error(), "see what wrote to the progress topic; restore the record, or start over with another --prefix after `pgtee teardown` and `pgtee setup`")
	}
	if p.Version > positionVersion {
		return nil, halt.New(halt.ErrProgressVersion,
			fmt.Sprintf("record version %d, this program reads up to %d", p.Version, positionVersion), "upgrade this publisher")
	}
	if p.Version < 1 || p.Timeline < 1 {
		return nil, halt.New(halt.ErrProgressRecord,
			fmt.Sprintf("version %d, timeline %d", p.Version, p.Timeline), "see what wrote to the progress topic; restore the record, or start over with another --prefix after `pgtee teardown` and `pgtee setup`")
	}
	return &p, nil
}
