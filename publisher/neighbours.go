package publisher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/halt"
)

// Neighbours is a Log that holds the topics and positions of other publishers too, including those with the same prefix.
type Neighbours interface {
	// Find reports which of the given topics exist.
	Find(ctx context.Context, topics ...string) (map[string]bool, error)
	// Others returns the positions of other publishers by their key in the log, as of the last Fence.
	Others() map[string]Position
	// Evict makes the next Publish delete the named positions.
	Evict(names []string)
}

// CheckRecorded returns why a publisher halts because of the positions that are recorded under its prefix, as far as only the identity of its server and
// database decides: own is that of its slot, nil if there is none, and others are those of other publishers. shared describes another database that
// publishes under the same prefix all the same; "" if none does.
func CheckRecorded(prefix, slot string, s outbox.System, own *Position, others map[string]Position) (shared string, err error) {
	if own == nil {
		if err := checkPrefix(prefix, s, others); err != nil {
			return "", err
		}
		if s.ConfirmedFlush == 0 { // there is no slot yet
			return "", nil
		}
		return "", checkFormerSlot(slot, s, others)
	}
	if names := neighbours(s, others, false); len(names) > 0 {
		other := others[names[0]]
		shared = fmt.Sprintf("database %s (slot %s)", other.Database, other.Slot)
	}
	return shared, own.checkOrigin(s)
}

// checkPrefix halts a first start if another database publishes under the same prefix: tables with the same name would share a topic, and compaction
// would merge their equal keys.
func checkPrefix(prefix string, s outbox.System, others map[string]Position) error {
	names := neighbours(s, others, false)
	if len(names) == 0 {
		return nil
	}
	other := others[names[0]]
	return halt.New(halt.ErrPrefixTaken, fmt.Sprintf("topics %s.* are those of database %s (slot %s), of which transactions up to %s are published", prefix, other.Database, other.Slot, other.CommitTime.UTC().Format(time.RFC3339)),
		"use another --prefix for this database, or, if the other one is no longer published, run `pgtee repair --accept-divergence` to take its topics over")
}

// checkPrefix warns of another database under the same prefix, if this one has been published before.
func (p *Publisher) checkPrefix(first bool) error {
	if first {
		return checkPrefix(p.cfg.Prefix, p.source.System(), p.others())
	}
	if names := p.neighbours(false); len(names) > 0 {
		other := p.others()[names[0]]
		p.cfg.Log.Warn("another database publishes under the same prefix: tables of the same name share their topics; use another --prefix for one of them", zap.String("finding", "prefix-shared"), zap.String("database", other.Database), zap.String("slot", other.Slot))
	}
	return nil
}

// checkFormerSlot halts a first start if another slot of this database has published under the same prefix: changes made between the end
// of one slot and the start of the other are in neither.
func checkFormerSlot(slot string, s outbox.System, others map[string]Position) error {
	names := neighbours(s, others, true)
	if len(names) == 0 {
		return nil
	}
	former := others[names[0]]
	return halt.New(halt.ErrGap, fmt.Sprintf("slot %s has published this database up to %s, slot %s starts at %s", former.Slot, former.EndLSN, slot, s.ConfirmedFlush), repairLost)
}

// others returns the positions of other publishers with this prefix, as of the last Fence.
func (p *Publisher) others() map[string]Position {
	if log, shared := p.log.(Neighbours); shared {
		return log.Others()
	}
	return nil
}

func (p *Publisher) neighbours(ofThisDatabase bool) (names []string) {
	return neighbours(p.source.System(), p.others(), ofThisDatabase)
}

// neighbours returns the names of the positions of other slots of this database, or of other databases.
func neighbours(s outbox.System, others map[string]Position, ofThisDatabase bool) (names []string) {
	for name, other := range others {
		if (other.SystemID == s.ID && other.DatabaseOID == s.DatabaseOID) == ofThisDatabase {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// evict deletes the positions of other slots of this database, or of other databases, and so takes over their topics.
func (p *Publisher) evict(ofThisDatabase bool) {
	if names := p.neighbours(ofThisDatabase); len(names) > 0 {
		p.log.(Neighbours).Evict(names)
	}
}
