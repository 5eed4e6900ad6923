package property

import (
	"strings"

	"github.com/pgtee/pgtee/integration/verdict"
)

// Differences that the documentation mentions are not findings; all of them are listed here. The scripts avoid TRUNCATE of a partition, and UPDATE and
// DELETE of a table without an identity, which are not published (docs/guarantees.md).

// excused reports whether a value that differs, or is missing, is as documented.
func (j *judged) excused(c *column, value string, told bool) bool {
	switch {
	case !told && c.generated != "" && (c.virtual || j.major < 18):
		return true // stored generated columns are published since PostgreSQL 18, virtual ones never (docs/client-visible.md)
	case !told && c.filled:
		return true // the default of a new column fills rows without changing them (PostgreSQL, "ALTER TABLE ... ADD COLUMN")
	case strings.Contains(value, verdict.Unavailable) && j.filtered:
		return true // an update that did not touch the value made the row match the filter, so the value is not in the WAL (docs/records.md, "where")
	}
	return false
}

// keyExcused reports whether the key may differ from that of the style.
func (j *judged) keyExcused() bool {
	return j.table.style.generate && j.major < 18 // the column of the key is not in the WAL
}
