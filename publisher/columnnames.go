package publisher

import (
	"slices"
	"strings"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// OIDs of pg_type.dat.
const (
	oidName    = 19
	oidText    = 25
	oidBPChar  = 1042
	oidVarchar = 1043
)

// columnIndex returns where the column of that name is, -1 if there is none.
func columnIndex(r *pgoutput.Relation, name string) int {
	return slices.IndexFunc(r.Columns, func(c pgoutput.Column) bool { return c.Name == name })
}

// quoteName quotes an identifier for SQL.
func quoteName(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// isCharacter says whether the values of a column are text.
func isCharacter(c pgoutput.Column) bool {
	switch classOf(c) {
	case textClass, padClass, caselessClass:
		return true
	}
	return false
}
