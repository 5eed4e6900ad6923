package parser

import (
	"strings"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

func TestNormalize(t *testing.T) {
	for _, test := range []struct{ sql, want string }{
		{"", ""},
		{" ; ; ", ""},
		{"/* a */ SELECT  1 -- b\n ;", "SELECT $1"},
		{";SELECT 1;;\tSELECT\n2 ; ", "SELECT $1; SELECT $2"},
		{"select a/**/b", "select a b"},
		{"select 'a''b', E'\\'', b'1', X'f', N'x', U&'\\0061', $$a$$, $x$a$x$", "select $1, $2, $3, $4, $5, $6, $7, $8"},
		{"select 'a'\n  'b', 'c'", "select $1, $2"},
		{"select date'2020-01-01', a$1, $3, 5", "select date $4, a$1, $3, $5"},
		{"select 1.5, .5, 1e10, 1E-5, 0x1F, 0o17, 0b11, 1_000", "select $1, $2, $3, $4, $5, $6, $7, $8"},
		{"select -1, - 1, a -1, a- 1, a=-1, (-1), a[-1], +1, - -1, -1::int", "select $1, $2, a -$3, a- $4, a=$5, ($6), a[$7], +$8, - $9, -$10::int"},
		{"select null, true, default", "select null, true, default"},
		{`select "A 'b'" from "x""y"`, `select "A 'b'" from "x""y"`},
		{"select $ 'a' $", "select $ $1 $"},
		{"select $'a'", "select $ $1"},
		{"select * from t where a in (1)", "select * from t where a in ($1)"},
		{"select * from t where a in ( -1, 'b'::text, $7, null ) and b = 5", "select * from t where a in ( $8 /*, ... */) and b = $9"},
		{"select * from t where a in (1, f(2))", "select * from t where a in ($1, f($2))"},
		{"select * from t where a in (select 1)", "select * from t where a in (select $1)"},
		{"select array[1,2], array[[1],[2]]", "select array[$1 /*, ... */], array[[$2],[$3]]"},
		{"insert into t values (1, 'a'), (2, 'b'), (null, default) returning a", "insert into t values ($1, $2) /*, ... */ returning a"},
		{"insert into t values (1, now()), (2, 'b')", "insert into t values ($1, now()), ($2, $3)"},
		{"insert into t values (1), (2), (f(3))", "insert into t values ($1) /*, ... */, (f($2))"},
		{"select $70000, 1", "select $70000, $1"},
		{"select 'open", unreadableText},
		{"select 1 /* open", unreadableText},
	} {
		got := string(Normalize([]byte("kept "), []byte(test.sql), standard))
		if got != "kept "+test.want {
			t.Errorf("%s\n got %s\nwant %s", test.sql, got, "kept "+test.want)
		}
	}
}

func TestNormalizeWithBackslashes(t *testing.T) {
	if got := string(Normalize(nil, []byte(`select 'a\'b', 5`), Lexis{})); got != "select $1, $2" {
		t.Errorf("got %s", got)
	}
}

func TestNormalizeAsPostgres(t *testing.T) {
	for _, sql := range []string{
		"select a, b as c from t where a = 5 and b <> 'x' or c is not true",
		"select 1, -5, - 5, a-5, a -5, a=-5, 5-3, -1::int, +1, 1.5e10, .5, 0x1F",
		"select B'01', X'ff', E'a\\'', U&'a', $$a$$, $a$b$a$, 'a'::text, date '2020-01-01', interval '1' day",
		"select $2, 5 from t where a = $1 and b = 'x'",
		"select 'a'\n'b'",
		"insert into t (a, b) values (1, 'x') on conflict (a) do update set b = 'y'",
		"insert into t values (1, now()), (2, now())",
		"update t set a = a + -5, b = 'x' || b where id = 4",
		"delete from t where a between -1 and -2",
		"select -1 ^ 2, 2 ^ -1, a[1], a[-1], f(-1, x => -2)",
		"select case when a > 1 then -1 else -2 end",
		"create user u password 'x'",
		"set work_mem = '1MB'",
		"notify x, 'payload'",
		"do $$begin end$$",
		"select 1; select 2",
	} {
		theirs, err := pg_query.Normalize(sql)
		if got := string(Normalize(nil, []byte(sql), standard)); err != nil || got != theirs {
			t.Errorf("%s\n got %s\nwant %s, %v", sql, got, theirs, err)
		}
	}
}

// TestNormalizeUnlikePostgres lists where the two differ on purpose.
func TestNormalizeUnlikePostgres(t *testing.T) {
	for _, test := range []struct{ sql, ours, theirs, why string }{
		{"select  1 /* x */ ;", "select $1", "select  $1 /* x */ ;", "comments may hold data, blanks are noise"},
		{"select null, true", "select null, true", "select $1, $2", "they are words, and tell nothing"},
		{"select a in (1, 2)", "select a in ($1 /*, ... */)", "select a in ($1, $2)", "length of lists"},
		{"insert into t values (1), (2)", "insert into t values ($1) /*, ... */", "insert into t values ($1), ($2)", "length of lists"},
		{"select a from t order by 1", "select a from t order by $1", "select a from t order by 1", "a lexer does not see what a number means"},
		{"create table t (a numeric(10,2) default 'x')", "create table t (a numeric($1,$2) default $3)",
			"create table t (a numeric(10,2) default 'x')", "no literal of a utility statement stays"},
		{"execute a(1, 'x')", "execute a($1, $2)", "execute a(1, 'x')", "no literal of a utility statement stays"},
		{"copy t from 'x'", "copy t from $1", "copy t from 'x'", "no literal of a utility statement stays"},
		{"select N'x'", "select $1", "select N$1", "the prefix belongs to the literal"},
		{"select U&'x' uescape '!'", "select $1 uescape $2", "select $1 uescape '!'", "every literal is one"},
		{"select 1 limit 2 offset 3", "select $1 limit $2 offset $3", "select $1 limit $3 offset $2", "numbered as written"},
	} {
		theirs, err := pg_query.Normalize(test.sql)
		if got := string(Normalize(nil, []byte(test.sql), standard)); err != nil || got != test.ours || theirs != test.theirs {
			t.Errorf("%s (%s)\n got %s\nwant %s\ntheirs %s, %v", test.sql, test.why, got, test.ours, theirs, err)
		}
	}
}

func TestFingerprint(t *testing.T) {
	for _, same := range [][]string{
		{"SELECT a FROM t WHERE id = 5", "select A from T where ID=-7", "select a /* x */ from t where id = $1 ;", "select a from t where id='x'"},
		{"select a in (1)", "select a in (1, 2, 3)", "select a in ($1, null, 'x'::text)", "select a in (null)"},
		{"insert into t values (1, 2)", "insert into t values (1, 'a'), (null, $2)", "insert into t values (default, true);"},
		{"select array[1]", "select ARRAY [ 'a', 'b' ]"},
		{"select 'open", "select $$open", "/* open", unreadableText},
		{"", " ; ", "-- x"},
	} {
		want := Fingerprint([]byte(same[0]), standard)
		for _, sql := range same {
			if Fingerprint([]byte(sql), standard) != want {
				t.Errorf("%q and %q differ", same[0], sql)
			}
		}
	}
	different := map[uint64]string{}
	for _, sql := range []string{
		"", "select", "select a", "select b", `select "a"`, `select "A"`, "select a, b", "select ab", "select a b", "select 1", "select f(1)",
		"select f(1, 2)", "insert into t values (1)", "insert into t values (1, 2)", "select a in (1)", "select a in (select 1)", "select null",
	} {
		h := Fingerprint([]byte(sql), standard)
		if other, ok := different[h]; ok {
			t.Errorf("%q and %q have one fingerprint", sql, other)
		}
		different[h] = sql
	}
}

// TestFingerprintStays fails if the hash changes: published fingerprints would mean other statements.
func TestFingerprintStays(t *testing.T) {
	if h := Fingerprint([]byte("SELECT a FROM t WHERE id = 5"), standard); h != 0x1ecb497b4f4e68db {
		t.Errorf("got %#x", h)
	}
}

func BenchmarkFingerprint(b *testing.B) {
	sql := []byte(tpcb[5])
	b.ReportAllocs()
	for b.Loop() {
		Fingerprint(sql, standard)
	}
}

func BenchmarkNormalize(b *testing.B) {
	sql := []byte(tpcb[5])
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = Normalize(dst[:0], sql, standard)
	}
}

func TestNormalizeDoesNotAllocate(t *testing.T) {
	sql := []byte(strings.Join(tpcb, ""))
	dst := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { dst = Normalize(dst[:0], sql, standard) }); n != 0 {
		t.Errorf("Normalize: %v allocations", n)
	}
	if n := testing.AllocsPerRun(100, func() { Fingerprint(sql, standard) }); n != 0 {
		t.Errorf("Fingerprint: %v allocations", n)
	}
}
