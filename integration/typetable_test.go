package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/verdict"
)

// typeColumn is a column of one type, with SQL that makes its values.
type typeColumn struct {
	declared string
	form     *verdict.Form
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
	modified, err := catalog.declaredColumns(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	columns := append(catalog.columns(t), modified...)
	var tables []typeTable
	for part := range slices.Chunk(columns, columnsPerTable) {
		tables = append(tables, typeTable{fmt.Sprintf("rt.types_%d", len(tables)), part})
	}
	return tables
}

// columns makes one of every type; a type without samples and samples without a type fail the test.
func (c columnTypes) columns(t *testing.T) (columns []typeColumn) {
	t.Helper()
	names := map[string]bool{}
	for _, oid := range slices.Sorted(maps.Keys(c)) {
		typ := c[oid]
		names[typ.name] = true
		values, err := c.values(typ)
		if err != nil {
			t.Error(err)
			continue
		}
		columns = append(columns, typeColumn{typ.declared, c.form(typ, -1), values, c.printedOnly(typ)})
	}
	for name := range samples {
		if !names[name] {
			t.Errorf("samples of %q: no such type", name)
		}
	}
	return columns
}

func (c columnTypes) declaredColumns(ctx context.Context, conn *pgx.Conn) (columns []typeColumn, err error) {
	for _, d := range declared {
		typ, typmod, err := c.parse(ctx, conn, d.name)
		if err != nil {
			return nil, err
		}
		column := typeColumn{declared: d.name, form: c.form(typ, typmod)}
		for _, sample := range d.samples {
			column.values = append(column.values, quoteLiteral(sample)+"::"+d.name)
		}
		columns = append(columns, column)
	}
	return columns, nil
}

func quoteLiteral(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
