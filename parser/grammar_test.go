package parser

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestAskRemembers(t *testing.T) {
	sql := func(n int) []byte {
		return fmt.Appendf(nil, "with remembered as (delete from t where a = %d returning *) select * from remembered", n)
	}
	if verb, need := classifyByGrammar(sql(1), standard); verb != "SELECT" || need != Always {
		t.Fatalf("got %q %v", verb, need)
	}
	if _, ok := answers.find(Normalize(nil, sql(2), standard)); !ok {
		t.Error("texts that differ in a literal must have one answer")
	}
	stmts, again := make([]Statement, 0, 1), sql(3)
	if n := testing.AllocsPerRun(100, func() { stmts, _ = Split(stmts[:0], again, standard) }); n != 0 {
		t.Errorf("a remembered answer allocates %v times", n)
	}
}

func TestAskGuesses(t *testing.T) {
	long := "with a as (select '" + strings.Repeat("x", maxAskedBytes) + "') "
	deepest := "with a as (select 1" + strings.Repeat("+1", maxAskedBytes/2-50) + ") " // that is asked about
	deep := "with a as (select 1" + strings.Repeat("+1", maxAskedBytes) + ") "
	for _, test := range []struct {
		sql, verb string
		lexis     Lexis
		need      Need
	}{
		{long + "insert into t select * from a", "INSERT", standard, Always},
		{long + ", b(x) as (update t set a = 1 returning *) select * from a, b", "SELECT", standard, Always},
		{long + "select 1 as update", "SELECT", standard, Never},
		{long + "select 1 merge", "SELECT", standard, IfNoted},
		{deepest + "delete from t", "DELETE", standard, Always},
		{deep + "delete from t", "DELETE", standard, Always},
		{`with a as (select '\'') delete from t`, "DELETE", Lexis{}, Always},
		{`with update as (select '\''), delete as (select 1) select 1 merge`, "SELECT", Lexis{}, IfNoted},
	} {
		stmts, ok := Split(nil, []byte(test.sql), test.lexis)
		if !ok || len(stmts) != 1 || stmts[0].Verb != test.verb || stmts[0].Note != test.need {
			t.Errorf("…%s: got %+v, %v", test.sql[max(0, len(test.sql)-60):], stmts, ok)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := cache{byText: map[string]answer{}}
	text := make([]byte, maxAnswerBytes/4)
	for i := range 20 {
		text[0] = byte(i)
		c.remember(text, answer{})
		if c.bytes > maxAnswerBytes || len(c.byText) > 4 {
			t.Fatalf("after %d texts: %d bytes of %d texts", i+1, c.bytes, len(c.byText))
		}
	}
	if _, ok := c.find(text); !ok {
		t.Error("the last text is forgotten")
	}
}

func TestCacheCountsATextOnce(t *testing.T) {
	c := cache{byText: map[string]answer{}}
	c.remember([]byte("a"), answer{})
	c.remember([]byte("a"), answer{})
	if c.bytes != 1 {
		t.Errorf("got %d bytes", c.bytes)
	}
}

func TestAskFromManySessions(t *testing.T) {
	var sessions sync.WaitGroup
	for i := range 8 {
		sessions.Go(func() {
			for n := range 50 {
				sql := fmt.Appendf(nil, "with s%d_%d as (select 1) insert into t select * from s%d_%d", i%4, n, i%4, n)
				if verb, need := classifyByGrammar(sql, standard); verb != "INSERT" || need != Always {
					t.Errorf("%s: got %q %v", sql, verb, need)
				}
			}
		})
	}
	sessions.Wait()
}
