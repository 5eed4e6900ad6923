package main

import (
	"fmt"
	"time"
)

// A table is pure if its topic folds to its rows by construction: it is never renamed, no partition with rows is ever attached or detached, its key
// is id or nothing, and its rows change only while their changes can be captured. Keys and identities are added and dropped. Every episode leaves
// such a table in its usual state.

// flavour says what usually identifies the rows of a pure table.
type flavour int

const (
	keyed   flavour = iota // a primary key
	copied                 // the same, added to the result of CREATE TABLE AS
	parted                 // the same, for a partitioned table
	full                   // REPLICA IDENTITY FULL, no key
	indexed                // a unique index, no key
	flavours
)

const farRows = 1_000_000_000 // greater than all ids

func (g *generator) newPure(name string, f flavour, r reach) *table {
	t := &table{schema: g.name, name: name, reach: r, pure: true, keyName: name + "_pkey", usual: []string{"id"}, usualIdentity: "DEFAULT"}
	switch f {
	case parted:
		t.shape = byRange
	case full:
		t.usual, t.usualIdentity = nil, "FULL"
	case indexed:
		t.usual, t.usualIdentity = nil, name+"_id"
	}
	t.key, t.identity = t.usual, t.usualIdentity
	return t
}

// ground returns the statements that create a pure table, unless it exists.
func (t *table) ground() (statements []string) {
	add := func(format string, args ...any) { statements = append(statements, fmt.Sprintf(format, args...)) }
	switch {
	case t.shape == byRange:
		add("CREATE TABLE IF NOT EXISTS %s (id bigint NOT NULL, v text, n int, CONSTRAINT %s PRIMARY KEY (id)) PARTITION BY RANGE (id)", t, t.keyName)
		add("CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (0) TO (5000000)", t.named("low"), t)
		add("CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (5000000) TO (%d) PARTITION BY HASH (id)", t.named("high"), t, farRows)
		for i := range 2 {
			add("CREATE TABLE IF NOT EXISTS %s_%d PARTITION OF %s FOR VALUES WITH (MODULUS 2, REMAINDER %d)", t.named("high"), i, t.named("high"), i)
		}
	case t.usual != nil:
		add("CREATE TABLE IF NOT EXISTS %s (id bigint NOT NULL, v text, n int, CONSTRAINT %s PRIMARY KEY (id))", t, t.keyName)
	default:
		add("CREATE TABLE IF NOT EXISTS %s (id bigint NOT NULL, v text, n int)", t)
		if t.usualIdentity != "FULL" {
			add("CREATE UNIQUE INDEX IF NOT EXISTS %s ON %s (id)", t.usualIdentity, t)
			add("ALTER TABLE %s REPLICA IDENTITY USING INDEX %s", t, t.usualIdentity)
		} else {
			add("ALTER TABLE %s REPLICA IDENTITY FULL", t)
		}
	}
	return statements
}

func (g *generator) lay(t *table) {
	for _, sql := range t.ground() {
		g.do("GROUND", "%s", sql)
	}
}

// purely works on one pure table, an old or a new one.
func (g *generator) purely() {
	t, isNew := g.choosePure()
	g.reach, g.tables = t.reach, []*table{t}
	switch {
	case isNew && t.usual != nil && t.shape == whole && g.chance(40):
		g.copy(t)
	case isNew && g.chance(50):
		g.layInside(t)
	default:
		g.lay(t)
	}
	g.insert(t)
	for range 4 + g.random.Intn(8) {
		if g.writer && t.published() && len(t.ids) > 0 && g.chance(50) {
			g.reach = t.reach
			pick(g, (*generator).insert, (*generator).update, (*generator).remove)(g, t)
			continue
		}
		g.unit()
	}
	g.reach = t.reach
	g.makeUsual(t)
	g.mendUsual(t)
}

func (g *generator) choosePure() (t *table, isNew bool) {
	if !g.writer && len(g.pures) < 8 && g.chance(30) {
		t = g.newPure(fmt.Sprintf("pure%d", g.fresh()), flavour(g.random.Intn(int(flavours))), quiet)
		g.pures = append(g.pures, t)
		return t, true
	}
	for {
		if t = pick(g, g.pures...); !t.busy {
			return t, false
		}
	}
}

// layInside creates the table in a transaction that takes some time, sometimes after a first one that is rolled back.
func (g *generator) layInside(t *table) {
	for _, end := range []string{pick(g, "ROLLBACK", "COMMIT"), "COMMIT"} {
		g.do("BEGIN", "BEGIN")
		g.lay(t)
		g.insert(t)
		g.update(t)
		g.hold = g.upTo(3 * time.Second)
		g.do(end, "%s", end)
		if end == "ROLLBACK" {
			t.ids = nil
		}
	}
}

// copy creates the table from rows, and adds the key when all of them exist.
func (g *generator) copy(t *table) {
	g.do("CREATE TABLE AS", "CREATE TABLE %s AS SELECT %d + i AS id, 'copied'::text AS v, 0 AS n FROM generate_series(1, 5) AS i", t, g.base+farRows/2+10*g.fresh())
	g.do("ALTER TABLE ALTER TYPE", "ALTER TABLE %s ALTER COLUMN id TYPE bigint", t)
	g.insert(t)
	g.do("ALTER TABLE ADD PRIMARY KEY", "ALTER TABLE %s ADD %s", t, t.keyText())
}

// makeUsual restores the table to its usual state at the end of the episode.
func (g *generator) makeUsual(t *table) {
	if t.key == nil && t.usual != nil {
		t.key = t.usual
		g.do("ALTER TABLE ADD PRIMARY KEY", "ALTER TABLE %s ADD %s", t, t.keyText())
	}
	if t.identity != t.usualIdentity {
		t.identity = t.usualIdentity
		g.do("ALTER TABLE REPLICA IDENTITY", "ALTER TABLE %s REPLICA IDENTITY %s", t, t.identityText())
	}
	for len(t.indexes) > 0 {
		g.dropIndex(t)
	}
	for len(t.columns) > 0 {
		g.dropColumn(t)
	}
	for len(t.parts) > 0 {
		g.dropPart(t)
	}
}

func (t *table) identityText() string {
	if t.identityIndex() {
		return "USING INDEX " + t.usualIdentity
	}
	return t.usualIdentity
}

// mendUsual does the same if the episode was given up at any point.
func (g *generator) mendUsual(t *table) {
	if t.usual != nil {
		g.mend("ALTER TABLE IF EXISTS %s DROP CONSTRAINT IF EXISTS %s, ADD %s, REPLICA IDENTITY DEFAULT", t, t.keyName, t.keyText())
	} else {
		g.mend("ALTER TABLE IF EXISTS %s REPLICA IDENTITY %s", t, t.identityText())
	}
}
