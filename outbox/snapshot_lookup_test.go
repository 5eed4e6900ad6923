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
		{"over a part of the identity", source{key: []string{"a"}, operator: "public"}, Span{Condition: "v > 1"},
			`COPY (SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND (v > 1) AND "a" OPERATOR("public".=) '1'` +
				` UNION ALL SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND (v > 1) AND "a" OPERATOR("public".=) '2') TO STDOUT`},
		{"over an index in another order", source{key: []string{`b"c`, "a"}, operator: "pg_catalog"}, Span{},
			`COPY (SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND "b""c" OPERATOR("pg_catalog".=) 'x''y' AND "a" OPERATOR("pg_catalog".=) '1'` +
				` UNION ALL SELECT "v","a","b""c" FROM ONLY s.t WHERE true AND (f) AND "b""c" OPERATOR("pg_catalog".=)  E'\\' AND "a" OPERATOR("pg_catalog".=) '2') TO STDOUT`},
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
	if err := (&source{relation: relation}).lookUpBy([]string{"a"}); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another identity: %v", err)
	}
}
