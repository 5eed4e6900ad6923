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

// checkPrefix halts a first start if another database publishes under the same prefix: tables with the same name would share a topic, and compaction
// would merge their equal keys.
func (p *Publisher) checkPrefix(s outbox.System, first bool) error {
	log, shared := p.log.(Neighbours)
	if !shared {
		return nil
	}
	names := strangers(log.Others(), s)
	if len(names) == 0 {
		return nil
	}
	other := log.Others()[names[0]]
	detail := fmt.Sprintf("topics %s.* are those of database %s (slot %s), of which transactions up to %s are published", p.cfg.Prefix, other.Database, other.Slot, other.CommitTime.UTC().Format(time.RFC3339))
	if first {
		return halt.New(halt.ErrPrefixTaken, detail, "use another --prefix for this database, or, if the other one is no longer published, run `pgtee repair --accept-divergence` to take its topics over")
	}
	p.cfg.Log.Warn("another database publishes under the same prefix: tables of the same name share their topics; use another --prefix for one of them", zap.String("finding", "prefix-shared"), zap.String("database", other.Database), zap.String("slot", other.Slot))
	return nil
}

// strangers returns the names of the positions that belong to other databases.
func strangers(others map[string]Position, s outbox.System) (names []string) {
	for name, other := range others {
		if other.SystemID != s.ID || other.DatabaseOID != s.DatabaseOID {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// evictStrangers deletes the positions of other databases, and so takes over the prefix.
func (p *Publisher) evictStrangers() {
	if log, shared := p.log.(Neighbours); shared {
		log.Evict(strangers(log.Others(), p.source.System()))
	}
}
