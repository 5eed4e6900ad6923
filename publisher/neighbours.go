package publisher

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"

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

// checkPrefix halts a first start if another database publishes under the same prefix: tables with the same name would share a topic, and compaction
// would merge their equal keys.
func (p *Publisher) checkPrefix(first bool) error {
	names := p.neighbours(false)
	if len(names) == 0 {
		return nil
	}
	other := p.log.(Neighbours).Others()[names[0]]
	detail := fmt.Sprintf("topics %s.* are those of database %s (slot %s), of which transactions up to %s are published", p.cfg.Prefix, other.Database, other.Slot, other.CommitTime.UTC().Format(time.RFC3339))
	if first {
		return halt.New(halt.ErrPrefixTaken, detail, "use another --prefix for this database, or, if the other one is no longer published, run `pgtee repair --accept-divergence` to take its topics over")
	}
	p.cfg.Log.Warn("another database publishes under the same prefix: tables of the same name share their topics; use another --prefix for one of them", zap.String("finding", "prefix-shared"), zap.String("database", other.Database), zap.String("slot", other.Slot))
	return nil
}

// checkFormerSlot halts a first start if another slot of this database has published under the same prefix: changes made between the end
// of one slot and the start of the other are in neither.
func (p *Publisher) checkFormerSlot() error {
	names := p.neighbours(true)
	if len(names) == 0 {
		return nil
	}
	former := p.log.(Neighbours).Others()[names[0]]
	return halt.New(halt.ErrGap, fmt.Sprintf("slot %s has published this database up to %s, slot %s starts at %s", former.Slot, former.EndLSN, p.cfg.Slot, p.source.System().ConfirmedFlush), repairLost)
}

// neighbours returns the names of the positions of other slots of this database, or of other databases.
func (p *Publisher) neighbours(ofThisDatabase bool) (names []string) {
	log, shared := p.log.(Neighbours)
	if !shared {
		return nil
	}
	s := p.source.System()
	for name, other := range log.Others() {
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
