package outbox

import (
	"errors"
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

func TestLookupSQL(t *testing.T) {
	relation := &pgoutput.Relation{Columns: []pgoutput.Column{{Name: "v"}, {Name: "a", Key: true}, {Name: `b"c`, Key: true}}}
	keys := [][][]byte{{[]byte("1"), []byte("x'y")}, {[]byte("2"), []byte(`\`)}}
	for _, c := range []struct {
		name   string
		source source
		span   Span
		want   string
	}{
		{"over a part of the identity", source{key: keyOrder{{name: "a", value: `a COLLATE "C"`, behind: "OPERATOR(x.>)", equal: "OPERATOR(x.=)"}}, wanted: "v > 1"}, Span{UpTo: [][]byte{nil, []byte("z")}},
			`COPY (SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND (v > 1) AND NOT (a COLLATE "C" OPERATOR(x.>) 'z') AND a COLLATE "C" OPERATOR(x.=) '1'` +
				` UNION ALL SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND (v > 1) AND NOT (a COLLATE "C" OPERATOR(x.>) 'z') AND a COLLATE "C" OPERATOR(x.=) '2') TO STDOUT`},
		{"over the columns in another order", source{key: keyOrder{{name: `b"c`, value: `"b""c"`, equal: "="}, {name: "a", value: "a", equal: "="}}}, Span{},
			`COPY (SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND "b""c" = 'x''y' AND a = '1'` +
				` UNION ALL SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND "b""c" =  E'\\' AND a = '2') TO STDOUT`},
		{"without an index", source{}, Span{},
			`COPY (SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND ((format('%s', "a") OPERATOR(pg_catalog.=) '1' AND format('%s', "b""c") OPERATOR(pg_catalog.=) 'x''y')` +
				` OR (format('%s', "a") OPERATOR(pg_catalog.=) '2' AND format('%s', "b""c") OPERATOR(pg_catalog.=)  E'\\'))) TO STDOUT`},
	} {
		c.source.name, c.source.filter, c.source.relation = "s.t", "f", relation
		c.span.By, c.span.Keys = []string{"a", `b"c`}, keys
		if err := c.source.lookUpBy(c.span.By); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := c.source.lookupSQL(&c.span); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
	if err := (&source{relation: relation}).lookUpBy([]string{"gone"}); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another identity: %v", err)
	}
}
