package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// typeColumn is a column of one type, with SQL that makes its values.
type typeColumn struct {
	declared string
	form     *form
	values   []string
	printed  bool // the type can only be printed
}

// typeTable is a table of so many of them as fit into a row.
type typeTable struct {
	name    string
	columns []typeColumn
}

const columnsPerTable = 100

func columnName(i int) string { return fmt.Sprintf("c%d", i) }

func (t *typeTable) create() string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE TABLE %s (id int PRIMARY KEY", t.name)
	for i, c := range t.columns {
		fmt.Fprintf(&b, ", %s %s", columnName(i), c.declared)
	}
	fmt.Fprintf(&b, "); ALTER TABLE %s REPLICA IDENTITY FULL", t.name)
	return b.String()
}

// rows is one more than the values of the column that has most: the first is all NULL.
func (t *typeTable) rows() int {
	rows := 0
	for _, c := range t.columns {
		rows = max(rows, 1+len(c.values))
	}
	return rows
}

func (t *typeTable) insert(row int) string {
	values := make([]string, len(t.columns))
	for i, c := range t.columns {
		values[i] = "NULL"
		if row > 0 && row <= len(c.values) {
			values[i] = c.values[row-1]
		}
	}
	return fmt.Sprintf("INSERT INTO %s VALUES (%d, %s)", t.name, row, strings.Join(values, ", "))
}

// typeTables makes a column of every type of the catalog and of every declared one.
func typeTables(t *testing.T, ctx context.Context, conn *pgx.Conn) []typeTable {
	t.Helper()
	catalog, err := loadTypes(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	var columns []typeColumn
	for _, oid := range slices.Sorted(maps.Keys(catalog)) {
		typ := catalog[oid]
		values, err := catalog.values(typ)
		if err != nil {
			t.Error(err)
			continue
		}
		columns = append(columns, typeColumn{typ.declared, catalog.form(typ, -1), values, catalog.printedOnly(typ)})
	}
	for _, d := range declared {
		typ, typmod, err := catalog.parse(ctx, conn, d.name)
		if err != nil {
			t.Fatal(err)
		}
		c := typeColumn{declared: d.name, form: catalog.form(typ, typmod)}
		for _, sample := range d.samples {
			c.values = append(c.values, quoteLiteral(sample)+"::"+d.name)
		}
		columns = append(columns, c)
	}
	var tables []typeTable
	for part := range slices.Chunk(columns, columnsPerTable) {
		tables = append(tables, typeTable{fmt.Sprintf("rt.types_%d", len(tables)), part})
	}
	return tables
}

func quoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
