package main

import (
	"fmt"
	"slices"
	"strings"
)

// operation is an operation on a table; it leaves the model in the same state as the statements leave the table.
type operation struct {
	weight int
	run    func(*generator, *table)
	pure   bool // the topic still folds to the table afterwards
	alone  bool // cannot run in a transaction
	fits   func(*generator, *table) bool
}

var operations []operation

func init() { // set in init because operations call functions that read them
	inTables := func(_ *generator, t *table) bool { return t.shape == whole }
	hasRows := func(_ *generator, t *table) bool { return t.pure || t.shape != byRange || len(t.parts) > 0 }
	keyed := func(_ *generator, t *table) bool { return t.key != nil }
	cut := func(_ *generator, t *table) bool { return t.shape == byRange }
	operations = []operation{
		{weight: 14, run: (*generator).insert, pure: true, fits: hasRows},
		{weight: 18, run: (*generator).update, pure: true, fits: func(_ *generator, t *table) bool { return !t.pure || len(t.ids) > 0 && t.published() }},
		{weight: 5, run: (*generator).remove, pure: true, fits: func(_ *generator, t *table) bool { return !t.pure || len(t.ids) > 0 && t.published() }},
		{weight: 3, run: (*generator).move, pure: true, fits: func(_ *generator, t *table) bool {
			return t.pure && t.shape == whole && len(t.ids) > 0 && t.key != nil && t.identity == "DEFAULT"
		}},
		{weight: 2, run: (*generator).truncate, pure: true},

		{weight: 5, run: (*generator).addColumn, pure: true},
		{weight: 2, run: (*generator).addGenerated, pure: true},
		{weight: 1, run: (*generator).addSerial, fits: inTables},
		{weight: 4, run: (*generator).dropColumn, pure: true, fits: func(_ *generator, t *table) bool { return len(t.columns) > 0 }},
		{weight: 3, run: (*generator).renameColumn, pure: true, fits: func(_ *generator, t *table) bool { return len(t.columns) > 0 }},
		{weight: 6, run: (*generator).alterType, pure: true, fits: func(_ *generator, t *table) bool { return t.changeable() >= 0 }},
		{weight: 2, run: (*generator).alterColumn, pure: true},

		{weight: 6, run: (*generator).dropKey, pure: true, fits: func(_ *generator, t *table) bool { return t.key != nil && (!t.pure || t.published()) }},
		{weight: 12, run: (*generator).addKey, pure: true, fits: func(_ *generator, t *table) bool { return t.key == nil && (!t.pure || t.usual != nil) }},
		{weight: 3, run: (*generator).changeKey, pure: true, fits: keyed},
		{weight: 2, run: (*generator).block, pure: true, fits: func(_ *generator, t *table) bool { return t.key != nil && (!t.pure || len(t.ids) > 0 && t.published()) }},
		{weight: 4, run: (*generator).identifyByIndex, pure: true, fits: inTables},
		{weight: 2, run: (*generator).identifyByAll, pure: true},
		{weight: 2, run: (*generator).identifyByNothing, pure: true, fits: func(_ *generator, t *table) bool { return !t.pure || t.key != nil && t.reach != open }},
		{weight: 3, run: (*generator).identifyByDefault, pure: true, fits: func(_ *generator, t *table) bool { return t.identity != "DEFAULT" && (!t.pure || t.key != nil) }},
		{weight: 3, run: (*generator).createIndex, pure: true},
		{weight: 4, run: (*generator).dropIndex, pure: true, fits: func(_ *generator, t *table) bool { return len(t.indexes) > 0 }},
		{weight: 10, run: (*generator).dropIndexConcurrently, pure: true, alone: true, fits: func(_ *generator, t *table) bool { return t.spareIndex() != "" && t.shape == whole }},

		{weight: 7, run: (*generator).vacuum, pure: true, alone: true},
		{weight: 2, run: (*generator).analyze, pure: true},
		{weight: 2, run: (*generator).cluster, pure: true, fits: func(_ *generator, t *table) bool { return t.key != nil && t.shape == whole }},
		{weight: 2, run: (*generator).reindex, pure: true, fits: inTables},
		{weight: 2, run: (*generator).reindexConcurrently, pure: true, alone: true},

		{weight: 4, run: (*generator).addPart, pure: true, fits: cut},
		{weight: 4, run: (*generator).attach, pure: true, fits: cut},
		{weight: 12, run: (*generator).detach, pure: true, fits: func(_ *generator, t *table) bool { return t.spareParts() }},
		{weight: 2, run: (*generator).dropPart, pure: true, fits: func(_ *generator, t *table) bool { return t.spareParts() }},

		{weight: 12, run: (*generator).create, fits: func(g *generator, _ *table) bool { return len(g.tables) < 4 }},
		{weight: 3, run: (*generator).dropTable, fits: func(g *generator, _ *table) bool { return len(g.tables) > 1 }},
		{weight: 4, run: (*generator).renameTable},
		{weight: 2, run: (*generator).changeSchema},
		{weight: 3, run: (*generator).inherit, fits: func(_ *generator, t *table) bool { return t.shape == whole && !t.serialColumn() }},
		{weight: 2, run: (*generator).unlog, fits: inTables},
		{weight: 2, run: (*generator).temporary, alone: true},
		{weight: 2, run: (*generator).script, pure: true, fits: func(g *generator, t *table) bool { return !g.extended && (!t.pure || len(t.ids) > 0 && t.published()) }},
	}
}

// rows

func (g *generator) insert(t *table) {
	g.do("INSERT", "INSERT INTO %s (id, v, n) VALUES (%d, %s, %d)", t, g.nextID(t), g.text(), g.random.Intn(4))
}

func (g *generator) nextID(t *table) int {
	if t.pure {
		id := g.base + g.fresh()
		t.ids = append(t.ids, id)
		return id
	}
	t.serial++
	if t.shape == byRange {
		return pick(g, t.parts...).low + t.serial
	}
	return t.serial
}

// someID returns the id of a row that may exist.
func (g *generator) someID(t *table) int {
	if t.pure {
		return pick(g, t.ids...)
	}
	id := 1 + g.random.Intn(t.serial+1)
	if t.shape == byRange && len(t.parts) > 0 {
		id += pick(g, t.parts...).low
	}
	return id
}

func (g *generator) update(t *table) {
	set := []string{"v = " + g.text()}
	if t.shape != byList {
		set = append(set, "n = n + 1", "n = n + 1, v = "+g.text())
	}
	if !t.pure && g.chance(30) {
		g.do("UPDATE", "UPDATE %s SET %s", t, pick(g, set...))
		return
	}
	g.do("UPDATE", "UPDATE %s SET %s WHERE id = %d", t, pick(g, set...), g.someID(t))
}

func (g *generator) remove(t *table) {
	id := g.someID(t)
	t.ids = slices.DeleteFunc(t.ids, func(other int) bool { return other == id })
	g.do("DELETE", "DELETE FROM %s WHERE id = %d", t, id)
}

// move gives a row another key.
func (g *generator) move(t *table) {
	id := g.someID(t)
	t.ids = slices.DeleteFunc(t.ids, func(other int) bool { return other == id })
	g.do("UPDATE", "UPDATE %s SET id = %d WHERE id = %d", t, g.nextID(t), id)
}

func (g *generator) truncate(t *table) {
	t.ids = nil
	g.do("TRUNCATE", "TRUNCATE %s", t)
}

// columns

func (g *generator) keepColumn(t *table, c column) {
	t.columns = append(t.columns, c)
	g.mendColumn(t, c.name)
}

func (g *generator) mendColumn(t *table, name string) {
	if t.pure {
		g.mend("ALTER TABLE IF EXISTS %s DROP COLUMN IF EXISTS %s", t, name)
	}
}

func (g *generator) addColumn(t *table) {
	c := column{name: fmt.Sprintf("c%d", g.fresh())}
	defaults := map[string]string{"int": "0", "text": "'x'", "numeric(12,2)": "1.5", "jsonb": "'{}'", "timestamptz": "now()", "timestamp": "clock_timestamp()"}
	c.typ = pick(g, "int", "text", "numeric(12,2)", "jsonb", "timestamptz", "timestamp")
	g.keepColumn(t, c)
	g.do("ALTER TABLE ADD COLUMN", "ALTER TABLE %s ADD COLUMN %s %s NOT NULL DEFAULT %s", t, c.name, c.typ, defaults[c.typ])
}

func (g *generator) addGenerated(t *table) {
	c := column{fmt.Sprintf("c%d", g.fresh()), "bigint", true}
	g.keepColumn(t, c)
	g.do("ALTER TABLE ADD GENERATED", "ALTER TABLE %s ADD COLUMN %s bigint GENERATED ALWAYS AS (id * 2) STORED", t, c.name)
}

const serialType = "serial"

func (g *generator) addSerial(t *table) {
	c := column{fmt.Sprintf("c%d", g.fresh()), serialType, true}
	g.keepColumn(t, c)
	g.do("ALTER TABLE ADD GENERATED", "ALTER TABLE %s ADD COLUMN %s bigint GENERATED BY DEFAULT AS IDENTITY", t, c.name)
}

func (t *table) serialColumn() bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.typ == serialType })
}

// dropColumn may drop the key, too.
func (g *generator) dropColumn(t *table) {
	i := g.random.Intn(len(t.columns))
	name := t.columns[i].name
	t.columns = slices.Delete(t.columns, i, i+1)
	if slices.Contains(t.key, name) {
		t.key = nil
	}
	g.do("ALTER TABLE DROP COLUMN", "ALTER TABLE %s DROP COLUMN %s", t, name)
}

func (g *generator) renameColumn(t *table) {
	c := &t.columns[g.random.Intn(len(t.columns))]
	old := c.name
	c.name = fmt.Sprintf("c%d", g.fresh())
	if i := slices.Index(t.key, old); i >= 0 {
		t.key[i] = c.name
	}
	g.mendColumn(t, c.name)
	g.do("ALTER TABLE RENAME COLUMN", "ALTER TABLE %s RENAME COLUMN %s TO %s", t, old, c.name)
}

// changeable returns the number of a column whose type can be changed; -1 if there is none.
func (t *table) changeable() int {
	return slices.IndexFunc(t.columns, func(c column) bool { return !c.generated && c.typ != "text" })
}

func (g *generator) alterType(t *table) {
	c := &t.columns[t.changeable()]
	wider := map[string]string{"int": "bigint", "bigint": "numeric", "numeric(12,2)": "numeric(14,2)"}
	if c.typ = wider[c.typ]; c.typ == "" || g.chance(30) {
		c.typ = "text"
	}
	g.do("ALTER TABLE ALTER TYPE", "ALTER TABLE %s ALTER COLUMN %s TYPE %s", t, c.name, c.typ)
}

func (g *generator) alterColumn(t *table) {
	what := pick(g, "v SET STORAGE EXTERNAL", "v SET STORAGE EXTENDED", "v SET STATISTICS 50", "n SET DEFAULT 7", "n DROP DEFAULT")
	g.do("ALTER TABLE ALTER COLUMN", "ALTER TABLE %s ALTER COLUMN %s", t, what)
}

// keys and identities

func (g *generator) dropKey(t *table) {
	t.key = nil
	g.do("ALTER TABLE DROP PRIMARY KEY", "ALTER TABLE %s DROP CONSTRAINT %s", t, t.keyName)
}

// chooseKey chooses the columns of a new key and the name of its constraint.
func (g *generator) chooseKey(t *table) {
	if t.pure {
		t.key = t.usual
		return
	}
	t.key, t.keyName = []string{"id"}, fmt.Sprintf("k%d", g.fresh())
	if t.shape == byList || g.chance(25) {
		t.key = append(t.key, "n")
	}
	for _, c := range t.columns {
		if c.typ != "jsonb" && g.chance(25) {
			t.key = append(t.key, c.name)
		}
	}
	g.random.Shuffle(len(t.key), func(i, j int) { t.key[i], t.key[j] = t.key[j], t.key[i] })
}

func (t *table) keyText() string {
	return fmt.Sprintf("CONSTRAINT %s PRIMARY KEY (%s)", t.keyName, strings.Join(t.key, ", "))
}

func (g *generator) addKey(t *table) {
	g.chooseKey(t)
	if t.shape == whole && g.chance(25) {
		index := g.uniqueIndex(t, t.key)
		g.do("ALTER TABLE ADD PRIMARY KEY", "ALTER TABLE %s ADD CONSTRAINT %s PRIMARY KEY USING INDEX %s", t, t.keyName, index)
		return
	}
	g.do("ALTER TABLE ADD PRIMARY KEY", "ALTER TABLE %s ADD %s", t, t.keyText())
}

func (g *generator) changeKey(t *table) {
	old := t.keyName
	g.chooseKey(t)
	g.do("ALTER TABLE CHANGE PRIMARY KEY", "ALTER TABLE %s DROP CONSTRAINT %s, ADD %s", t, old, t.keyText())
}

// block drops the key, writes, and adds a key again, all in one DO block.
func (g *generator) block(t *table) {
	old, id := t.keyName, g.someID(t)
	g.chooseKey(t)
	g.do("DO", "DO $$ BEGIN ALTER TABLE %[1]s DROP CONSTRAINT %[2]s; UPDATE %[1]s SET v = 'block' WHERE id = %[3]d; ALTER TABLE %[1]s ADD %[4]s; END $$", t, old, id, t.keyText())
}

// concurrently returns " CONCURRENTLY" or "" at random; in a transaction, where that is not allowed, always "".
func (g *generator) concurrently() string {
	if g.inside || g.chance(50) {
		return ""
	}
	return " CONCURRENTLY"
}

func (g *generator) uniqueIndex(t *table, columns []string) string {
	name := fmt.Sprintf("%s_u%d", t.name, g.fresh())
	how := g.concurrently()
	g.do("CREATE INDEX"+how, "CREATE UNIQUE INDEX%s %s ON %s (%s)", how, name, t, strings.Join(columns, ", "))
	if t.pure {
		g.mend("DROP INDEX IF EXISTS %s.%s", t.schema, name)
	}
	return name
}

func (g *generator) identifyByIndex(t *table) {
	t.identity = g.uniqueIndex(t, []string{"id"})
	t.indexes = append(t.indexes, t.identity)
	g.do("ALTER TABLE REPLICA IDENTITY", "ALTER TABLE %s ALTER COLUMN id SET NOT NULL, REPLICA IDENTITY USING INDEX %s", t, t.identity)
}

func (g *generator) identifyByAll(t *table)     { g.identify(t, "FULL") }
func (g *generator) identifyByNothing(t *table) { g.identify(t, "NOTHING") }
func (g *generator) identifyByDefault(t *table) { g.identify(t, "DEFAULT") }

func (g *generator) identify(t *table, how string) {
	t.identity = how
	g.do("ALTER TABLE REPLICA IDENTITY", "ALTER TABLE %s REPLICA IDENTITY %s", t, how)
}

func (g *generator) createIndex(t *table) {
	how := ""
	if t.shape == whole {
		how = g.concurrently()
	}
	name := fmt.Sprintf("%s_i%d", t.name, g.fresh())
	t.indexes = append(t.indexes, name)
	if t.pure {
		g.mend("DROP INDEX IF EXISTS %s.%s", t.schema, name)
	}
	g.do("CREATE INDEX"+how, "CREATE INDEX%s %s ON %s (n)", how, name, t)
}

// dropIndex may drop the identity, too.
func (g *generator) dropIndex(t *table) {
	name := pick(g, t.indexes...)
	t.forgetIndex(name)
	g.do("DROP INDEX", "DROP INDEX %s.%s", t.schema, name)
}

func (t *table) forgetIndex(name string) {
	t.indexes = slices.DeleteFunc(t.indexes, func(other string) bool { return other == name })
	if t.identity == name {
		t.identity = lost
	}
}

// spareIndex returns an index that is not the identity.
func (t *table) spareIndex() string {
	for _, name := range t.indexes {
		if name != t.identity {
			return name
		}
	}
	return ""
}

func (g *generator) dropIndexConcurrently(t *table) {
	name := t.spareIndex()
	t.forgetIndex(name)
	g.do("DROP INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY %s.%s", t.schema, name)
}

// housekeeping

func (g *generator) vacuum(t *table) {
	kind := pick(g, "VACUUM", "VACUUM (ANALYZE)", "VACUUM (FREEZE)", "VACUUM FULL")
	g.do(kind, "%s %s", kind, t)
}

func (g *generator) analyze(t *table) { g.do("ANALYZE", "ANALYZE %s", t) }

func (g *generator) cluster(t *table) { g.do("CLUSTER", "CLUSTER %s USING %s", t, t.keyName) }

func (g *generator) reindex(t *table) {
	if t.key != nil && g.chance(50) {
		g.do("REINDEX", "REINDEX INDEX %s.%s", t.schema, t.keyName)
		return
	}
	g.do("REINDEX", "REINDEX TABLE %s", t)
}

func (g *generator) reindexConcurrently(t *table) {
	g.do("REINDEX CONCURRENTLY", "REINDEX TABLE CONCURRENTLY %s", t)
}

// partitions

// spareParts reports whether a partition can be removed.
func (t *table) spareParts() bool {
	return t.shape == byRange && (len(t.parts) > 1 || t.pure && len(t.parts) > 0)
}

// newPart chooses bounds: those of a pure table are out of reach of its rows, so its partitions are added and removed without rows.
func (g *generator) newPart(t *table) part {
	n := g.fresh()
	p := part{t.named(fmt.Sprintf("p%d", n)), n * partRows}
	if t.pure {
		p.low += farRows
		g.mend("DROP TABLE IF EXISTS %s", p.name)
	}
	t.parts = append(t.parts, p)
	return p
}

func (p part) bounds() string {
	return fmt.Sprintf("FOR VALUES FROM (%d) TO (%d)", p.low, p.low+partRows)
}

func (g *generator) addPart(t *table) {
	p := g.newPart(t)
	if g.chance(70) {
		g.do("CREATE TABLE PARTITION OF", "CREATE TABLE %s PARTITION OF %s %s", p.name, t, p.bounds())
		return
	}
	g.do("CREATE TABLE PARTITION OF", "CREATE TABLE %s PARTITION OF %s %s PARTITION BY HASH (id)", p.name, t, p.bounds())
	for i := range 2 {
		g.do("CREATE TABLE PARTITION OF", "CREATE TABLE %s_%d PARTITION OF %s FOR VALUES WITH (MODULUS 2, REMAINDER %d)", p.name, i, p.name, i)
	}
}

func (g *generator) attach(t *table) {
	p := g.newPart(t)
	g.do("CREATE TABLE LIKE", "CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED)", p.name, t)
	if !t.pure {
		g.do("INSERT", "INSERT INTO %s (id, v, n) VALUES (%d, 'a', 1)", p.name, p.low)
	}
	g.do("ATTACH PARTITION", "ALTER TABLE %s ATTACH PARTITION %s %s", t, p.name, p.bounds())
}

func (g *generator) takePart(t *table) part {
	i := g.random.Intn(len(t.parts))
	p := t.parts[i]
	t.parts = slices.Delete(t.parts, i, i+1)
	return p
}

// detach detaches a partition; it is attached again, dropped, or remains as an unused table.
func (g *generator) detach(t *table) {
	p, how := g.takePart(t), g.concurrently()
	g.do("DETACH PARTITION"+how, "ALTER TABLE %s DETACH PARTITION %s%s", t, p.name, how)
	if !t.pure {
		g.do("UPDATE", "UPDATE %s SET v = 'd' WHERE id = %d", p.name, p.low)
	}
	switch g.random.Intn(3) {
	case 0:
		g.do("ATTACH PARTITION", "ALTER TABLE %s ATTACH PARTITION %s %s", t, p.name, p.bounds())
		t.parts = append(t.parts, p)
	case 1:
		g.do("DROP TABLE", "DROP TABLE %s", p.name)
	}
}

func (g *generator) dropPart(t *table) { g.do("DROP TABLE", "DROP TABLE %s", g.takePart(t).name) }

// whole tables

// newName returns a name that the episode has not used; different episodes use the same names.
func (g *generator) newName(letter string) string {
	g.names++
	return fmt.Sprintf("%s%d", letter, g.names-1)
}

// create creates a table, possibly from another one.
func (g *generator) create(from *table) {
	t := &table{schema: g.name + "_x", name: g.newName("t"), identity: "DEFAULT", serial: 20}
	switch kind := g.random.Intn(7); {
	case kind < 2:
		t.shape = byRange
	case kind == 6:
		t.shape = byList
	case kind == 2 && from != nil:
		g.do("CREATE TABLE AS", "CREATE TABLE %s AS SELECT id, v, n FROM %s", t, from)
		t.serial = from.serial
		g.tables = append(g.tables, t)
		return
	case kind == 3 && from != nil:
		g.do("SELECT INTO", "SELECT id, v, n INTO %s FROM %s", t, from)
		t.serial = from.serial
		g.tables = append(g.tables, t)
		return
	case kind == 4 && from != nil:
		g.do("CREATE TABLE LIKE", "CREATE TABLE %s (LIKE %s INCLUDING ALL)", t, from)
		t.columns, t.key, t.keyName = slices.Clone(from.columns), slices.Clone(from.key), t.name+"_pkey"
		g.tables = append(g.tables, t)
		return
	}
	g.createNew(t)
	g.tables = append(g.tables, t)
}

func (g *generator) createNew(t *table) {
	key := ""
	if g.chance(70) {
		g.chooseKey(t)
		key = ", " + t.keyText()
	}
	g.do("CREATE TABLE", "CREATE TABLE %s (id bigint NOT NULL, v text, n int%s)%s", t, key, []string{"", " PARTITION BY RANGE (id)", " PARTITION BY LIST (n)"}[t.shape])
	rows := 0
	switch t.shape {
	case byRange:
		for range 2 {
			g.addPart(t)
		}
		rows = t.parts[0].low
	case byList:
		g.do("CREATE TABLE PARTITION OF", "CREATE TABLE %s PARTITION OF %s FOR VALUES IN (0, 1) PARTITION BY HASH (id)", t.named("a"), t)
		g.do("CREATE TABLE PARTITION OF", "CREATE TABLE %s PARTITION OF %s FOR VALUES WITH (MODULUS 1, REMAINDER 0)", t.named("a_0"), t.named("a"))
		g.do("CREATE TABLE PARTITION OF", "CREATE TABLE %s PARTITION OF %s DEFAULT", t.named("b"), t)
	}
	g.do("INSERT", "INSERT INTO %s (id, v, n) SELECT %d + i, 'v', i %% 4 FROM generate_series(1, 20) AS i", t, rows)
}

func (g *generator) dropTable(t *table) {
	g.tables = slices.DeleteFunc(slices.Clone(g.tables), func(other *table) bool { return other == t })
	g.do("DROP TABLE", "DROP TABLE %s", t)
}

func (g *generator) renameTable(t *table) {
	old := t.String()
	t.name = g.newName("r")
	g.do("ALTER TABLE RENAME", "ALTER TABLE %s RENAME TO %s", old, t.name)
}

// changeSchema moves a table through a schema that is renamed, and back.
func (g *generator) changeSchema(t *table) {
	g.do("CREATE SCHEMA", "CREATE SCHEMA %s_y", g.name)
	g.do("ALTER TABLE SET SCHEMA", "ALTER TABLE %s SET SCHEMA %s_y", t, g.name)
	g.do("ALTER SCHEMA RENAME", "ALTER SCHEMA %[1]s_y RENAME TO %[1]s_z", g.name)
	g.do("UPDATE", "UPDATE %s_z.%s SET v = 'moved'", g.name, t.name)
	g.do("ALTER TABLE SET SCHEMA", "ALTER TABLE %s_z.%s SET SCHEMA %s", g.name, t.name, t.schema)
	g.do("DROP SCHEMA", "DROP SCHEMA %s_z", g.name)
}

func (g *generator) inherit(t *table) {
	child := t.named(fmt.Sprintf("c%d", g.fresh()))
	g.do("CREATE TABLE INHERITS", "CREATE TABLE %s () INHERITS (%s)", child, t)
	g.do("INSERT", "INSERT INTO %s (id, v, n) VALUES (-1, 'child', 0), (-2, 'child', 0)", child)
	g.do("UPDATE", "UPDATE %s SET v = 'both'", t)
	if g.chance(50) {
		g.do("ALTER TABLE ADD PRIMARY KEY", "ALTER TABLE %s ADD PRIMARY KEY (id)", child)
	}
	g.do("DELETE", "DELETE FROM %s WHERE id = -1", t)
	if g.chance(50) {
		g.do("ALTER TABLE NO INHERIT", "ALTER TABLE %s NO INHERIT %s", child, t)
	}
	g.do("DROP TABLE", "DROP TABLE %s", child)
}

func (g *generator) unlog(t *table) {
	g.do("ALTER TABLE SET UNLOGGED", "ALTER TABLE %s SET UNLOGGED", t)
	g.do("UPDATE", "UPDATE %s SET v = 'unlogged'", t)
	g.do("ALTER TABLE SET LOGGED", "ALTER TABLE %s SET LOGGED", t)
}

func (g *generator) temporary(*table) {
	name := fmt.Sprintf("temp%d", g.fresh())
	g.do("CREATE TEMP TABLE", "CREATE TEMP TABLE %s (id int PRIMARY KEY, v text)", name)
	g.do("INSERT TEMP", "INSERT INTO %s VALUES (1, 'a')", name)
	g.do("ALTER TEMP TABLE", "ALTER TABLE %s DROP COLUMN id", name)
	g.do("UPDATE TEMP", "UPDATE %s SET v = 'b'", name)
	g.do("DROP TEMP TABLE", "DROP TABLE %s", name)
}

// script sends several statements in one message: one transaction, unless there is one already.
func (g *generator) script(t *table) {
	name := fmt.Sprintf("c%d", g.fresh())
	g.do("SCRIPT", "ALTER TABLE %[1]s ADD COLUMN %[2]s int DEFAULT 5; UPDATE %[1]s SET v = 'script' WHERE id = %[3]d; ALTER TABLE %[1]s DROP COLUMN %[2]s", t, name, g.someID(t))
}
