package main

import (
	"fmt"
	"slices"
)

// table is what a script knows of a table. Each has the columns id, v and n, which stay.
type table struct {
	schema, name string
	reach        reach
	pure         bool     // its topic folds to its rows: see pure.go
	columns      []column // beside id, v and n
	key          []string // columns of the primary key; nil: there is none
	keyName      string   // name of that constraint
	identity     string   // DEFAULT, FULL, NOTHING, the name of an index, or lost: that of an index that is gone
	indexes      []string // that nothing else needs
	shape        shape
	parts        []part
	ids          []int // of rows that are there, unless an episode was given up
	serial       int   // of the last row, in tables that are not pure
	busy         bool  // a prepared transaction that lasts has it

	usual       []string // of a pure table: its key, as every episode leaves it
	usualIndent string   // and its identity
}

const lost = "lost"

type column struct {
	name, typ string
	generated bool
}

// shape says how a table is cut into parts.
type shape int

const (
	whole shape = iota
	byRange
	byList
)

// part is a partition, of ids from low on, or below the default one.
type part struct {
	name string
	low  int
}

const partRows = 1000

func (t *table) String() string { return t.schema + "." + t.name }

// clone shares nothing with t.
func (t *table) clone() table {
	c := *t
	c.columns, c.key, c.indexes = slices.Clone(t.columns), slices.Clone(t.key), slices.Clone(t.indexes)
	c.parts, c.ids = slices.Clone(t.parts), slices.Clone(t.ids)
	return c
}

// identityIndex reports whether the identity is an index by itself.
func (t *table) identityIndex() bool {
	return !slices.Contains([]string{"DEFAULT", "FULL", "NOTHING", lost}, t.identity)
}

// published reports whether a consumer may expect updates: always, unless somebody has said NOTHING.
func (t *table) published() bool { return t.identity != "NOTHING" }

// named is the name of a part.
func (t *table) named(suffix string) string { return fmt.Sprintf("%s.%s_%s", t.schema, t.name, suffix) }
