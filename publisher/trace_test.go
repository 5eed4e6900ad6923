package publisher

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/parser"
	"github.com/pgtee/pgtee/publisher/record"
)

const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// claimed returns what the SQL claims: headers, the actor's field, the context's.
func claimed(sql string) string {
	var c claims
	c.read([]byte(sql), plain)
	return fmt.Sprintf("%s|%s%s", c.trace, c.state, c.appendContext(c.appendActor(nil, nil)))
}

func TestTraceparent(t *testing.T) {
	for sql, want := range map[string]string{
		"update t set a = 1 /*action='buy',traceparent='" + trace + "',tracestate='x'*/":               trace,
		"/*traceparent='" + trace + "'*/ delete from t":                                                trace,
		"/*traceparent='" + trace + "'*/ delete from t where a = 'unterm":                              trace,
		"update t set a = 1 /* app:shop traceparent='" + trace + "' */":                                trace,
		"update t set a = 1; /*traceparent='" + trace + "'*/":                                          trace,
		"update t /*traceparent='" + trace + "'*/ set a = 1":                                           trace,
		"update t set a = 1 /*traceparent='" + trace + "*/":                                            "",
		"update t set a = 1 /*traceparent='01" + trace[2:] + "'*/":                                     "",
		"update t set a = 1 /*traceparent='00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01'*/": "",
		"update t set a = 1 /*traceparent='00-00000000000000000000000000000000-00f067aa0ba902b7-01'*/": "",
		"update t set a = 1 /*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01'*/": "",
		"update t set a = 'traceparent=''" + trace + "'''":                                             "",
		"update t set a = $$/*traceparent='" + trace + "'*/$$":                                         "",
		"/* a */ update t set a = traceparent='" + trace + "'":                                         "",
		"/*traceparent='":             "",
		"/*traceparent='00-4bf92f'*/": "",
		"/*traceparent='" + trace:     "",
		"update t set a = 1":          "",
		"":                            "",
	} {
		if got, _, _ := strings.Cut(claimed(sql), "|"); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}

func TestClaims(t *testing.T) {
	for sql, want := range map[string]string{
		"update t set a = 1":                     `|`,
		"update t set a = 1 /*controller='a'*/":  `|,"context":{"controller":"a"}`,
		"/*a='1'*/ update t /*b='2'*/ set c = 1": `|,"context":{"a":"1","b":"2"}`,
		"update t set a = 1 /*action='%2Fparam*d',controller='index,framework='spring',traceparent='" + trace + "'*/":                             trace + `|`,
		"update t set a = 1 /*action='%2Fp%27a%22',route='/polls 1000'*/":                                                                         `|`,
		`update t set a = 1 /*action='%2Fp%27a%22',name='Rob\'s \\'*/`:                                                                            `|`,
		`update t set a = 1 /* action='%2Fp%27a%22' , name='Rob\'s\\' */`:                                                                         `|,"context":{"action":"/p'a\"","name":"Rob's\\"}`,
		"update t set a = 1 /*actor='ann%40shop',application='shop',traceparent='" + trace + "',tracestate='congo%3Dt61rcWkgMzE%2Crojo%3D00f0'*/": trace + `|congo=t61rcWkgMzE,rojo=00f0,"actor":"ann@shop","context":{"application":"shop","traceparent":"` + trace + `","tracestate":"congo=t61rcWkgMzE,rojo=00f0"}`,
		"update t set a = 1 /*actor='ann'*/":                                                                                                      `|,"actor":"ann"`,
		"update t set a = 1 /*tracestate='a%3Db'*/":                                                                                               `|,"context":{"tracestate":"a=b"}`,
		"update t set a = 1 /*a='1',b='%zz'*/":                                                                                                    `|,"context":{"a":"1","b":"%zz"}`,
		"update t set a = 1 /*a='1',a='2'*/":                                                                                                      `|,"context":{"a":"1"}`,
		"update t set a = 1 /* where name = 'anna' and b='c' */":                                                                                  `|`,
		"update t set a = 1 /*a='%00%ff'*/":                                                                                                       `|,"context":{"a":"\u0000"}`,
		"update t set a = 1 /*route='https%3A%2F%2Fu%3Ap%40h'*/":                                                                                  `|,"context":{"route":"<redacted>"}`,
		"update t set a = 1 /*a='1'*/ /*password='x',b='2'*/":                                                                                     `|,"context":{"a":"1","password":"<redacted>","b":"2"}`,
		"update t set a = 1 /*token='x',a='Bearer%20x',b='2'*/":                                                                                   `|,"context":{"token":"<redacted>","a":"<redacted>","b":"2"}`,
		"update t set a = 1 -- /*a='1'*/":                                                                                                         `|`,
		"update t set a = '/*b=''1''*/', c = E'\\'/*d=\\'2\\'*/'":                                                                                 `|`,
	} {
		if got := claimed(sql); got != want {
			t.Errorf("%s\n got %s\nwant %s", sql, got, want)
		}
	}
}

// What a client may claim is bounded: every row of its statement carries it.
func TestClaimsAreBounded(t *testing.T) {
	var many, long strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, ",k%d='v'", i)
		fmt.Fprintf(&long, ",k%d='%s'", i, strings.Repeat("ä", 2000))
	}
	for name, list := range map[string]string{"many": many.String(), "long": long.String(), "a key": "," + strings.Repeat("k", 65) + "='v'"} {
		var c claims
		c.read([]byte("SELECT 1 /*"+list[1:]+"*/"), plain)
		size := 0
		for _, f := range c.list {
			size += len(f.key) + len(f.value)
			if len(f.value) > maxClaimBytes || !utf8.Valid(f.value) {
				t.Errorf("%s: a value of %d bytes", name, len(f.value))
			}
		}
		if n := len(c.list); n > maxClaims || size > maxClaimsBytes || name == "many" && n != maxClaims || name == "long" && n != 3 || name == "a key" && n != 0 {
			t.Errorf("%s: %d claims of %d bytes", name, n, size)
		}
	}
}

// A statement without comments has the block that it had before there was a context.
func TestBlockOfClaims(t *testing.T) {
	block := func(sql string) string {
		tx := sale()
		tx.Notes[0].SQL = []byte(sql)
		var b record.Batch
		b.Begin(tx)
		return string(b.AppendPgtee(nil, tx, 1))
	}
	bare := block("UPDATE t SET a = 1")
	if strings.Contains(bare, "context") || strings.Contains(bare, "actor") {
		t.Error(bare)
	}
	want := strings.Replace(bare, `},"statement"`, `,"actor":"ann"},"statement"`, 1)
	want = strings.Replace(want, `},"via"`, `},"context":{"route":"/a"},"via"`, 1)
	if got := block("UPDATE t SET a = 1 /*actor='ann',route='%2Fa'*/"); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

// FuzzClaims: whatever a client sends, what comes out is bounded, stands in its SQL, and is JSON.
func FuzzClaims(f *testing.F) {
	f.Add([]byte("/*traceparent='00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',actor='a'*/"), true)
	f.Add([]byte("/*traceparent='00-"), false)
	f.Add([]byte(`select 1 /*a='%41\'',b='\\'*/`), true)
	f.Fuzz(func(t *testing.T, sql []byte, standard bool) {
		var c claims
		c.read(sql, parser.Lexis{StandardConformingStrings: standard})
		if c.trace != nil && (len(c.trace) != traceparentBytes || !strings.Contains(string(sql), string(c.trace))) {
			t.Fatalf("%q of %q", c.trace, sql)
		}
		size := 0
		for _, f := range c.list {
			size += len(f.key) + len(f.value)
		}
		if size > maxClaimsBytes || len(c.list) > maxClaims {
			t.Fatalf("%d claims of %d bytes", len(c.list), size)
		}
		if object := c.appendContext([]byte(`{"v":1`)); !json.Valid(append(object, '}')) {
			t.Fatalf("%s of %q", object, sql)
		}
	})
}

// A session whose settings say so reads its comments otherwise.
func TestClaimsAreReadAsTheSessionDid(t *testing.T) {
	note := &note.Note{Payload: note.Payload{Flags: note.FlagBackslash}, SQL: []byte(`UPDATE t SET a = '\'/*b=''1''*/' /*c='2'*/`)}
	n := notes{text: Off}
	var f fact
	n.learnClaims(&f, note)
	if got := string(n.json); got != `,"context":{"c":"2"}` {
		t.Error(got)
	}
}
