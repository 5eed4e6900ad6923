package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Every type that a column may have comes back from the topics as the value that is stored, save what Debezium's form of it does
// not carry.
func TestApplyEveryType(t *testing.T) {
	for _, c := range typesCases {
		t.Run(c.name, func(t *testing.T) {
			a := newApplied(t, typesSchema, c.args...)
			conn := a.dial(a.URL())
			defer conn.Close(a.ctx)
			tables := typeTables(t, a.ctx, conn)
			for i := range tables {
				tables[i].columns = slices.DeleteFunc(tables[i].columns, func(column typeColumn) bool {
					return column.printed || strings.HasPrefix(column.declared, "pgtee.")
				})
				a.Exec(tables[i].create())
				a.ExecTarget(tables[i].create())
			}
			writer := a.dial(a.ProxyURL("postgres", "types"))
			defer writer.Close(a.ctx)
			for _, table := range tables {
				for i := range table.rows() {
					if _, err := writer.Exec(a.ctx, table.insert(i), pgx.QueryExecModeSimpleProtocol); err != nil {
						t.Fatal(err)
					}
				}
			}
			args := slices.DeleteFunc(slices.Clone(c.args), func(arg string) bool { return arg == "--format" || arg == "json-schema" })
			a.ExpectApplied(append(args, "--ddl", "ignore")...)
			a.expectTypes(c, tables)
		})
	}
}

// expectTypes compares the texts of all columns; those that differ must be the ones that the case names.
func (a *applied) expectTypes(c typesCase, tables []typeTable) {
	a.t.Helper()
	var differ []string
	values := 0
	for _, table := range tables {
		for i, column := range table.columns {
			sql := fmt.Sprintf("SELECT coalesce(string_agg(id || ' ' || coalesce(format('%%s', %[1]s), 'NULL'), E'\\n' ORDER BY id), '') FROM %[2]s", columnName(i), table.name)
			source, target := a.valueAt(a.URL(), sql), a.valueAt(a.targetURL(), sql)
			values += strings.Count(source, "\n") + 1
			if source == target {
				continue
			}
			differ = append(differ, column.declared)
			if !slices.Contains(c.lost, column.declared) && !slices.Contains(c.text, column.declared) {
				a.t.Errorf("%s:\n%.500s\ncame back as\n%.500s", column.declared, source, target)
			}
		}
	}
	a.t.Logf("%d values, columns that differ: %q", values, differ)
}

func (a *applied) valueAt(url, sql string) (value string) {
	a.t.Helper()
	conn := a.dial(url)
	defer conn.Close(a.ctx)
	if err := conn.QueryRow(a.ctx, sql).Scan(&value); err != nil {
		a.t.Fatalf("%s: %v", sql, err)
	}
	return value
}
