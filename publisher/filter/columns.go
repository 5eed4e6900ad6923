package filter

import (
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// OIDs of pg_type.dat.
const (
	OIDName    = 19
	OIDText    = 25
	OIDBPChar  = 1042
	OIDVarchar = 1043
)

// ColumnIndex returns the index of the column with this name, or -1 if there is none.
func ColumnIndex(r *pgoutput.Relation, name string) int {
	return slices.IndexFunc(r.Columns, func(c pgoutput.Column) bool { return c.Name == name })
}

// QuoteName quotes an identifier for SQL.
func QuoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
