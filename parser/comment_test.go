package parser

import (
	"slices"
	"strings"
	"testing"
)

// A comment belongs to the statement that it stands in, or else in front of; one behind the last semicolon to the last statement.
func TestCommentsOfStatements(t *testing.T) {
	for sql, want := range map[string]string{ // statements with their comments, divided by ⏎
		"insert into t values (1)":                   "insert into t values (1)",
		" insert into t values (1) ; ":               "insert into t values (1)",
		"insert into t values (1) /*a*/":             "insert into t values (1) /*a*/",
		"insert into t values (1) /*a*/ ;":           "insert into t values (1) /*a*/",
		"insert into t values (1); /*a*/\n":          "insert into t values (1); /*a*/",
		"insert into t values (1);; /*a*/ -- b\n":    "insert into t values (1);; /*a*/ -- b",
		"insert into t values (1); /*a*/; ":          "insert into t values (1)",
		" /*a*/ /*b*/update t set a = 1":             "/*a*/ /*b*/update t set a = 1",
		"-- a\n update t set a = 1 -- b":             "-- a\n update t set a = 1 -- b",
		"update t /*a*/ set a = 1":                   "update t /*a*/ set a = 1",
		"/*a;b*/ select 1 /*c*/; /*d*/ select 2":     "/*a;b*/ select 1 /*c*/⏎/*d*/ select 2",
		"select 1;/*a*/;/*b*/select 2":               "select 1⏎/*b*/select 2",
		"/*a*/;select 1":                             "select 1",
		"select 1 /*a*/ ; select 2 ; /*b*/":          "select 1 /*a*/⏎select 2 ; /*b*/",
		"create function f() begin atomic; end/*a*/": "create function f() begin atomic; end/*a*/",
		"/*a*/": "",
	} {
		list, ok := Split(nil, []byte(sql), standard)
		var found []string
		for _, s := range list {
			found = append(found, sql[s.From:s.To])
			if s.From > s.Start || s.To < s.End || strings.Contains(sql[s.Start:s.End], "/*a;b*/") {
				t.Errorf("%q: %+v", sql, s)
			}
		}
		if got := strings.Join(found, "⏎"); got != want && ok {
			t.Errorf("%q\n got %q\nwant %q", sql, got, want)
		}
	}
	for sql, want := range map[string]string{"select 1; /*a*/ delete from t where v = 'long": "/*a*/ delete from t where v = 'long", "/*a*/ 'long": "/*a*/ 'long"} {
		list := SplitBeginning(nil, []byte(sql), standard)
		if last := list[len(list)-1]; sql[last.From:last.To] != want && sql[last.Start:last.To] != want {
			t.Errorf("%q: %q, want %q", sql, sql[last.From:last.To], want)
		}
	}
}

// What stands in comments makes no other fingerprint or text, and credentials in them count.
func TestCommentsTellNothing(t *testing.T) {
	const plain = "update t set a = 1"
	for _, sql := range []string{"/*a*/ " + plain, plain + " /*a='1'*/", plain + "; /*a*/", "-- a\n" + plain + " -- b", "update /*a*/ t set a = 1"} {
		if Fingerprint([]byte(sql), standard) != Fingerprint([]byte(plain), standard) {
			t.Errorf("%q has another fingerprint", sql)
		}
		if got := string(Normalize(nil, []byte(sql), standard)); got != "update t set a = $1" {
			t.Errorf("%q became %q", sql, got)
		}
	}
	for sql, want := range map[string]bool{
		"/* password=x */ " + plain: true, plain + " /* password=x */": true, plain + "; -- password=x": true,
		"select 1 /* password=x */; " + plain: false, "/*traceparent='00-1'*/ " + plain: false,
	} {
		list, _ := Split(nil, []byte(sql), standard)
		if got := list[len(list)-1].Secret; got != want {
			t.Errorf("%q: secret %v", sql, got)
		}
	}
}

func TestComments(t *testing.T) {
	for sql, want := range map[string][]string{
		"":               nil,
		"/**/":           {""},
		"/*a*/ select 1": {"a"},
		"select/*a*/1/*b*/; /*c /*d*/*/ -- /*e*/\n/*f*/": {"a", "b", "c /*d*/", "f"},
		"select '/*a*/', $$/*b*/$$, \"/*c*/\" /*d*/":     {"d"},
		"/*a*/ select 1 /*b":                             {"a"},
		"/*a*/ select '/*b*/":                            {"a"},
		"select 'a' -- b\n 'c' /*d*/":                    {"d"},
		"select E'\\'/*a*/' /*b*/":                       {"b"},
		"select 'a'/*b*/":                                {"b"},
	} {
		var got []string
		for c := range Comments([]byte(sql), standard) {
			got = append(got, string(c))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", sql, got, want)
		}
	}
	for range Comments([]byte("/*a*/ /*b*/ select 1 /*c*/"), standard) {
		break
	}
}
