package outbox

import (
	_ "embed"
	"strings"
)

// The questions of what tables and types are: the publisher asks them of the catalog, and so do the event triggers, of what was there
// before a command. $1 is the OID; the search_path is pg_catalog. The answer is JSON, or no row.
var (
	//go:embed sql/describe_table.sql
	DescribeTableSQL string
	//go:embed sql/describe_type.sql
	DescribeTypeSQL string
)

// withDescriptions puts the questions into the functions that ask them. There, the text of a default may name what the command has dropped.
func withDescriptions(sql string) string {
	table := strings.ReplaceAll(DescribeTableSQL, "pg_get_expr(d.adbin, 0)", "pgtee.expression(d.adbin)")
	return strings.NewReplacer("{{describe_table}}", table, "{{describe_type}}", DescribeTypeSQL).Replace(sql)
}

// PastFunction tells, of a database whose setup was of this version, what a table (kind r) or a type (t) was at a place of the log.
const PastFunction = `pgtee.past("char", oid, pg_lsn)`
