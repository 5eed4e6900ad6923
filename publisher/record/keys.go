package record

import (
	"maps"
	"slices"

	"github.com/pgtee/pgtee/outbox"
)

// Keys remembers by which unique index the rows of tables without a primary key are told apart: one of several, which nothing in the database
// names, and which an index that is made anew (REINDEX CONCURRENTLY, ALTER COLUMN TYPE) must not change. It is part of the position. It is
// used by one goroutine at a time.
type Keys struct{ chosen map[uint32][]string } // columns, by OID of the table. A map is never changed once a Position has it

// maxChosenKeys bounds what the progress record takes. Tables beyond it have the key of their oldest index.
const maxChosenKeys = 500

// Choose returns the key of a table: the one that it had, if that is among the candidates, else the first of them. There is one at least.
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

// Forget is told of a table that has no such key, or is dropped.
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

// Resume takes what the progress record has. What this process has chosen since is in its plans, and stays.
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

// Recorded is what the next position has.
func (k *Keys) Recorded() map[uint32][]string {
	if k == nil || len(k.chosen) == 0 {
		return nil
	}
	return k.chosen
}

// DDL forgets tables that a command has dropped.
func (k *Keys) DDL(d *outbox.DDLRecord) {
	for _, o := range d.Objects {
		if o.Dropped && o.Type == "table" {
			k.Forget(o.OID)
		}
	}
}
