package main

import (
	"bufio"
	"strings"
	"testing"
	"time"
)

// judged has a judge look at n statements of a kind and what became of each.
func judged(kind string, r reach, n int, virgin, captured func(i int) outcome) *judge {
	j := newJudge()
	for i := range n {
		j.add(0, []step{{sql: "the statement", kind: kind, reach: r}}, []outcome{virgin(i)}, []outcome{captured(i)})
	}
	return j
}

func after(milliseconds int) outcome {
	return outcome{ran: true, took: time.Duration(milliseconds) * time.Millisecond}
}

func failed(code string) outcome { return outcome{ran: true, code: code, text: "why"} }

func TestJudgeSeesASlowKind(t *testing.T) {
	usual := func(i int) outcome { return after(1 + i%10) }
	oneInTen := func(i int) outcome { return after(1 + 100*(i%10/9)) }
	for _, tt := range []struct {
		name             string
		virgin, captured func(int) outcome
		slow             int
	}{
		{"as fast", usual, usual, 0},
		{"a bit slower", usual, func(i int) outcome { return after(30 + i%10) }, 0},
		{"all slower", usual, func(i int) outcome { return after(60 + i%10) }, 1},
		{"one in ten slower", usual, oneInTen, 1},
		{"one in a hundred slower", usual, func(i int) outcome { return after(1 + 100*(i%100/99)) }, 0},
		{"virgin is no steadier", func(i int) outcome { return after(1 + 100*(i/100)) }, func(i int) outcome { return after(120) }, 1},
		{"as unsteady as virgin", func(i int) outcome { return after(1 + 100*(i/190)) }, oneInTen, 0},
	} {
		if n, table := judged("VACUUM", quiet, 200, tt.virgin, tt.captured).slower(); n != tt.slow {
			t.Errorf("%s: %d slow kinds, want %d:\n%s", tt.name, n, tt.slow, strings.Join(table, "\n"))
		}
	}
	if n, _ := judged("VACUUM", open, 200, usual, func(int) outcome { return after(500) }).slower(); n != 0 {
		t.Error("a wait for other sessions counts as slow")
	}
}

func TestJudgeSeesAnErrorBeyondVirgin(t *testing.T) {
	fine := func(int) outcome { return after(1) }
	always := func(code string) func(int) outcome { return func(int) outcome { return failed(code) } }
	never := func(int) outcome { return outcome{} } // the session had given up
	for _, tt := range []struct {
		name             string
		reach            reach
		virgin, captured func(int) outcome
		beyond           int
	}{
		{"none", quiet, fine, fine, 0},
		{"in captured alone", quiet, fine, always("55000"), 10},
		{"in tables of others", foreign, fine, always("55000"), 10},
		{"where virgin gave up", quiet, never, always("55000"), 10},
		{"in both", quiet, always("55000"), always("55000"), 0},
		{"another one", quiet, always("55000"), always("42P01"), 10},
		{"that follows another", quiet, fine, always(aborted), 0},
		{"few lock timeouts", open, fine, func(i int) outcome { return []outcome{failed("55P03"), after(1)}[i%2] }, 0},
		{"many lock timeouts", open, fine, always("55P03"), 5},
		{"lock timeouts in quiet tables", quiet, fine, always("55P03"), 5},
		{"as many lock timeouts", open, always("55P03"), always("55P03"), 0},
		{"no table of others", foreign, always("42P01"), always("42P01"), 0},
		{"no answer", quiet, fine, always(broken), 10},
	} {
		if n, lines := judged("UPDATE", tt.reach, 10, tt.virgin, tt.captured).beyond(); n != tt.beyond {
			t.Errorf("%s: %d errors beyond virgin, want %d: %q", tt.name, n, tt.beyond, lines)
		}
	}
}

func TestJudgeKnowsWhatAScriptForesees(t *testing.T) {
	j := newJudge()
	steps := []step{{kind: "CREATE TABLE", want: "42P07"}, {kind: "COMMIT PREPARED", late: "42704"}, {kind: "CREATE TABLE", want: "42P07"}}
	j.add(0, steps, []outcome{failed("42P07"), after(1), failed("42P07")}, []outcome{failed("42P07"), failed("42704"), after(1)})
	if n, lines := j.beyond(); n != 1 {
		t.Errorf("%d errors beyond virgin, want the table that could be made twice: %q", n, lines)
	}
}

// A client that waits for a process of pgtee is seen, one that waits for another client is not.
func TestWaitsForUs(t *testing.T) {
	const log = `2026-11-29 10:00:00 UTC [7] captured [unknown] LOG:  connection authorized: user=postgres database=captured application_name=pgtee snapshot
2026-11-29 10:00:00 UTC [8] captured [unknown] LOG:  connection authorized: user=postgres database=captured application_name=s1
2026-11-29 10:00:01 UTC [9] captured s2 LOG:  process 9 still waiting for ShareLock on virtual transaction 5/226 after 100.075 ms
2026-11-29 10:00:01 UTC [9] captured s2 DETAIL:  Process holding the lock: 8. Wait queue: 9.
2026-11-29 10:00:01 UTC [9] captured s2 STATEMENT:  CREATE INDEX CONCURRENTLY a
2026-11-29 10:00:02 UTC [9] captured s2 DETAIL:  Processes holding the lock: 8, 7. Wait queue: 9.
2026-11-29 10:00:02 UTC [9] captured s2 STATEMENT:  CREATE INDEX CONCURRENTLY b
2026-11-29 10:00:03 UTC [6] captured pgtee catalog DETAIL:  Process holding the lock: 7. Wait queue: 6.
2026-11-29 10:00:03 UTC [6] captured pgtee catalog STATEMENT:  SELECT 1
`
	waits, err := readWaits(bufio.NewScanner(strings.NewReader(log)))
	if err != nil || len(waits) != 1 || !strings.Contains(waits[0], "CONCURRENTLY b") || !strings.Contains(waits[0], "pgtee snapshot") {
		t.Errorf("waits %q, %v, want that of b", waits, err)
	}
}
