package outbox

import (
	"bytes"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// keyOrder is the order of a unique index without nulls, with its directions, operator classes and collations, in which a table is read. nil means
// the order of ctid.
type keyOrder []keyColumn

// keyColumn is a column of the index. All fields but the name are SQL.
type keyColumn struct {
	name                  string
	value                 string // the column with the collation of the index
	before, behind, equal string // operators: a value comes before another in the index, comes after it, or is equal
	nulls                 string // FIRST or LAST: where nulls would be
	kind                  string // OIDs of type, operator class and collation, which define the operators
}

// chooseOrder returns the order of the first index in rows of keysSQL whose columns are published and, if the table's updates are in the stream,
// belong to the replica identity: then the stream has both keys of a row whose place in this order changes.
func chooseOrder(relation *pgoutput.Relation, rows [][]string) keyOrder {
	identity := slices.ContainsFunc(relation.Columns, func(c pgoutput.Column) bool { return c.Key })
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n][0] == rows[0][0] {
			n++
		}
		if unusable := func(row []string) bool {
			i := slices.IndexFunc(relation.Columns, func(c pgoutput.Column) bool { return c.Name == row[1] })
			return row[2] != "true" || slices.Contains(row[4:7], "") || i < 0 || identity && !relation.Columns[i].Key
		}; !slices.ContainsFunc(rows[:n], unusable) {
			return orderOf(rows[:n])
		}
		rows = rows[n:]
	}
	return nil
}

// orderOf returns the order of one index from its rows of keysSQL.
func orderOf(rows [][]string) (order keyOrder) {
	for _, row := range rows {
		order = append(order, keyColumn{name: row[1], value: row[3], before: row[4], behind: row[5], equal: row[6], nulls: row[7], kind: row[8]})
	}
	return order
}

// String returns the ORDER BY list.
func (o keyOrder) String() string {
	if o == nil {
		return "ctid"
	}
	columns := make([]string, len(o))
	for i, c := range o {
		columns[i] = c.value + " USING " + c.before + " NULLS " + c.nulls
	}
	return strings.Join(columns, ",")
}

// name identifies the order, because a place is only valid in its own order: an order of keys by the definition of its columns, an order of ctids by
// the file that they refer to.
func (o keyOrder) name(file string) []byte {
	if o == nil {
		return []byte(ctidOrder + file)
	}
	name := o.String()
	for _, c := range o {
		name += " " + c.kind
	}
	return []byte(name)
}

// ctidOrder begins the name of an order of ctids.
const ctidOrder = "ctid "

// InCtidOrder reports whether a place, the Last of a Chunk, is one in the order of ctid. In that order an UPDATE may move a row to any place.
func InCtidOrder(place [][]byte) bool {
	return len(place) > 0 && bytes.HasPrefix(place[0], []byte(ctidOrder))
}

// place returns the place of a row with these values.
func (o keyOrder) place(file string, values ...[]byte) [][]byte {
	return append([][]byte{o.name(file)}, values...)
}

// has reports whether a place belongs to this order.
func (o keyOrder) has(file string, place [][]byte) bool {
	return len(place) == 1+max(1, len(o)) && string(place[0]) == string(o.name(file))
}

// after returns the condition that a row comes after the row with the values of place.
func (o keyOrder) after(place [][]byte) string {
	values, literals := make([]string, len(o)), make([]string, len(o))
	for i, c := range o {
		values[i], literals[i] = c.value, quoteLiteral(string(place[i]))
	}
	if !slices.ContainsFunc(o, func(c keyColumn) bool { return c.behind != o[0].behind }) {
		return row(values) + " " + o[0].behind + " " + row(literals)
	}
	// PostgreSQL compares rows in one direction only. The leading condition lets the scan start in the middle of the index.
	condition := ""
	for i := len(o) - 1; i >= 0; i-- {
		next := values[i] + " " + o[i].behind + " " + literals[i]
		if condition != "" {
			next += " OR " + values[i] + " " + o[i].equal + " " + literals[i] + " AND (" + condition + ")"
		}
		condition = next
	}
	return "NOT (" + values[0] + " " + o[0].before + " " + literals[0] + ") AND (" + condition + ")"
}

// row returns a single value, or several values as a row.
func row(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return "ROW(" + strings.Join(values, ",") + ")"
}
