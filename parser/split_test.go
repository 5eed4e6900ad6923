package parser

import (
	"slices"
	"strings"
	"testing"
)

// standard is how most sessions read SQL.
var standard = Lexis{StandardConformingStrings: true}

// texts returns what Split found, as text.
func texts(t *testing.T, sql string, lexis Lexis) ([]string, bool) {
	t.Helper()
	stmts, ok := Split(nil, []byte(sql), lexis)
	var found []string
	for _, s := range stmts {
		found = append(found, sql[s.Start:s.End])
	}
	return found, ok
}

func TestSplit(t *testing.T) {
	for _, test := range []struct{ name, sql, want string }{ // statements divided by ⏎
		{"empty", "", ""},
		{"blank", " \t\r\n\f\v", ""},
		{"comment only", "/* a */ -- b", ""},
		{"empty statements", ";;", ""},
		{"empty between", ";select 1;;select 2;", "select 1⏎select 2"},
		{"no semicolon", "select 1", "select 1"},
		{"trailing blank and comment", "  select 1 -- x\n ; ", "select 1"},
		{"comment before", "/* x; */ insert into t values (1)", "insert into t values (1)"},
		{"quote", "select ';' ; select 2", "select ';'⏎select 2"},
		{"doubled quote", "select 'a'';b'; select 2", "select 'a'';b'⏎select 2"},
		{"backslash is a byte", `select 'a\'; select 2`, `select 'a\'⏎select 2`},
		{"E quote", `select E'\';'; select 2`, `select E'\';'⏎select 2`},
		{"e quote, doubled", `select e'a'';\\'; select 2`, `select e'a'';\\'⏎select 2`},
		{"E continued", "select E'a'\n '\\';'; select 2", "select E'a'\n '\\';'⏎select 2"},
		{"E continued over a comment", "select E'a' -- b'\n '\\';'; select 2", "select E'a' -- b'\n '\\';'⏎select 2"},
		{"E not continued in one line", `select E'a' '\'; select 2`, `select E'a' '\'⏎select 2`},
		{"E not continued over a block comment", "select E'a' /* \n */ '\\'; select 2", "select E'a' /* \n */ '\\'⏎select 2"},
		{"B, X, N", `select b'1;', X'1\', n';\'; select 2`, `select b'1;', X'1\', n';\'⏎select 2`},
		{"U&", `select U&'\;', u&"a\;""" ; select 2`, `select U&'\;', u&"a\;"""⏎select 2`},
		{"identifier that ends in e", `select * from te'\'; select 2`, `select * from te'\'⏎select 2`},
		{"quoted identifier", `select ";""\" from "a;b"; select 2`, `select ";""\" from "a;b"⏎select 2`},
		{"dollar quote", "select $$;'$$; select 2", "select $$;'$$⏎select 2"},
		{"dollar tag", "select $a$;$$;$b$;$a$; select 2", "select $a$;$$;$b$;$a$⏎select 2"},
		{"dollar tag, half repeated", "select $a$;$b$a$; select 2", "select $a$;$b$a$⏎select 2"},
		{"dollar in identifier", "select a$$; select $$b", "!"},
		{"dollar in identifier, fine", "select a$b$; select 2", "select a$b$⏎select 2"},
		{"parameter", "select $1; select $2", "select $1⏎select $2"},
		{"parameter before dollar quote", "select $1$$;$$; select 2", "select $1$$;$$⏎select 2"},
		{"lone dollar", "select $; select 2", "select $⏎select 2"},
		{"nested comment", "select /* ; /* ; */ ; */ 1; select 2", "select /* ; /* ; */ ; */ 1⏎select 2"},
		{"slash star slash", "select /*/ ; */ 1; select 2", "select /*/ ; */ 1⏎select 2"},
		{"stars", "select /***;***/ 1; select 2", "select /***;***/ 1⏎select 2"},
		{"operator ends at comment", "select 1 +-- ;\n 2; select 2", "select 1 +-- ;\n 2⏎select 2"},
		{"operator ends at block comment", "select 1 */* ; */ 2; select 2", "select 1 */* ; */ 2⏎select 2"},
		{"slash slash star", "select 1 //* ; */ 2; select 2", "select 1 //* ; */ 2⏎select 2"},
		{"comment ends at carriage return", "select 1 -- ; \r; select 2", "select 1⏎select 2"},
		{"rule", "create rule r as on insert to t do (delete from a; delete from b); select 2", "create rule r as on insert to t do (delete from a; delete from b)⏎select 2"},
		{"atomic", "create function f() returns int begin atomic select 1; select 2; end; select 3", "create function f() returns int begin atomic select 1; select 2; end⏎select 3"},
		{"atomic with case", "create or replace procedure p() begin atomic select case when a then case b when 1 then 2 end end; end; select 3",
			"create or replace procedure p() begin atomic select case when a then case b when 1 then 2 end end; end⏎select 3"},
		{"atomic, end as a name", `create function f() returns int begin atomic select 1 as end; select x.case from x; end; select 3`,
			`create function f() returns int begin atomic select 1 as end; select x.case from x; end⏎select 3`},
		{"atomic, bare label that misleads", `create function f() returns int begin atomic select 1 end; select 2; end; select 3`, "!"},
		{"a function named begin", "create function begin() returns int language sql return 1; select 2", "create function begin() returns int language sql return 1⏎select 2"},
		{"begin and end", "begin; select 1; end; select 2", "begin⏎select 1⏎end⏎select 2"},
		{"umlauts", "select 'ä;ö' as ü; select 2", "select 'ä;ö' as ü⏎select 2"},

		{"open quote", "select 'a", "!"},
		{"open E quote", `select E'a\'`, "!"},
		{"open identifier", `select "a`, "!"},
		{"open comment", "select /* /* */ 1", "!"},
		{"open dollar quote", "select $a$ $b$", "!"},
		{"open parenthesis", "select (1; select 2", "!"},
		{"closing parenthesis", "select 1); select 2", "!"},
		{"open body", "create function f() returns int begin atomic select 1;", "!"},
		{"zero byte", "select 1\x00", "!"},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, ok := texts(t, test.sql, standard)
			got := strings.Join(found, "⏎")
			if !ok {
				got = "!"
			}
			if got != test.want {
				t.Errorf("%q\n got %q\nwant %q", test.sql, got, test.want)
			}
		})
	}
}

func TestSplitWithBackslashes(t *testing.T) {
	for _, test := range []struct {
		sql  string
		want []string
	}{
		{`select 'a\';'; select 2`, []string{`select 'a\';'`, "select 2"}},
		{`select n'a\';'; select 2`, []string{`select n'a\';'`, "select 2"}},
		{`select b'\'; select 2`, []string{`select b'\'`, "select 2"}},
		{`select "\"; select 2`, []string{`select "\"`, "select 2"}},
		{`select U&'a'`, nil},
	} {
		if got, _ := texts(t, test.sql, Lexis{}); !slices.Equal(got, test.want) {
			t.Errorf("%q: got %q, want %q", test.sql, got, test.want)
		}
	}
}

func TestSplitMultiByte(t *testing.T) {
	lexis := Lexis{StandardConformingStrings: true, MultiByte: true}
	if _, ok := texts(t, "select 1; select 'a'", lexis); !ok {
		t.Error("ASCII must be read in every encoding")
	}
	for _, sql := range []string{"select '\x83\x5c'; select 2", "select \x95\x5c\x83\x7c from \"\x83\x5c\"; select 2", "select '\x81_'; select 2", "select $\x83\x5c$ ; $\x83\x5c$; select 2",
		"select \xd0\xd5~$1; select \xd0\xd5~'a'~'b'", "select \xd0\xd5||$$a;$$; select 2"} {
		if got, ok := texts(t, sql, lexis); !ok || len(got) != 2 {
			t.Errorf("%q: %q, %v", sql, got, ok)
		}
	}
	for _, sql := range []string{"select e'\x83\x5c'; select 2", "select E'\x81_', ';select 2;--'",
		"delete from t where \xd0\xd5~$$\xd5\xc5$$", "delete from t where \xd0\xd5~$a$;$a$", "update t set a = 1 where \xd0\xd5~E'a\\'b' and c = E'd\\'e'"} {
		if _, ok := texts(t, sql, lexis); ok {
			t.Errorf("%q must not be read: it may have an escape, or half a character", sql)
		}
	}
	lexis.StandardConformingStrings = false
	if _, ok := texts(t, "select '\x83\x5c'; select 2", lexis); ok {
		t.Error("without standard_conforming_strings, a backslash must not be read that may be half a character")
	}
}

func TestSplitAppends(t *testing.T) {
	dst := []Statement{{Verb: "KEPT"}}
	dst, ok := Split(dst, []byte("select 1"), standard)
	if !ok || len(dst) != 2 || dst[0].Verb != "KEPT" {
		t.Errorf("got %v, %v", dst, ok)
	}
	dst, ok = Split(dst, []byte("select 1; select '"), standard)
	if ok || len(dst) != 2 {
		t.Errorf("after an unreadable text got %v, %v", dst, ok)
	}
}

// tpcb is the transaction of pgbench's simple protocol, one Query each and all in one.
var tpcb = []string{
	"BEGIN;",
	"UPDATE pgbench_accounts SET abalance = abalance + -2394 WHERE aid = 77342;",
	"SELECT abalance FROM pgbench_accounts WHERE aid = 77342;",
	"UPDATE pgbench_tellers SET tbalance = tbalance + -2394 WHERE tid = 7;",
	"UPDATE pgbench_branches SET bbalance = bbalance + -2394 WHERE bid = 1;",
	"INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (7, 1, 77342, -2394, CURRENT_TIMESTAMP);",
	"END;",
}

func BenchmarkSplit(b *testing.B) {
	queries := [][]byte{}
	for _, q := range tpcb {
		queries = append(queries, []byte(q))
	}
	dst := make([]Statement, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		for _, q := range queries {
			dst, _ = Split(dst[:0], q, standard)
		}
	}
}

func TestSplitDoesNotAllocate(t *testing.T) {
	all := []byte(strings.Join(tpcb, "\n") + `create unlogged table t (a int); alter table t detach partition p concurrently; drop index concurrently i;
		copy t (a) from stdin; explain (analyze, costs off) select count(*) from t; set local role a; rollback to savepoint b; deallocate all;
		copy (select f(1)) to stdout; commit and chain; with a as (select 1) select * from a for update; alter role a password 'x'`)
	dst := make([]Statement, 0, 32)
	if n := testing.AllocsPerRun(100, func() { dst, _ = Split(dst[:0], all, standard) }); n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

func TestSplitBeginning(t *testing.T) {
	for sql, want := range map[string]string{
		"INSERT INTO t VALUES ('long":                     "INSERT INTO t VALUES ('long",
		"SELECT 1; DELETE FROM t WHERE v IN ('a;b', 'lon": "SELECT 1⏎DELETE FROM t WHERE v IN ('a;b', 'lon",
		"BEGIN; SET TRANSACTION READ WRITE; SELECT":       "BEGIN⏎SET TRANSACTION READ WRITE⏎SELECT",
		"/* it's */ DELETE FROM t WHERE v = $$long":       "DELETE FROM t WHERE v = $$long",
		"BEGIN; /* long":                        "BEGIN⏎ /* long",
		"BEGIN; ":                               "BEGIN⏎ ",
		"BEGIN;":                                "BEGIN⏎",
		"SELECT 1; ALTER ROLE a PASSWORD 'long": "SELECT 1⏎ALTER ROLE a PASSWORD 'long",
		"COPY (":                                "COPY (",
		"   ":                                   "   ",
		"'":                                     "'",
		"SELECT 1; create function f() returns int begin atomic select 1 end; delete from t; end; select": "SELECT 1⏎create function f() returns int begin atomic select 1 end; delete from t; end; select",
	} {
		list := SplitBeginning(nil, []byte(sql), standard)
		var found []string
		for _, st := range list {
			found = append(found, sql[st.Start:st.End])
		}
		if got := strings.Join(found, "⏎"); got != want {
			t.Errorf("%q\n got %q\nwant %q", sql, got, want)
		}
		if last := list[len(list)-1]; last.Note != Always || last.Inner != Always {
			t.Errorf("%q: the last statement counts as %v", sql, last.Note)
		}
	}
	for _, sql := range []string{"CALL p('{", "DO $$ BEGIN COMMIT; "} { // they may commit, and not beside a note
		if list := SplitBeginning(nil, []byte(sql), standard); list[0].Note != InBlock {
			t.Errorf("%s: %v", sql, list[0].Note)
		}
	}
	if list := SplitBeginning(nil, []byte("VACUUM /* long"), standard); list[0].Note != After {
		t.Error("VACUUM is one that may run in a transaction block")
	}
}

// TestReadable: what remains of a text that was cut off.
func TestReadable(t *testing.T) {
	for sql, want := range map[string]string{
		"":                              "",
		"SELECT 1 ":                     "SELECT 1 ",
		"INSERT INTO t VALUES (1, 'it":  "INSERT INTO t VALUES (1,",
		"INSERT INTO t VALUES ('a', $$": "INSERT INTO t VALUES ('a',",
		`SELECT "na`:                    "SELECT",
		"SELECT 1 /* it":                "SELECT 1",
		"'it":                           "",
	} {
		if got := string(Readable([]byte(sql), Lexis{StandardConformingStrings: true})); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}
