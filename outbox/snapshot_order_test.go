package outbox

import (
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

func TestKeyOrder(t *testing.T) {
	up := func(name string) keyColumn { return keyColumn{name, name, "<", ">", "=", "LAST", "23/1978/0"} }
	down := func(name string) keyColumn { return keyColumn{name, name, ">", "<", "=", "FIRST", "23/1978/0"} }
	for _, c := range []struct {
		order       keyOrder
		name, after string
	}{
		{keyOrder{up("a")}, "a USING < NULLS LAST", "a > '1'"},
		{keyOrder{down("a")}, "a USING > NULLS FIRST", "a < '1'"},
		{keyOrder{up("a"), up("b")}, "a USING < NULLS LAST,b USING < NULLS LAST", "ROW(a,b) > ROW('1','2''')"},
		{keyOrder{up("a"), down("b"), up("c")}, "a USING < NULLS LAST,b USING > NULLS FIRST,c USING < NULLS LAST",
			"NOT (a < '1') AND (a > '1' OR a = '1' AND (b < '2''' OR b = '2''' AND (c > '3')))"},
	} {
		place := c.order.place("1", []byte("1"), []byte("2'"), []byte("3"))[:1+len(c.order)]
		if got := c.order.String(); got != c.name {
			t.Errorf("%s, want %s", got, c.name)
		}
		if got := c.order.after(place[1:]); got != c.after {
			t.Errorf("%s, want %s", got, c.after)
		}
		if !c.order.has("2", place) || c.order.has("1", place[:1]) || keyOrder(nil).has("1", place) || append(c.order, up("d")).has("1", place) {
			t.Errorf("%s: places of other orders are taken for its own", c.name)
		}
	}
	other := up("a")
	other.kind = "25/3126/100"
	if (keyOrder{other}).has("1", keyOrder{up("a")}.place("1", []byte("1"))) {
		t.Error("a place among numbers is taken for one among texts")
	}
	if place := keyOrder(nil).place("1", []byte("(1,2)")); !keyOrder(nil).has("1", place) || keyOrder(nil).has("2", place) || keyOrder(nil).has("1", nil) {
		t.Error("places by ctid are not told apart from others")
	}
}

func TestChooseOrder(t *testing.T) {
	keyed := &pgoutput.Relation{Columns: []pgoutput.Column{{Name: "a", Key: true}, {Name: "b", Key: true}, {Name: "c"}}}
	index := func(oid, column, whole string) []string {
		return []string{oid, column, whole, column, "<", ">", "=", "LAST", "23/1978/0"}
	}
	for _, c := range []struct {
		name     string
		relation *pgoutput.Relation
		rows     [][]string
		want     string
	}{
		{"the first", keyed, [][]string{index("1", "b", "true"), index("2", "a", "true")}, "b USING < NULLS LAST"},
		{"both columns", keyed, [][]string{index("1", "b", "true"), index("1", "a", "true")}, "b USING < NULLS LAST,a USING < NULLS LAST"},
		{"not of the identity", keyed, [][]string{index("1", "a", "true"), index("1", "c", "true"), index("2", "a", "true")}, "a USING < NULLS LAST"},
		{"nulls", keyed, [][]string{index("1", "a", "false"), index("2", "b", "true")}, "b USING < NULLS LAST"},
		{"not published", keyed, [][]string{index("1", "d", "true")}, "ctid"},
		{"an operator is missing", keyed, [][]string{{"1", "a", "true", "a", "<", "", "=", "LAST", "23/1978/0"}}, "ctid"},
		{"no identity", &pgoutput.Relation{Columns: []pgoutput.Column{{Name: "c"}}}, [][]string{index("1", "c", "true")}, "c USING < NULLS LAST"},
		{"no index", keyed, nil, "ctid"},
	} {
		if got := chooseOrder(c.relation, c.rows).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
