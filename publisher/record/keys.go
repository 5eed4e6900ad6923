package record

import (
	"maps"
	"slices"

	"github.com/pgtee/pgtee/outbox"
)

// Keys remembers which unique index serves as the key of each table without a primary key. There may be several candidates, the catalog does not mark
// one, and recreating an index (REINDEX CONCURRENTLY, ALTER COLUMN TYPE) must not change the choice. Keys is part of the position. It is used by one
// goroutine at a time.
type Keys struct{ chosen map[uint32][]string } // columns, by OID of the table. A map is never modified once a Position refers to it

// maxChosenKeys bounds the size of the progress record. Tables beyond it use their oldest index.
const maxChosenKeys = 500

// Choose returns the key of a table: the remembered one if it is still a candidate, else the first candidate. There is at least one.
func (k *Keys) Choose(table uint32, candidates [][]string) []string {
	if k == nil {
		return candidates[0]
	}
	had := k.chosen[table]
	if slices.ContainsFunc(candidates, func(names []string) bool { return slices.Equal(names, had) }) {
		return had
	}
	if had != nil || len(k.chosen) < maxChosenKeys {
		k.set(table, candidates[0])
	}
	return candidates[0]
}

// Forget removes a table that no longer has such a key, or was dropped.
func (k *Keys) Forget(table uint32) {
	if k == nil || k.chosen[table] == nil {
		return
	}
	k.chosen = maps.Clone(k.chosen)
	delete(k.chosen, table)
}

func (k *Keys) set(table uint32, names []string) {
	next := maps.Clone(k.chosen)
	if next == nil {
		next = map[uint32][]string{}
	}
	next[table] = names
	k.chosen = next
}

// Resume adds the keys in the progress record. Keys that this process has already chosen are in use and stay.
func (k *Keys) Resume(recorded map[uint32][]string) {
	if k == nil {
		return
	}
	for table, names := range recorded {
		if k.chosen[table] == nil && len(names) > 0 && len(k.chosen) < maxChosenKeys {
			k.set(table, names)
		}
	}
}

// Recorded returns the keys for the next position.
func (k *Keys) Recorded() map[uint32][]string {
	if k == nil || len(k.chosen) == 0 {
		return nil
	}
	return k.chosen
}

// DDL forgets the tables that a command dropped.
func (k *Keys) DDL(d *outbox.DDLRecord) {
	for _, o := range d.Objects {
		if o.Dropped && o.Type == "table" {
			k.Forget(o.OID)
		}
	}
}
