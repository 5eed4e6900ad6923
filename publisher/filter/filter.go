// Package filter decides which rows of a table are published.
package filter

import (
	"bytes"
	"fmt"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Filter says which rows of one version of a table are published. Its language is a subset of SQL:
//
//	region = 'eu' AND (total >= 100 OR NOT paid) AND state IN ('new', 'sent')
//	    AND note IS NOT NULL AND code LIKE 'A\_%'
//
// A column is compared with a constant: numbers by value, booleans as true and false, dates and timestamps by time, other types by the text that
// PostgreSQL prints, bytewise. Names follow SQL's rules for identifiers. A comparison with NULL is neither true nor false, and a row is published
// only if the whole filter is true, as with the row filters of PostgreSQL's publications.
type Filter struct{ root node }

// Row is the input of a Filter: the columns of a row by their index in the Relation. Kind is a kind of Tuple, or 0 for a value that is not in the
// WAL.
type Row interface {
	Column(i int) (kind byte, text []byte)
}

// Truth is the result of a filter for a row.
type Truth byte

const (
	False   Truth = iota
	Neither       // a comparison with NULL
	True          // publish the row
	Unknown       // it depends on a value that is not in the WAL
)

// Match evaluates the filter for a row; only True means publish. It does not allocate.
func (f *Filter) Match(row Row) Truth { return f.root.eval(row) }

// node is a part of a predicate.
type node interface{ eval(row Row) Truth }

type (
	and      struct{ left, right node }
	or       struct{ left, right node }
	not      struct{ operand node }
	isNull   struct{ column column }
	boolean  struct{ column column }
	compared struct {
		column   column
		operator string // = <> < <= > >=
		constant []byte
	}
	in struct {
		column    column
		constants [][]byte
	}
	like struct {
		column  column
		pattern []byte
	}
)

// column is a column of the relation.
type column struct {
	index int
	class class
}

// class says how the values of a column are compared.
type class byte

const (
	textClass     class = iota // bytewise, as with COLLATE "C"
	padClass                   // char(n): without trailing blanks
	caselessClass              // citext: for equality only, case-insensitively
	numberClass                // by value
	timeClass                  // timestamp, timestamptz in UTC
	dateClass                  // date
	boolClass
	clockClass // time, for equality only
	uuidClass  // for equality only
	otherClass // for equality only: the order of the texts is not that of the values
)

// classes by OID of built-in types, classNames by name.
var classes = map[uint32]class{
	18: textClass, OIDName: textClass, OIDText: textClass, OIDVarchar: textClass, OIDBPChar: padClass, // 18: "char"
	20: numberClass, 21: numberClass, 23: numberClass, 26: numberClass, 700: numberClass, 701: numberClass, 1700: numberClass,
	1082: dateClass, 1114: timeClass, 1184: timeClass, 16: boolClass, 1083: clockClass, 2950: uuidClass,
}

var classNames = map[string]class{
	"char": textClass, "name": textClass, "text": textClass, "varchar": textClass, "bpchar": padClass, "citext": caselessClass,
	"int8": numberClass, "int2": numberClass, "int4": numberClass, "oid": numberClass, "float4": numberClass, "float8": numberClass, "numeric": numberClass,
	"date": dateClass, "timestamp": timeClass, "timestamptz": timeClass, "bool": boolClass, "time": clockClass, "uuid": uuidClass,
}

// classOf returns the class of a column; for a domain, the stream names the base type.
func classOf(c pgoutput.Column) class {
	if found, ok := classes[c.Type]; ok {
		return found
	}
	if found, ok := classNames[c.TypeName]; ok && (c.TypeSchema == "" || c.TypeSchema == "pg_catalog" || found == caselessClass) {
		return found
	}
	return otherClass
}

func (n and) eval(row Row) Truth {
	left := n.left.eval(row)
	if left == False {
		return False
	}
	right := n.right.eval(row)
	switch {
	case right == False:
		return False
	case left == Unknown || right == Unknown:
		return Unknown
	}
	return min(left, right)
}

func (n or) eval(row Row) Truth {
	left := n.left.eval(row)
	if left == True {
		return True
	}
	right := n.right.eval(row)
	switch {
	case right == True:
		return True
	case left == Unknown || right == Unknown:
		return Unknown
	}
	return max(left, right)
}

func (n not) eval(row Row) Truth {
	switch n.operand.eval(row) {
	case False:
		return True
	case True:
		return False
	case Unknown:
		return Unknown
	}
	return Neither
}

func (n isNull) eval(row Row) Truth {
	_, truth := n.column.value(row)
	switch truth {
	case Neither:
		return True
	case Unknown:
		return Unknown
	}
	return False
}

func (n boolean) eval(row Row) Truth {
	value, truth := n.column.value(row)
	if truth == True {
		return truthOf(string(value) == "t")
	}
	return truth
}

func (n compared) eval(row Row) Truth {
	value, truth := n.column.value(row)
	if truth != True {
		return truth
	}
	order := n.column.compare(value, n.constant)
	switch n.operator {
	case "=":
		return truthOf(order == 0)
	case "<>":
		return truthOf(order != 0)
	case "<":
		return truthOf(order < 0)
	case "<=":
		return truthOf(order <= 0)
	case ">":
		return truthOf(order > 0)
	}
	return truthOf(order >= 0)
}

func (n in) eval(row Row) Truth {
	value, truth := n.column.value(row)
	if truth != True {
		return truth
	}
	for _, constant := range n.constants {
		if n.column.compare(value, constant) == 0 {
			return True
		}
	}
	return False
}

func (n like) eval(row Row) Truth {
	value, truth := n.column.value(row)
	if truth != True {
		return truth
	}
	return truthOf(likeMatches(n.pattern, value))
}

func truthOf(b bool) Truth {
	if b {
		return True
	}
	return False
}

// value returns the text of the column, and True if it has one.
func (c column) value(row Row) ([]byte, Truth) {
	kind, text := row.Column(c.index)
	switch kind {
	case pgoutput.Text:
		return text, True
	case pgoutput.Null:
		return nil, Neither
	}
	return nil, Unknown
}

func (c column) compare(value, constant []byte) int {
	switch c.class {
	case numberClass:
		return compareNumbers(value, constant)
	case timeClass, dateClass:
		return compareTimes(value, constant)
	case caselessClass:
		if bytes.EqualFold(value, constant) {
			return 0
		}
	case padClass:
		value = bytes.TrimRight(value, " ")
	}
	return bytes.Compare(value, constant)
}

// Bind parses filters for a version of a table. A row must satisfy all of them.
func Bind(r *pgoutput.Relation, texts []string) (*Filter, error) {
	var root node
	for _, text := range texts {
		next, err := parsePredicate(text, func(name string) (column, error) {
			i := ColumnIndex(r, name)
			if i < 0 {
				return column{}, fmt.Errorf("there is no column %s: correct the filter, or restore the column", name)
			}
			return column{i, classOf(r.Columns[i])}, nil
		})
		if err != nil {
			return nil, fmt.Errorf("filter %w", err)
		}
		if root != nil {
			next = and{root, next}
		}
		root = next
	}
	if root == nil {
		return nil, nil
	}
	return &Filter{root}, nil
}

// Check reports errors of a filter that can be found without a table: its syntax.
func Check(text string) error {
	_, err := parsePredicate(text, func(string) (column, error) { return column{class: anyClass}, nil })
	if err != nil {
		return fmt.Errorf("filter %w", err)
	}
	return nil
}
