package main

import (
	"fmt"
	"math/rand"
	"slices"
	"time"
)

// generator produces the script of one session, as a pure function of the seed and the session's number. It keeps a model of the session's tables, so
// that each statement is valid whatever other sessions do.
type generator struct {
	random   *rand.Rand
	name     string // prefix of the names of the session's schemas
	base     int    // ids of its rows start here
	writer   bool   // it writes rows more often than it migrates, also into the tables of others
	extended bool   // it uses the extended protocol: one statement at a time

	clock   time.Duration
	hold    time.Duration // think time before the next statement, in addition to the usual one
	made    episode
	reach   reach // of the following statements
	tables  []*table
	inside  bool // in a transaction
	count   int  // used for names and ids
	pures   []*table
	pending *forgotten
	strange map[string][]int // ids of its rows in the tables of others
	names   int              // number of tables named in this episode
}

// forgotten is a prepared transaction that is not ended for a while.
type forgotten struct {
	gid string
	end string
	due time.Duration
	of  *table
}

const (
	migrators = 8
	writers   = 4

	statementCost = 15 * time.Millisecond // approximate
	forgottenFor  = time.Minute
)

// newGenerator returns the generator of a session: sessions that migrate come first, then those that write.
func newGenerator(seed int64, session int) *generator {
	g := &generator{
		random: rand.New(rand.NewSource(seed*1000 + int64(session))), name: sessionName(session), base: (session + 1) * 1_000_000,
		writer: session >= migrators, extended: session%2 == 1, strange: map[string][]int{},
	}
	if g.writer {
		g.pures = []*table{g.newPure("item0", keyed, quiet), g.newPure("item1", keyed, quiet), g.newPure("parted", parted, quiet)}
	} else {
		g.pures = []*table{g.newPure("open0", keyed, open), g.newPure("open1", parted, open)}
	}
	return g
}

func sessionName(session int) string {
	if session < migrators {
		return fmt.Sprintf("s%d", session)
	}
	return fmt.Sprintf("w%d", session-migrators)
}

func (g *generator) elapsed() time.Duration { return g.clock }

func (g *generator) next() episode {
	g.made, g.reach = episode{}, quiet
	switch {
	case g.pending != nil && g.pending.due < g.clock:
		g.settle()
	case g.writer && g.chance(60):
		g.elsewhere()
	case !g.writer && g.pending == nil && g.chance(6):
		g.forget()
	case g.writer || g.chance(45):
		g.limited(g.purely)
	default:
		g.limited(g.scratch)
	}
	return g.made
}

func (g *generator) last() episode {
	g.made, g.reach = episode{}, quiet
	if g.pending != nil {
		g.settle()
	}
	return g.made
}

// do adds a statement.
func (g *generator) do(kind, format string, args ...any) *step {
	think := g.hold + g.upTo(150*time.Millisecond)
	g.hold = 0
	g.clock += think + statementCost
	g.made.steps = append(g.made.steps, step{sql: fmt.Sprintf(format, args...), kind: kind, think: think, reach: g.reach})
	return &g.made.steps[len(g.made.steps)-1]
}

func (g *generator) mend(format string, args ...any) {
	g.made.repair = append(g.made.repair, fmt.Sprintf(format, args...))
}

func (g *generator) chance(percent int) bool { return g.random.Intn(100) < percent }

func (g *generator) upTo(d time.Duration) time.Duration {
	return time.Duration(g.random.Int63n(int64(d)))
}

func (g *generator) fresh() int { g.count++; return g.count }

func (g *generator) text() string {
	if g.chance(15) { // too long for a row: an update that does not touch it does not write it to the WAL
		return fmt.Sprintf("repeat(md5('%d'), 120)", g.fresh())
	}
	return fmt.Sprintf("'v%d'", g.fresh())
}

func pick[T any](g *generator, from ...T) T { return from[g.random.Intn(len(from))] }

// limited runs an episode with the timeouts that migrations typically set.
func (g *generator) limited(work func()) {
	limits := map[string][]string{"lock_timeout": {"200ms", "1s"}, "statement_timeout": {"1s", "5s"}}
	var set []string
	for _, name := range []string{"lock_timeout", "statement_timeout"} {
		if g.chance(40) {
			g.do("SET", "SET %s = '%s'", name, pick(g, limits[name]...))
			set = append(set, name)
		}
	}
	work()
	g.reach = quiet
	for _, name := range set {
		g.do("RESET", "RESET %s", name)
	}
}

// scratch works on tables that exist only during the episode, and may do anything to them.
func (g *generator) scratch() {
	g.tables, g.names = nil, 0
	g.do("DROP SCHEMA", "DROP SCHEMA IF EXISTS %[1]s_x, %[1]s_y, %[1]s_z CASCADE", g.name)
	g.do("CREATE SCHEMA", "CREATE SCHEMA %s_x", g.name)
	g.create(nil)
	for range 5 + g.random.Intn(8) {
		g.unit()
	}
	if g.chance(30) {
		name := fmt.Sprintf("shared.%s_%d", g.name, g.random.Intn(3))
		g.do("DROP TABLE", "DROP TABLE IF EXISTS %s", name)
		g.do("CREATE TABLE", "CREATE TABLE %s (id bigint PRIMARY KEY, v text)", name)
		g.do("INSERT", "INSERT INTO %s VALUES (1, 'a'), (2, 'b')", name)
		g.do("UPDATE", "UPDATE %s SET v = 'c'", name)
	}
}

// unit adds approximately one statement or one transaction.
func (g *generator) unit() {
	if g.chance(35) {
		g.transaction()
		return
	}
	g.operate()
}

// operate applies one operation to one of the tables.
func (g *generator) operate() {
	t := g.tables[g.random.Intn(len(g.tables))]
	total := 0
	fits := func(o operation) bool {
		return !(t.pure && !o.pure) && !(g.inside && o.alone) && (o.fits == nil || o.fits(g, t))
	}
	for _, o := range operations {
		if fits(o) {
			total += o.weight
		}
	}
	at := g.random.Intn(total)
	for _, o := range operations {
		if !fits(o) {
			continue
		}
		if at -= o.weight; at < 0 {
			g.reach = t.reach
			o.run(g, t)
			return
		}
	}
}

// transaction applies several operations; one in three is rolled back or ends in two phases, and some are kept open.
func (g *generator) transaction() {
	before := g.remember()
	g.reach = g.tables[0].reach
	g.do("BEGIN", "BEGIN")
	g.inside = true
	for range 1 + g.random.Intn(4) {
		switch {
		case g.chance(20):
			g.savepoint()
		case g.chance(10):
			g.refused()
		default:
			g.operate()
		}
		if g.chance(10) {
			g.hold = time.Second + g.upTo(3*time.Second)
		}
	}
	g.inside = false
	switch end := g.random.Intn(10); {
	case end < 6:
		g.do("COMMIT", "COMMIT")
	case end < 8:
		g.do("ROLLBACK", "ROLLBACK")
		g.restore(before)
	default:
		gid := fmt.Sprintf("%s_%s_%d", legName, g.name, g.fresh())
		g.do("PREPARE TRANSACTION", "PREPARE TRANSACTION '%s'", gid)
		g.mend("ROLLBACK PREPARED '%s'", gid)
		g.hold = g.upTo(4 * time.Second)
		if g.chance(70) {
			g.do("COMMIT PREPARED", "COMMIT PREPARED '%s'", gid)
			return
		}
		g.do("ROLLBACK PREPARED", "ROLLBACK PREPARED '%s'", gid)
		g.restore(before)
	}
}

func (g *generator) savepoint() {
	before, name := g.remember(), fmt.Sprintf("p%d", g.fresh())
	g.do("SAVEPOINT", "SAVEPOINT %s", name)
	for range 1 + g.random.Intn(2) {
		g.operate()
	}
	if g.chance(50) {
		g.do("RELEASE", "RELEASE %s", name)
		return
	}
	g.do("ROLLBACK TO", "ROLLBACK TO %s", name)
	g.restore(before)
}

// refused adds a statement that fails, and the recovery from it.
func (g *generator) refused() {
	t := g.tables[g.random.Intn(len(g.tables))]
	g.reach = t.reach
	g.do("SAVEPOINT", "SAVEPOINT wrong")
	if g.chance(50) {
		g.do("CREATE TABLE", "CREATE TABLE %s (id int)", t).want = "42P07"
	} else {
		g.do("ALTER TABLE DROP COLUMN", "ALTER TABLE %s DROP COLUMN nothing", t).want = "42703"
	}
	g.do("ROLLBACK TO", "ROLLBACK TO wrong")
}

// memory is a saved state of the model.
type memory struct {
	tables []*table
	as     []table
}

func (g *generator) remember() (m memory) {
	m.tables = slices.Clone(g.tables)
	for _, t := range g.tables {
		m.as = append(m.as, t.clone())
	}
	return m
}

func (g *generator) restore(m memory) {
	g.tables = slices.Clone(m.tables)
	for i, t := range g.tables {
		*t = m.as[i].clone()
	}
}
