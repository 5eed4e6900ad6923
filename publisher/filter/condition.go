package filter

import (
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Condition says which rows of a table a snapshot includes: those that satisfy all these filters. The texts come from whoever requests a snapshot,
// and the rows are read by the publisher's role; therefore no user-defined code may run. Filters on columns of built-in types are also evaluated by
// the server while it reads; all filters are evaluated here, on the printed values of the rows.
type Condition []string

// SQL returns an expression for a WHERE clause that is true for every row that satisfies the condition, or "" if it is true for all rows. It returns
// an error if the condition does not fit the table.
func (c Condition) SQL(r *pgoutput.Relation) (string, error) {
	if _, err := Bind(r, c); err != nil {
		return "", err
	}
	var parts []string
	for _, text := range c {
		sql, err := conditionSQL(text, r)
		if err != nil {
			return "", err
		}
		if sql != "" {
			parts = append(parts, "("+sql+")")
		}
	}
	return strings.Join(parts, " AND "), nil
}

// conditionSQL returns a filter as SQL that consists of columns of built-in types, constants and built-in operators, or "" if it has another column:
// comparing values of any other type may run a cast, an operator or a CHECK that the owner of the type has defined.
func conditionSQL(text string, r *pgoutput.Relation) (string, error) {
	tokens, err := tokenize(text)
	if err != nil {
		return "", fmt.Errorf("filter %w", err)
	}
	parts := make([]string, 0, len(tokens))
	for _, t := range tokens[:len(tokens)-1] {
		if !t.isColumn() {
			parts = append(parts, t.sql())
			continue
		}
		i := ColumnIndex(r, t.text)
		if i < 0 {
			return "", nil
		}
		collation, plain := pushed[r.Columns[i].Type]
		if !plain {
			return "", nil
		}
		parts = append(parts, QuoteName(t.text)+collation)
	}
	return strings.Join(parts, " "), nil
}

// pushed has the built-in types whose values PostgreSQL compares as a Filter does, with the text that must follow the column.
var pushed = map[uint32]string{
	16: "", 20: "", 21: "", 23: "", 26: "", 1700: "", 1082: "", 1114: "", 1184: "", // bool, int8, int2, int4, oid, numeric, date, timestamp, timestamptz
	OIDText: bytewise, OIDVarchar: bytewise, OIDBPChar: bytewise,
}

const bytewise = ` COLLATE pg_catalog."C"`

// isColumn reports whether the token is a column name.
func (t token) isColumn() bool { return t.kind == name || t.kind == word && !keywords[t.text] }

// sql returns any other token in a form that every session parses alike, whatever its settings.
func (t token) sql() string {
	if t.kind == literal {
		return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(t.text) + "'"
	}
	return t.text
}

// TupleRow makes a row accessible to a Filter.
type TupleRow struct {
	kinds  []byte
	values [][]byte
}

func (t *TupleRow) Read(row pgoutput.Tuple) *TupleRow {
	t.kinds, t.values = t.kinds[:0], t.values[:0]
	for c := row.Columns(); c.Next(); {
		t.kinds, t.values = append(t.kinds, c.Kind()), append(t.values, c.Value())
	}
	return t
}

// Column returns a value that was too long to be kept in memory as if it did not exist.
func (t *TupleRow) Column(i int) (kind byte, text []byte) {
	if i >= len(t.kinds) {
		return 0, nil
	}
	return t.kinds[i], t.values[i]
}
