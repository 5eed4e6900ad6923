package property

import "strings"

// What the documentation says that the topics do not have is no finding. All of that is in here. What the scripts do not do: TRUNCATE of a
// partition, UPDATE and DELETE of a table without an identity, which are not published (docs/guarantees.md).

// excused reports whether a value that differs, or is not there, is as documented.
func (j *judged) excused(c *column, value string, told bool) bool {
	switch {
	case !told && c.generated != "" && (c.virtual || j.major < 18):
		return true // stored generated columns are published from PostgreSQL 18 on, virtual ones never (docs/client-visible.md)
	case !told && c.filled:
		return true // the default of a new column fills rows without a change of them (PostgreSQL, "ALTER TABLE ... ADD COLUMN")
	case strings.Contains(value, unavailable) && j.filtered:
		return true // the row came into view by an update that did not touch the value, so the log does not have it (docs/records.md, "where")
	}
	return false
}

// keyExcused reports whether the key need not be the one of the style.
func (j *judged) keyExcused() bool {
	return j.table.style.generate && j.major < 18 // the column of the key is in no log
}
