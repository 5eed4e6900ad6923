package property

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// table is a table to which the scripts write, and what is known about it.
type table struct {
	number  int
	schema  string
	name    string
	columns []*column
	style   *style
	split   *split  // nil: not partitioned
	leaves  []*leaf // for a partitioned table
	rows    []int   // c0 of the existing rows

	filtered bool // it has a row filter in the first pass, otherwise in the second
	epochs   int  // how often its key columns have changed
	dropped  bool
	last     map[string]row // rows when it was dropped
	history  []string       // its DDL, in readable form
}

// column is a column. Its number stays the same when it is renamed.
type column struct {
	number    int
	name      string
	kind      *kind
	notNull   bool
	generated string // expression; "": none
	virtual   bool
	filled    bool // its default has filled rows, which does not change them
	kinds     int  // number of types that it has had
}

type leaf struct {
	name     string // quoted, with its schema
	bound    string
	detached bool
}

// The first columns of each table.
const (
	columnID      = 0 // int, permanent identifier of the row
	columnVersion = 1 // bigint, increases with every write
	columnFilter  = 2 // int
	columnPart    = 3 // int, by which the table may be partitioned
	columnCode    = 4 // unique text
)

// style says what identifies the rows of a table, and how the WAL identifies them.
type style struct {
	name     string
	key      string // constraints in CREATE TABLE, on the columns %0, %3, %4
	leafKey  string // constraints in each leaf
	after    string // commands after CREATE TABLE; %t is the table
	leafs    string // commands for each leaf; %t is the leaf
	updates  bool   // UPDATE and DELETE are captured
	columns  []int  // columns of the record key; nil: no key
	dropKey  bool   // its key can be dropped and created again
	split    bool   // for partitioned tables
	whole    bool   // for others
	generate bool   // the key is a stored generated column
}

var styles = []*style{
	{name: "primary key", key: "CONSTRAINT %k PRIMARY KEY (%0)", updates: true, columns: []int{columnID}, dropKey: true, whole: true},
	{name: "primary key of text", key: "CONSTRAINT %k PRIMARY KEY (%4)", updates: true, columns: []int{columnCode}, dropKey: true, whole: true},
	{name: "composite primary key", key: "CONSTRAINT %k PRIMARY KEY (%4, %3)", updates: true, columns: []int{columnCode, columnPart}, dropKey: true, whole: true, split: true},
	{name: "primary key with INCLUDE", key: "CONSTRAINT %k PRIMARY KEY (%4) INCLUDE (%1, %2)", updates: true, columns: []int{columnCode}, whole: true},
	{name: "composite primary key with INCLUDE", key: "CONSTRAINT %k PRIMARY KEY (%4, %3) INCLUDE (%2)", updates: true, columns: []int{columnCode, columnPart}, whole: true, split: true},
	{name: "primary key under FULL", key: "CONSTRAINT %k PRIMARY KEY (%4)", after: "ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, columns: []int{columnCode}, whole: true},
	{name: "FULL without a key", after: "ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, whole: true},
	{name: "unique index under FULL", after: "CREATE UNIQUE INDEX ON %t (%4); ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, columns: []int{columnCode}, whole: true},
	{name: "identity index", after: "CREATE UNIQUE INDEX %i ON %t (%4); ALTER TABLE %t REPLICA IDENTITY USING INDEX %i", updates: true, columns: []int{columnCode}, whole: true},
	{name: "identity index beside a primary key", key: "CONSTRAINT %k PRIMARY KEY (%0)", after: "CREATE UNIQUE INDEX %i ON %t (%4, %3) INCLUDE (%2); ALTER TABLE %t REPLICA IDENTITY USING INDEX %i", updates: true, columns: []int{columnCode, columnPart}, whole: true},
	{name: "no key", whole: true, split: true},
	{name: "unique index", after: "CREATE UNIQUE INDEX ON %t (%4)", columns: []int{columnCode}, whole: true},
	{name: "deferrable primary key", key: "CONSTRAINT %k PRIMARY KEY (%4) DEFERRABLE", columns: []int{columnCode}, whole: true},
	{name: "deferrable primary key under FULL", key: "CONSTRAINT %k PRIMARY KEY (%4) DEFERRABLE", after: "ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, whole: true},
	{name: "NOTHING", key: "CONSTRAINT %k PRIMARY KEY (%4)", after: "ALTER TABLE %t REPLICA IDENTITY NOTHING", columns: []int{columnCode}, whole: true},
	{name: "generated primary key", generate: true, updates: true, columns: []int{5}, whole: true},
	{name: "keys of leaves", leafKey: "PRIMARY KEY (%4)", updates: true, columns: []int{columnCode}, split: true},
	{name: "composite keys of leaves", leafKey: "PRIMARY KEY (%4, %3)", updates: true, columns: []int{columnCode, columnPart}, split: true},
	{name: "keys of leaves, FULL of the root", leafKey: "PRIMARY KEY (%4)", after: "ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, columns: []int{columnCode}, split: true},
	{name: "key of the root, FULL of the root", key: "CONSTRAINT %k PRIMARY KEY (%4, %3)", after: "ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, columns: []int{columnCode, columnPart}, split: true},
	{name: "key of the root, FULL of the leaves", key: "CONSTRAINT %k PRIMARY KEY (%4, %3)", leafs: "ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, columns: []int{columnCode, columnPart}, split: true},
	{name: "FULL of the leaves", leafs: "ALTER TABLE %t REPLICA IDENTITY FULL", updates: true, split: true},
}

// split says how a table is partitioned by its column 3, whose values are below 90.
type split struct {
	name   string
	by     string
	bounds []string
	deeper *split // how its first partition is partitioned
}

var splits = []*split{
	{name: "range", by: "RANGE (%3)", bounds: []string{"FOR VALUES FROM (0) TO (30)", "FOR VALUES FROM (30) TO (60)", "FOR VALUES FROM (60) TO (90)"}},
	{name: "list", by: "LIST ((%3))", bounds: []string{"FOR VALUES IN (1, 2, 3, 4, 5)", "FOR VALUES IN (6, 7, 8)", "DEFAULT"}},
	{name: "hash", by: "HASH (%3)", bounds: []string{"FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "FOR VALUES WITH (MODULUS 2, REMAINDER 1)"}},
	{name: "multi-level", by: "RANGE (%3)", bounds: []string{"FOR VALUES FROM (0) TO (50)", "FOR VALUES FROM (50) TO (90)"},
		deeper: &split{by: "HASH (%3)", bounds: []string{"FOR VALUES WITH (MODULUS 2, REMAINDER 0)", "FOR VALUES WITH (MODULUS 2, REMAINDER 1)"}}},
}

// fill inserts the names of a table into a piece of SQL; %t is target.
func (t *table) fill(sql, target string) string {
	return strings.NewReplacer("%t", target, "%k", quote(fmt.Sprintf("k%d_%d", t.number, t.epochs)), "%i", quote(fmt.Sprintf("i%d_%d", t.number, t.epochs)),
		"%0", t.sql(columnID), "%1", t.sql(columnVersion), "%2", t.sql(columnFilter), "%3", t.sql(columnPart), "%4", t.sql(columnCode)).Replace(sql)
}

// detached reports whether a partition is detached.
func (t *table) detached() bool {
	return slices.ContainsFunc(t.leaves, func(l *leaf) bool { return l.detached })
}

func (t *table) String() string { return quote(t.schema) + "." + quote(t.name) }

// column returns the column with this number, or nil if it was dropped.
func (t *table) column(number int) *column {
	for _, c := range t.columns {
		if c.number == number {
			return c
		}
	}
	return nil
}

func (t *table) sql(number int) string { return quote(t.column(number).name) }

// newTable returns a new table of a place. c2 keeps its name, because filters use it.
func newTable(p *place, number int, r *rand.Rand, major int) *table {
	t := &table{number: number, filtered: r.IntN(2) == 0, schema: []string{"public", "Sch.ema", `sch"ëma`}[r.IntN(3)]}
	t.name = p.oddName(r, fmt.Sprintf("t%d_", number))
	for i, k := range []*kind{kindInt4, kindInt8, kindInt4, kindInt4, []*kind{kindText, kindVarchar, kindWord}[r.IntN(3)]} {
		c := &column{number: i, kind: k, kinds: 1, notNull: i != columnFilter}
		if c.name = "c2"; i != columnFilter {
			c.name = p.oddName(r, fmt.Sprintf("c%d", i))
		}
		t.columns = append(t.columns, c)
	}
	if r.IntN(3) == 0 {
		t.split = splits[r.IntN(len(splits))]
	}
	for t.style == nil || t.split == nil && !t.style.whole || t.split != nil && !t.style.split {
		t.style = styles[r.IntN(len(styles))]
	}
	next := 5
	if t.style.generate {
		t.columns = append(t.columns, &column{number: next, name: p.oddName(r, "c5"), kind: kindInt4, kinds: 1, generated: t.sql(columnID) + " * 2"})
		next++
	}
	for range 1 + r.IntN(6) {
		t.addColumn(p, r, next)
		next++
	}
	if t.split == nil && r.IntN(4) == 0 {
		c := t.addColumn(p, r, next)
		c.kind, c.notNull = kindText, false
		c.generated = "CASE WHEN " + t.sql(columnFilter) + " > 0 THEN 'more' ELSE 'less' END"
		c.virtual = major >= 18 && r.IntN(2) == 0 && t.style.updates && len(t.style.columns) > 0 && !strings.Contains(t.style.name, "FULL")
	}
	return t
}

func (t *table) addColumn(p *place, r *rand.Rand, number int) *column {
	k := kinds[r.IntN(len(kinds))]
	for k.create != "" && t.has(k) || k == kindHstore && p.extensionGone { // a type of the table's own is used only once
		k = kinds[r.IntN(len(kinds))]
	}
	c := &column{number: number, name: p.oddName(r, fmt.Sprintf("c%d", number)), kind: k, kinds: 1, notNull: r.IntN(4) == 0}
	t.columns = append(t.columns, c)
	return c
}

func (t *table) has(k *kind) bool {
	for _, c := range t.columns {
		if c.kind == k {
			return true
		}
	}
	return false
}

// create returns the SQL that creates the table.
func (t *table) create() []string {
	var commands, columns []string
	for _, c := range t.columns {
		if c.kind.create != "" {
			commands = append(commands, strings.ReplaceAll(c.kind.create, "%s", fmt.Sprint(t.number)))
		}
		columns = append(columns, t.define(c))
	}
	switch {
	case t.style.generate:
		columns = append(columns, "PRIMARY KEY ("+t.sql(5)+")")
	case t.style.key != "":
		columns = append(columns, t.fill(t.style.key, ""))
	}
	create := "CREATE TABLE " + t.String() + " (" + strings.Join(columns, ", ") + ")"
	if t.split != nil {
		create += " PARTITION BY " + t.fill(t.split.by, "")
	}
	commands = append(commands, create)
	for _, c := range t.columns {
		if c.kind == kindToast && c.generated == "" {
			commands = append(commands, "ALTER TABLE "+t.String()+" ALTER "+quote(c.name)+" SET STORAGE EXTERNAL")
		}
	}
	if t.split != nil {
		commands = append(commands, t.partitions(t.split, t.String(), "")...)
	}
	if t.style.after != "" {
		commands = append(commands, strings.Split(t.fill(t.style.after, t.String()), "; ")...)
	}
	return commands
}

func (t *table) define(c *column) string {
	sql := quote(c.name) + " " + c.kind.sql(t.number)
	if c.notNull {
		sql += " NOT NULL"
	}
	if c.generated != "" {
		sql += " GENERATED ALWAYS AS (" + c.generated + ") " + map[bool]string{true: "VIRTUAL", false: "STORED"}[c.virtual]
	}
	return sql
}

func (t *table) partitions(s *split, parent, suffix string) (commands []string) {
	for i, bound := range s.bounds {
		name := fmt.Sprintf("%s.%s", quote(t.schema), quote(fmt.Sprintf("p%d_%d%s", t.number, i, suffix)))
		create := "CREATE TABLE " + name + " PARTITION OF " + parent
		if s.deeper != nil && i == 0 {
			commands = append(commands, create+" "+bound+" PARTITION BY "+t.fill(s.deeper.by, ""))
			commands = append(commands, t.partitions(s.deeper, name, suffix+"_")...)
			continue
		}
		if t.style.leafKey != "" {
			create += " (" + t.fill(t.style.leafKey, "") + ")"
		}
		commands = append(commands, create+" "+bound)
		if t.style.leafs != "" {
			commands = append(commands, t.fill(t.style.leafs, name))
		}
		if suffix == "" {
			t.leaves = append(t.leaves, &leaf{name: name, bound: bound})
		}
	}
	return commands
}
