package outbox

import (
	_ "embed"
	"strings"
)

// The queries that describe tables and types. The publisher uses them to describe the current catalog, the event triggers to describe what existed
// before a command. $1 is the OID; the search_path is pg_catalog. The result is JSON, or no row.
var (
	//go:embed sql/describe_table.sql
	DescribeTableSQL string
	//go:embed sql/describe_type.sql
	DescribeTypeSQL string
)

// withDescriptions inserts the queries into the functions that use them. There, the expression of a default may refer to an object that the command
// has dropped.
func withDescriptions(sql string) string {
	table := strings.ReplaceAll(DescribeTableSQL, "pg_get_expr(d.adbin, 0)", "pgtee.expression(d.adbin)")
	return strings.NewReplacer("{{describe_table}}", table, "{{describe_type}}", DescribeTypeSQL).Replace(sql)
}

// PastFunction returns the description of a table (kind r) or a type (kind t) as it was at a place in the WAL. It exists if setup was run by this
// version.
const PastFunction = `pgtee.past("char", oid, pg_lsn)`
