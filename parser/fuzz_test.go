package parser

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// seeds are texts with all that a lexer can stumble over.
var seeds = []string{
	"select 'a''b', E'\\'', U&'x', U&\"x\", B'1', $$a;$$, $b$;$b$, $1, a$1 /* /* */ ; */ -- ;\n; select 2",
	"create function f() returns int begin atomic select case when a then 1 end; end; select 1",
	"create rule r as on insert to t do (delete from a; delete from b)",
	"with a as (insert into t values (1), (2) returning *) select f(a) into x from a",
	"explain (analyze, verbose off) select -1, - 1, a -1, a=-1, -1::int, 1e5, 0x1F, .5 where a in (1, -2, null)",
	"alter role a set my.secret to b; create user x password 'y'; select dblink_connect('a', 'b')",
	"select array[1,2], 'a'\n'b', E'a' -- x\n '\\'' uescape '!'",
	"set a.token = 'x', y; /* password=z */ copy (select 1) to stdout",
	"prepare \"A\"\"b\" (int) as select 1; execute U&\"\\0061\"; deallocate all; rollback to a; commit and chain",
	";;", "", "$", "'", "a$$b$$", "1.5.3", "select 1..2", "$$1$$$1", "'a'_1", "$ 'a'",
	"CopY()", "dBLink(''0'')", "000pAssw'0'0", "alter (0set secret to 00)", "0\r0pAssw",
	"create function a() returns a begin atomic select 0 end;end",
}

func addSeeds(f *testing.F) {
	for _, s := range seeds {
		f.Add(s, true, false)
		f.Add(s, false, true)
	}
}

// checkBeginning compares what is found in the beginning of a text with what is found in all of it.
func checkBeginning(t *testing.T, sql []byte, whole []Statement, lexis Lexis) {
	list := SplitBeginning(nil, sql[:len(sql)-len(sql)/4], lexis)
	for i, s := range list[:len(list)-1] {
		if i == len(whole)-1 { // it has the comments behind the last semicolon
			s.To, s.Secret = whole[i].To, whole[i].Secret
		}
		if i < len(whole) && s != whole[i] {
			t.Fatalf("%q: statement %d is %+v in its beginning, %+v in all of it", sql, i, s, whole[i])
		}
	}
	if last := list[len(list)-1]; last.End != len(sql)-len(sql)/4 || last.Start > last.End || last.Note != Always && last.Note != After && last.Note != InBlock {
		t.Fatalf("%q: the last statement is %+v", sql, last)
	}
}

func FuzzSplit(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, sql string, scs, multiByte bool) {
		stmts, ok := Split(nil, []byte(sql), Lexis{scs, multiByte})
		end := 0
		for i, s := range stmts {
			if s.From < end || s.Start < s.From || s.End <= s.Start || s.To < s.End || s.To > len(sql) {
				t.Fatalf("statement %d is %+v of %d, after %d", i, s, len(sql), end)
			}
			end = s.To
			with, bare := []byte(sql)[s.From:s.To], []byte(sql)[s.Start:s.End]
			if lexis := (Lexis{scs, multiByte}); Fingerprint(with, lexis) != Fingerprint(bare, lexis) {
				t.Fatalf("%q has another fingerprint than %q", with, bare)
			}
		}
		checkBeginning(t, []byte(sql), stmts, Lexis{scs, multiByte})
		if !scs || multiByte || !utf8.ValidString(sql) || bytes.IndexByte([]byte(sql), 0) >= 0 {
			return
		}
		tree, err := pg_query.Parse(sql)
		if err != nil {
			return
		}
		if !ok && containsFold([]byte(sql), "ATOMIC") {
			return // END may be a name: where that misleads, the text goes unread
		}
		if !ok || len(stmts) != len(tree.Stmts) {
			t.Fatalf("%q: %d statements, %v; the grammar finds %d", sql, len(stmts), ok, len(tree.Stmts))
		}
		for i, s := range tree.Stmts {
			from := int(s.StmtLocation)
			if stmts[i].Start < from || s.StmtLen > 0 && stmts[i].End > from+int(s.StmtLen) {
				t.Errorf("%q: statement %d from %d to %d is outside %d+%d", sql, i, stmts[i].Start, stmts[i].End, from, s.StmtLen)
			}
		}
	})
}

func FuzzNormalize(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, sql string, scs, multiByte bool) {
		lexis := Lexis{scs, multiByte}
		out := Normalize(nil, []byte(sql), lexis)
		if a, b := Fingerprint([]byte(sql), lexis), Fingerprint(out, lexis); a != b {
			t.Fatalf("%q has %x, normalised %q has %x", sql, a, out, b)
		}
		l := newLexer(out, lexis)
		for tok := l.next(); tok.kind != endOfText; tok = l.next() {
			if tok.kind == literal || tok.kind == number || tok.kind == unreadable {
				t.Fatalf("%q: %q holds %q", sql, out, l.text(tok))
			}
		}
	})
}

func FuzzRedact(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, sql string, scs, multiByte bool) {
		lexis := Lexis{scs, multiByte}
		out, changed := Redact(nil, []byte(sql), lexis)
		if changed == (string(out) == sql) && sql != redactedText {
			t.Fatalf("%q: %q, changed %v", sql, out, changed)
		}
		if again, _ := Redact(nil, out, lexis); kept(again) != kept(out) {
			t.Fatalf("%q: %q becomes %q", sql, out, again)
		}
		stmts, ok := Split(nil, []byte(sql), lexis)
		for _, s := range stmts {
			if _, changed := Redact(nil, []byte(sql)[s.From:s.To], lexis); changed != s.Secret {
				t.Errorf("%q: Redact changes it: %v, Secret %v", sql[s.From:s.To], changed, s.Secret)
			}
		}
		if !ok && string(out) != redactedText {
			t.Errorf("unreadable %q became %q", sql, out)
		}
	})
}

// kept returns what Redact left: without what it put in, of which two in two lines are read as one.
func kept(redacted []byte) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(string(redacted), redactedLiteral, " ")), " ")
}
