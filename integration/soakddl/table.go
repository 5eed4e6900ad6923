package main

import (
	"fmt"
	"slices"
)

// table is a script's model of a table. Each has the columns id, v and n, which stay.
type table struct {
	schema, name string
	reach        reach
	pure         bool     // its topic folds to its rows: see pure.go
	columns      []column // in addition to id, v and n
	key          []string // columns of the primary key; nil: no key
	keyName      string   // name of the key's constraint
	identity     string   // DEFAULT, FULL, NOTHING, the name of an index, or lost: the index was dropped
	indexes      []string // indexes that nothing else needs
	shape        shape
	parts        []part
	ids          []int // of existing rows, unless an episode was given up
	serial       int   // of the last row, in tables that are not pure
	busy         bool  // a long-lived prepared transaction uses it

	usual         []string // for a pure table: its key at the end of every episode
	usualIdentity string   // and its identity
}

const lost = "lost"

type column struct {
	name, typ string
	generated bool
}

// shape says how a table is partitioned.
type shape int

const (
	whole shape = iota
	byRange
	byList
)

// part is a partition of a table partitioned by range, for partRows ids from low on.
type part struct {
	name string
	low  int
}

const partRows = 1000

func (t *table) String() string { return t.schema + "." + t.name }

// clone returns a copy that shares nothing with t.
func (t *table) clone() table {
	c := *t
	c.columns, c.key, c.indexes = slices.Clone(t.columns), slices.Clone(t.key), slices.Clone(t.indexes)
	c.parts, c.ids = slices.Clone(t.parts), slices.Clone(t.ids)
	return c
}

// identityIndex reports whether the identity is a separate index.
func (t *table) identityIndex() bool {
	return !slices.Contains([]string{"DEFAULT", "FULL", "NOTHING", lost}, t.identity)
}

// published reports whether the stream has updates: always, unless the identity is NOTHING.
func (t *table) published() bool { return t.identity != "NOTHING" }

// named returns the name of a partition.
func (t *table) named(suffix string) string { return fmt.Sprintf("%s.%s_%s", t.schema, t.name, suffix) }
