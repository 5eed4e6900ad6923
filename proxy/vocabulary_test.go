package proxy

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgtee/pgtee/parser"
)

var plainLexis = parser.Lexis{StandardConformingStrings: true}

func (v *vocabulary) mentions(text string) bool {
	return v.mentionedIn([]byte(text), plainLexis, false)
}

func TestVocabulary(t *testing.T) {
	v := &vocabulary{}
	if !v.mentions("SELECT 1") {
		t.Error("before the catalog is asked a query may not write")
	}
	begin := time.Now()
	if !v.mustAsk(begin) || v.mustAsk(begin) {
		t.Error("not one session asks")
	}
	v.learn(map[string]struct{}{"peeking": {}, "<+>": {}}, begin, begin)
	for text, want := range map[string]bool{
		"SELECT 1": false, "SELECT * FROM Work.PEEKING": true, `SELECT * FROM "peeking"`: true, `SELECT * FROM "Peeking"`: false,
		"SELECT 'peeking' -- peeking": false, "SELECT a<+>b": true, "SELECT a<+b": false, `SELECT U&"\0061"`: true, "SELECT 'open": true,
	} {
		if v.mentions(text) != want {
			t.Errorf("%s: %t", text, !want)
		}
	}

	text := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = 5")
	if n := testing.AllocsPerRun(100, func() { v.mentionedIn(text, plainLexis, false); v.mentionedIn(text, plainLexis, true) }); n > 0 {
		t.Errorf("a look at a query allocates %v times", n)
	}

	// Words of DDL stay while its transaction may be open, however often the catalog is asked.
	v.doubt([]string{"fresh"}, begin)
	later := begin.Add(time.Hour)
	v.learn(map[string]struct{}{}, later, later)
	if !v.mentions("TABLE fresh") || v.mentions("TABLE peeking") {
		t.Error("a word of an open transaction is forgotten, or an old one is not")
	}
	v.release([]string{"fresh"}, later)
	v.learn(map[string]struct{}{}, later, later) // asked as the transaction ended
	if !v.mentions("TABLE fresh") {
		t.Error("a word is forgotten before the catalog can have it")
	}
	v.learn(map[string]struct{}{}, later.Add(time.Minute), later.Add(time.Minute))
	if v.mentions("TABLE fresh") || !v.isEmpty() {
		t.Error("a word of DDL stays")
	}

	// Of too many words all count.
	many := make([]string, maxDoubtful+10)
	for i := range many {
		many[i] = fmt.Sprint("w", i)
	}
	v.doubt(many, later)
	if !v.mentions("SELECT 1") {
		t.Error("words beyond the limit do not count")
	}
	v.release(many, later)
	v.learn(map[string]struct{}{}, later.Add(time.Hour), later.Add(time.Hour))
	if !v.isEmpty() {
		t.Error("words beyond the limit stay")
	}
}

// What counts while a statement is parsed or planned, and where the name of a table is that of a type.
func TestWordsByPlace(t *testing.T) {
	words := catalogWords{}
	for _, answer := range []string{"fwrites", "wimm", "wkept", "rtab"} {
		words.take([]byte(answer))
	}
	v := &vocabulary{}
	v.learn(words, time.Now(), time.Now())
	v.doubt([]string{"fresh"}, time.Now())
	for text, want := range map[string]struct{ runs, early bool }{
		"SELECT writes($1)": {true, false}, "SELECT imm('a')": {true, true}, "SELECT '{a}'::kept[]": {true, true}, "SELECT fresh()": {true, true}, "SELECT 1": {},
		"SELECT * FROM tab": {}, "SELECT * FROM public.tab JOIN tab ON true": {}, "SELECT tab.x, y FROM a, tab": {}, "COPY tab TO STDOUT": {},
		"SELECT '(a)'::tab": {true, true}, `SELECT '(a)'::public."tab"`: {true, true}, "SELECT CAST('(a)' AS tab)": {true, true}, "SELECT tab '(a)'": {true, true},
		"SELECT * FROM json_to_record('{}') AS r (x tab)": {true, true},
	} {
		if got := v.mentions(text); got != want.runs {
			t.Errorf("%s may write: %t", text, got)
		}
		if got := v.mentionedIn([]byte(text), plainLexis, true); got != want.early {
			t.Errorf("%s may write early: %t", text, got)
		}
	}
}

// The words of DDL stay no longer than it takes to ask the catalog: a session that does nothing after its DDL does not hold them, and no login is
// needed.
func TestWordsAreRenewed(t *testing.T) {
	const asks, trails = "WITH RECURSIVE unsure", "pg_current_xact_id_if_assigned() IS NOT NULL"
	synctest.Test(t, func(t *testing.T) {
		h := noting(t)
		idle, ann := h.enter("idle", annInShop), h.enter("abcd", annInShop)
		ann.says("Parse s `SELECT 1`", "Sync")
		ann.heard()
		ann.answers("ParseComplete", "ReadyForQuery I")
		ann.heard()
		hears := func(want bool, part string, lines ...string) {
			t.Helper()
			ann.says(lines...)
			if _, got := ann.heard(); strings.Contains(got, part) != want {
				t.Errorf("%s: the server hears %q", lines, got)
			}
		}
		for range 2 {
			idle.says("Query `CREATE EXTENSION e`")
			idle.heard()
			idle.answers("ParseComplete", "BindComplete", "DataRow ``", "CommandComplete `SELECT 1`", "CloseComplete", "CloseComplete",
				"ParseComplete", "BindComplete", "NoData", "CommandComplete `CREATE EXTENSION`", "CloseComplete", "CloseComplete", "ReadyForQuery I")
			if got, _ := idle.heard(); !strings.HasSuffix(got, "Z\x00\x00\x00\x05I") {
				t.Errorf("the client with the DDL hears %q", got)
			}
			hears(true, trails, "Query `SELECT 2`")
			ann.answers("ParseComplete", "BindComplete", "RowDescription a", "DataRow 2", "CommandComplete `SELECT 1`", "CloseComplete",
				"ParseComplete", "BindComplete", "CommandComplete `SELECT 0`", "CloseComplete", "CloseComplete", "ReadyForQuery I")
			ann.heard()
			time.Sleep(doubtsLast + time.Second)

			hears(false, asks, "Bind `` s", "Execute `` 0", "Sync")
			ann.answers("BindComplete", "DataRow 1", "CommandComplete `SELECT 1`", "ReadyForQuery I")
			ann.heard()
			hears(true, asks, "Parse `` `SELECT 3`", "Sync")
			cancel := h.canceller()
			synctest.Wait()
			if len(h.dialed) > 0 {
				t.Error("a CancelRequest hits the question")
			}
			for _, b := range answer("CommandComplete SET", "CommandComplete SET", "CommandComplete SET", "RowDescription concat", "DataRow wpeek", "CommandComplete `SELECT 1`", "ReadyForQuery I",
				"ParseComplete", "ReadyForQuery I") {
				ann.server.say <- []byte{b}
			}
			if got, _ := ann.heard(); got != "1\x00\x00\x00\x04Z\x00\x00\x00\x05I" {
				t.Errorf("the client hears %q", got)
			}
			cancel.meet()
			cancel.server.conn.Close()
			hears(false, trails, "Query `SELECT 4`")
			ann.answers("RowDescription a", "CommandComplete `SELECT 0`", "ReadyForQuery I")
			ann.heard()
			hears(true, trails, "Query `TABLE peek`")
			ann.answers("ParseComplete", "BindComplete", "RowDescription a", "CommandComplete `SELECT 0`", "CloseComplete",
				"ParseComplete", "BindComplete", "CommandComplete `SELECT 0`", "CloseComplete", "CloseComplete", "ReadyForQuery I")
			ann.heard()
		}
	})
}

// An assignment cast converts only the arguments of EXECUTE, and no word shows it.
func TestWordsOfAssignmentCasts(t *testing.T) {
	words := catalogWords{}
	words.take([]byte("wto_mood"))
	words.take([]byte("x"))
	v := &vocabulary{}
	v.learn(words, time.Now(), time.Now())
	if !v.mayAssign() || v.mayBind() || v.mentions("EXECUTE q('b'::text)") {
		t.Errorf("assigns %t, binds %t", v.mayAssign(), v.mayBind())
	}
	s := &session{database: &access{database: &database{}}, notes: &notes{}}
	s.database.vocabulary.learn(words, time.Now(), time.Now())
	s.database.outbox.Store(&schema{superuser: true})
	for text, want := range map[string]parser.Need{"EXECUTE q('b'::text)": parser.IfNoted, "EXECUTE q": parser.Never} {
		list, _ := parser.Split(nil, []byte(text), plainLexis)
		if list = s.withVocabulary(list, []byte(text), plainLexis); list[0].Inner != want {
			t.Errorf("%s: %v", text, list[0].Inner)
		}
	}
}

// A RELEASE puts the rows before it in doubt only if a function may have made the subtransaction read-only.
func TestWordsOfReadOnlyFunctions(t *testing.T) {
	for answer, want := range map[string]bool{"fwrites": false, "o": true} {
		s := &session{database: &access{database: &database{}}, notes: &notes{}}
		words := catalogWords{}
		words.take([]byte(answer))
		s.database.vocabulary.learn(words, time.Now(), time.Now())
		s.apply(effects{tx: parser.Begin}, subject{})
		s.apply(effects{tx: parser.Savepoint}, subject{})
		s.tx.trail()
		s.apply(effects{tx: parser.Release}, subject{})
		if s.tx.missed != want {
			t.Errorf("%s: missed is %t", answer, s.tx.missed)
		}
	}
}

// DDL makes words of what it creates, not of all that its text contains.
func TestWordsOfDDL(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE OR REPLACE FUNCTION public.f(a int) RETURNS text LANGUAGE plpgsql AS $$BEGIN END$$": "f",
		`CREATE VIEW public."user" (one) AS SELECT f(1)::int`:                                       "user",
		"CREATE DOMAIN d AS int CHECK (f(VALUE) > 0)":                                               ") d",
		"CREATE OPERATOR public.=== (FUNCTION = f)":                                                 "===",
		"ALTER TABLE t RENAME TO u":                                                                 "alter t rename u",
		"ALTER TABLE t ADD COLUMN c int":                                                            "",
		"CREATE FUNCTION h() RETURNS void LANGUAGE plpgsql AS 'BEGIN EXECUTE ''DECLARE c CURSOR WITH HOLD FOR SELECT 1''; END'": "( h",
		"CREATE FUNCTION r() RETURNS void LANGUAGE plpgsql AS 'BEGIN SET TRANSACTION READ ONLY; END'":                           "{ r",
		"CREATE EXTENSION e":                      "* ( )",
		"CREATE OPERATOR public.= (FUNCTION = f)": "*",
		"CREATE POLICY p ON t USING (f())":        "*",
		"CREATE CAST (a AS b) WITH FUNCTION f(a)": "*",
		"ALTER DOMAIN d ADD CHECK (f(VALUE))":     "* ( )",
		"ALTER TABLE t ENABLE ROW LEVEL SECURITY": "",
		"ALTER TABLE security ADD COLUMN c int":   "",
		"ALTER TABLE security RENAME TO u":        "alter security rename u",
	} {
		list, _ := parser.Split(nil, []byte(sql), plainLexis)
		if got := strings.Join(wordsOfDDL([]byte(sql), &list[0], plainLexis), " "); got != want {
			t.Errorf("%s: %s", sql, got)
		}
	}
}

// A policy that calls nothing which may write is no reason for notes behind every query.
func TestWordsOfPolicies(t *testing.T) {
	v := &vocabulary{}
	v.learn(map[string]struct{}{"writes": {}, "<+>": {}}, time.Now(), time.Now())
	for text, want := range map[string]bool{
		"CREATE POLICY p ON t": false,
		"CREATE POLICY p ON public.t AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (tenant = current_setting('app.tenant')::int) WITH CHECK (tenant IN (SELECT id FROM tenants WHERE lower(name) = CURRENT_USER))": false,
		"ALTER POLICY p ON t USING (true)":                                      false,
		"CREATE POLICY p ON t USING (writes(v))":                                true,
		"CREATE POLICY p ON t FOR INSERT WITH CHECK (a <+> b)":                  true,
		"CREATE POLICY p ON t USING (other(v))":                                 true,
		"CREATE POLICY p ON t USING (query_to_xml('SELECT 1') IS NOT NULL)":     true,
		"CREATE POLICY p ON t USING (EXISTS (SELECT FROM ts_stat('SELECT 1')))": true,
		"CREATE POLICY p ON t USING ('open":                                     true,
	} {
		if got := v.mayCall([]byte(text), plainLexis); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
}
