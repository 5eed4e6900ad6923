package main

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"
)

// generator produces the script of one session, unit by unit, as a pure function of the seed and the session's number. It knows for each statement
// how many rows will be committed.
type generator struct {
	random *rand.Rand
	latest nonce
	made   unit
	at     place // place of the next statement in its transaction: alone, inBlock, or opening and following
	wrote  bool  // in this transaction

	statements int // number of statements with a nonce
}

func newGenerator(seed int64, session int) *generator {
	return &generator{random: rand.New(rand.NewSource(seed*1000 + int64(session))), latest: firstNonce + nonce(session)*perSession}
}

// next returns a unit.
func (g *generator) next() unit {
	g.made, g.wrote = unit{}, false
	switch part := g.random.Intn(100); {
	case part < 35:
		g.loose()
	case part < 80:
		g.block()
	default:
		g.together()
	}
	return g.made
}

// loose generates a statement in autocommit mode, or several that are sent in one write.
func (g *generator) loose() {
	g.at = alone
	g.made.way = pick(g, simple, unnamed, named, queries, bursts)
	count := 1
	if g.made.way == queries || g.made.way == bursts {
		count += 1 + g.random.Intn(4)
	}
	for range count {
		g.form(g.choose())
	}
	g.closeHeld()
}

// block generates a transaction with BEGIN, or several with AND CHAIN.
func (g *generator) block() {
	g.at = inBlock
	g.made.way = way(g.random.Intn(int(ways)))
	g.control("%s", pick(g, "BEGIN", "BEGIN", "START TRANSACTION", "BEGIN ISOLATION LEVEL REPEATABLE READ"))
	for {
		begin := len(g.made.expected)
		g.items()
		switch end := g.random.Intn(100); {
		case end < 12:
			g.control("ROLLBACK")
			g.undo(begin)
		case end < 25:
			g.control("COMMIT AND CHAIN")
			g.wrote = false
			continue
		case end < 40 && !g.made.way.joined() && !held(g.made.expected[begin:]):
			g.twoPhases(begin)
		default:
			g.control("%s", pick(g, "COMMIT", "COMMIT", "END"))
		}
		break
	}
	g.closeHeld()
}

// items generates the statements of a block.
func (g *generator) items() {
	for range 1 + g.random.Intn(5) {
		if g.chance(20) {
			g.savepoint()
		} else {
			g.form(g.choose())
		}
	}
}

// savepoint generates statements that may be rolled back, and may then be repeated word for word.
func (g *generator) savepoint() {
	begin, wrote := len(g.made.expected), g.wrote
	g.control("SAVEPOINT a")
	f := g.plain()
	g.form(f)
	repeated := g.made.statements[len(g.made.statements)-1]
	if g.chance(40) {
		g.form(g.choose())
	}
	failed := !g.made.way.joined() && g.chance(35)
	if failed {
		g.fail()
	}
	if !failed && g.chance(40) {
		g.control("RELEASE a")
		return
	}
	g.control("ROLLBACK TO a")
	g.undo(begin)
	g.wrote = wrote
	if g.chance(60) {
		g.add(f, repeated)
	}
}

// fail generates a statement that fails, and possibly one that the failed block refuses.
func (g *generator) fail() {
	f := pick(g, failing...)
	g.form(f)
	if g.chance(30) {
		g.add(f, statement{step: step{sql: "INSERT INTO work.entry VALUES ({n})", code: "25P02"}, n: g.nonce()})
	}
}

// twoPhases ends a block with PREPARE TRANSACTION, writes something else, and ends the prepared transaction.
func (g *generator) twoPhases(begin int) {
	gid := g.nonce().key()
	g.control("PREPARE TRANSACTION 'g%d'", gid)
	end := len(g.made.expected)
	g.at, g.wrote = alone, false
	if g.chance(60) {
		g.form(&forms[0])
	}
	if g.chance(75) {
		g.control("COMMIT PREPARED 'g%d'", gid)
		return
	}
	g.control("ROLLBACK PREPARED 'g%d'", gid)
	undo(g.made.expected[begin:end])
}

// together generates statements that form one transaction because they are sent together.
func (g *generator) together() {
	g.at = opening | following
	g.made.way = pick(g, script, group, flushed)
	for range 2 + g.random.Intn(3) {
		g.form(g.choose())
		if g.made.way == script && g.chance(20) {
			g.control("COMMIT")
			g.wrote = false
		}
	}
}

// closeHeld closes the cursors that have outlived their transactions.
func (g *generator) closeHeld() {
	if held(g.made.expected) {
		g.control("CLOSE ALL")
	}
}

// held reports whether one of the statements opens a cursor WITH HOLD.
func held(expected []expectation) bool {
	return slices.ContainsFunc(expected, func(e expectation) bool { return e.form.hold })
}

func (g *generator) control(format string, args ...any) {
	g.made.statements = append(g.made.statements, statement{step: step{sql: fmt.Sprintf(format, args...)}})
}

// undo sets the expected rows from this index on to zero, because the statements are rolled back.
func (g *generator) undo(from int) { undo(g.made.expected[from:]) }

func undo(expected []expectation) {
	for i := range expected {
		expected[i].rows, expected[i].late = 0, 0
	}
}

// form adds the statements of a form.
func (g *generator) form(f *form) {
	n := g.nonce()
	bound := g.made.way.extended() && g.chance(50) || f.special() && g.chance(50)
	for _, step := range f.steps {
		if step.kind == gap {
			if g.chance(60) {
				g.form(g.plain())
			}
			continue
		}
		s := statement{step: step, n: n, bound: bound && step.bound}
		if strings.Contains(step.sql, "{m}") {
			s.m = g.nonce()
		}
		g.add(f, s)
	}
}

// add adds a statement and its expected rows.
func (g *generator) add(f *form, s statement) {
	g.made.statements = append(g.made.statements, s)
	n := s.nonce()
	if n == 0 {
		return
	}
	g.statements++
	g.expect(f, n, s)
	if s.rowsNow()+s.late > 0 && s.code == "" {
		g.wrote = true
	}
}

func (g *generator) expect(f *form, n nonce, s statement) {
	for i := range g.made.expected {
		e := &g.made.expected[i]
		if e.nonce != n {
			continue
		}
		if e.rows+e.late == 0 {
			e.place, e.sql = g.place(), s.text()
		}
		e.rows, e.late = e.rows+s.rowsNow(), e.late+s.late
		return
	}
	g.made.expected = append(g.made.expected, expectation{
		nonce: n, form: f, place: g.place(), sql: s.text(), way: g.made.way, rows: s.rowsNow(), late: s.late,
	})
}

func (g *generator) nonce() nonce { g.latest++; return g.latest }
