package record

import (
	"maps"
	"slices"
)

// Keys remembers which unique index serves as the key of each table without a primary key. There may be several candidates, the catalog does not mark
// one, and recreating an index (REINDEX CONCURRENTLY, ALTER COLUMN TYPE) or renaming a column must not change the choice. Keys is part of the position.
// It is used by one goroutine at a time.
type Keys struct {
	chosen ChosenKeys
	round  int // see Round
}

// ChosenKeys holds keys by OID of the table, in the form of the progress record. Its maps are never modified once a Position refers to them.
type ChosenKeys struct {
	Names   map[uint32][]string `json:"keys,omitempty"`        // of the columns
	Numbers map[uint32][]int    `json:"key_numbers,omitempty"` // of the columns (pg_attribute.attnum), which stay when a column is renamed; where they are known
}

// Tables beyond these limits, which bound the size of the progress record, use their oldest index.
const (
	maxChosenKeys  = 500
	maxChosenBytes = 128 << 10 // of names, with every character escaped
)

// Choose returns the key of a table: the remembered one if it is still a candidate, else the first candidate. There is at least one. numbers has the
// attribute numbers of the columns, by name.
func (k *Keys) Choose(table uint32, candidates [][]string, numbers map[string]int) []string {
	if k == nil {
		return candidates[0]
	}
	chosen := candidates[0]
	for _, candidate := range candidates {
		if k.remembers(table, candidate, numbersOf(candidate, numbers)) {
			chosen = candidate
		}
	}
	k.set(table, chosen, numbersOf(chosen, numbers))
	return chosen
}

// remembers reports whether a key is the remembered one: by its numbers, or by its names if the numbers of one of both are not known.
func (k *Keys) remembers(table uint32, names []string, numbers []int) bool {
	if had := k.chosen.Numbers[table]; had != nil && numbers != nil {
		return slices.Equal(had, numbers)
	}
	return slices.Equal(k.chosen.Names[table], names)
}

// numbersOf returns nil if the numbers are not known.
func numbersOf(names []string, numbers map[string]int) (list []int) {
	for _, name := range names {
		n, known := numbers[name]
		if !known {
			return nil
		}
		list = append(list, n)
	}
	return list
}

// Forget removes a table that no longer has such a key, or was dropped.
func (k *Keys) Forget(table uint32) {
	if k == nil || k.chosen.Names[table] == nil {
		return
	}
	k.chosen = ChosenKeys{maps.Clone(k.chosen.Names), maps.Clone(k.chosen.Numbers)}
	delete(k.chosen.Names, table)
	delete(k.chosen.Numbers, table)
}

// set remembers a key in place of the one that the table had, if there is room.
func (k *Keys) set(table uint32, names []string, numbers []int) {
	if slices.Equal(k.chosen.Names[table], names) && slices.Equal(k.chosen.Numbers[table], numbers) {
		return
	}
	k.Forget(table)
	bytes := escapedBytes(names)
	for _, others := range k.chosen.Names {
		bytes += escapedBytes(others)
	}
	if len(k.chosen.Names) >= maxChosenKeys || bytes > maxChosenBytes {
		return
	}
	next := ChosenKeys{map[uint32][]string{table: names}, map[uint32][]int{}}
	if numbers != nil {
		next.Numbers[table] = numbers
	}
	maps.Copy(next.Names, k.chosen.Names)
	maps.Copy(next.Numbers, k.chosen.Numbers)
	k.chosen = next
}

func escapedBytes(names []string) (n int) {
	for _, name := range names {
		n += 6*len(name) + len(`"",`)
	}
	return n
}

// Resume returns to the keys in the progress record. What was chosen after it was chosen for changes that are composed again from there: an earlier
// one of them must not get the key that later DDL led to.
func (k *Keys) Resume(recorded ChosenKeys) {
	if k != nil && !k.chosen.equal(recorded) {
		k.chosen = recorded
		k.round++
	}
}

// Round changes when Resume has discarded choices: whatever was derived from them is no longer valid.
func (k *Keys) Round() int {
	if k == nil {
		return 0
	}
	return k.round
}

func (c ChosenKeys) equal(other ChosenKeys) bool {
	return maps.EqualFunc(c.Names, other.Names, slices.Equal) && maps.EqualFunc(c.Numbers, other.Numbers, slices.Equal)
}

// Recorded returns the keys for the next position.
func (k *Keys) Recorded() ChosenKeys {
	if k == nil {
		return ChosenKeys{}
	}
	return k.chosen
}
