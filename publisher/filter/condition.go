package filter

import (
	"fmt"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Condition says which rows of a table a snapshot is of: those that satisfy all these filters. Who may ask for one gives the texts, and
// the publisher's role reads the rows: so nothing that a user has made may run. What is said of columns of built-in types the
// server decides while it reads; all of it is decided here, by what the rows print.
type Condition []string

// SQL is for a WHERE clause: true for every row that satisfies the condition, "" for any row. It is an error if the condition does
// not fit the table.
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

// conditionSQL is a filter as SQL of columns of built-in types, constants and built-in operators; "" if it has another column:
// to compare one of those may call a cast, an operator or a check of its owner.
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

// pushed are built-in types whose values PostgreSQL compares as a Filter does, with what has to stand behind the column.
var pushed = map[uint32]string{
	16: "", 20: "", 21: "", 23: "", 26: "", 1700: "", 1082: "", 1114: "", 1184: "", // bool, int8, int2, int4, oid, numeric, date, timestamp, timestamptz
	OIDText: bytewise, OIDVarchar: bytewise, OIDBPChar: bytewise,
}

const bytewise = ` COLLATE pg_catalog."C"`

// isColumn reports whether the token is the name of a column.
func (t token) isColumn() bool { return t.kind == name || t.kind == word && !keywords[t.text] }

// sql is any other token as every session reads it, whatever its settings.
func (t token) sql() string {
	if t.kind == literal {
		return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(t.text) + "'"
	}
	return t.text
}

// TupleRow makes a row readable for a Filter.
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

// Column is of a value that is too long to be held as of one that is not there.
func (t *TupleRow) Column(i int) (kind byte, text []byte) {
	if i >= len(t.kinds) {
		return 0, nil
	}
	return t.kinds[i], t.values[i]
}
