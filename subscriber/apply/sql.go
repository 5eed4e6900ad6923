package apply

import (
	"fmt"
	"slices"
	"strings"
)

// settable returns the columns whose values an UPDATE changes: no key columns unless the key has changed, and no generated columns.
func settable(t *table, keys, columns []int, moved bool) []int {
	return slices.DeleteFunc(slices.Clone(columns), func(c int) bool {
		return t.columns[c].generated || !moved && slices.Contains(keys, c)
	})
}

// fixed reports whether a table has a column besides these that no UPDATE can set: GENERATED ALWAYS AS IDENTITY.
func (t *table) fixed(keys []int) bool {
	for i := range t.columns {
		if t.columns[i].identity && !slices.Contains(keys, i) {
			return true
		}
	}
	return false
}

// upserts reports whether INSERT … ON CONFLICT can replace the values of a row.
func (t *table) upserts(keys []int) bool { return t.keys.arbiter && !t.fixed(keys) }

// cast returns a text parameter converted to the column's type.
func (c *column) cast(parameter string) string {
	switch c.typ {
	case "pg_catalog.text":
		return parameter
	case "pg_catalog.regclass": // its cast from text is not its input function, which accepts - and numbers
		return "pg_catalog.regclassin(pg_catalog.textout(" + parameter + "))"
	}
	return parameter + "::" + c.typ
}

// unnested returns a list of rows from arrays of text: x with columns c0, c1, ...
func unnested(n int) string {
	params, names := make([]string, n), make([]string, n)
	for i := range n {
		params[i], names[i] = fmt.Sprintf("$%d::pg_catalog.text[]", i+1), fmt.Sprintf("c%d", i)
	}
	// unnest with several arrays is special syntax and cannot be schema-qualified.
	return "unnest(" + strings.Join(params, ", ") + ") AS x(" + strings.Join(names, ", ") + ")"
}

// sameAs compares a row's column with a parameter, as text if the type has no equality operator.
func (c *column) sameAs(row, parameter string) string {
	if c.equal == "" {
		return fmt.Sprintf("%s.%s::pg_catalog.text = (%s)::pg_catalog.text", row, c.quoted, c.cast(parameter))
	}
	return fmt.Sprintf("%s.%s %s %s", row, c.quoted, c.equal, c.cast(parameter))
}

// sameKey compares the key columns with the first columns of x, or with NULL where key has NULL. Keys without NULL may be nil.
func sameKey(t *table, keys []int, key []byte) string {
	var parts []string
	for i, k := range keys {
		parts = append(parts, t.columns[k].sameAs("t", fmt.Sprintf("x.c%d", i)))
	}
	i := 0
	keyParts(key, func(text []byte) {
		if text == nil {
			parts[i] = fmt.Sprintf("t.%s IS NULL", t.columns[keys[i]].quoted)
		}
		i++
	})
	return strings.Join(parts, " AND ")
}

func deleteSQL(t *table, keys []int, key []byte) string {
	return fmt.Sprintf("DELETE FROM %s AS t USING %s WHERE %s", t.own, unnested(len(keys)), sameKey(t, keys, key))
}

// updateSQL cannot set columns GENERATED ALWAYS AS IDENTITY, so it finds only rows in which they already have the new values: see rewrite.
func updateSQL(t *table, keys []int, key []byte, columns []int, moved bool) string {
	set := settable(t, keys, columns, moved)
	var parts []string
	where := sameKey(t, keys, key)
	for i, c := range set {
		column, x := &t.columns[c], fmt.Sprintf("x.c%d", len(keys)+i)
		if column.identity {
			where += " AND " + column.sameAs("t", x)
		} else {
			parts = append(parts, fmt.Sprintf("%s = %s", column.quoted, column.cast(x)))
		}
	}
	list := unnested(len(keys) + len(set))
	if len(parts) == 0 {
		return fmt.Sprintf("SELECT FROM %s AS t, %s WHERE %s", t.own, list, where)
	}
	return fmt.Sprintf("UPDATE %s AS t SET %s FROM %s WHERE %s", t.own, strings.Join(parts, ", "), list, where)
}

// rewriteSQL replaces the row that a DELETE finds: the columns get the parameters that follow those of the DELETE, the others keep their values.
func rewriteSQL(t *table, remove statement, columns []int) string {
	var into, values []string
	for i := range t.columns {
		column := &t.columns[i]
		if !column.writable() {
			continue
		}
		value := "gone." + column.quoted
		if n := slices.Index(columns, i); n >= 0 {
			value = column.cast(fmt.Sprintf("x.c%d", len(remove.params)+n))
		}
		into, values = append(into, column.quoted), append(values, value)
	}
	return fmt.Sprintf("WITH gone AS (%s RETURNING t.*) INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM gone, %s",
		remove.sql, t.name, strings.Join(into, ", "), strings.Join(values, ", "), unnested(len(remove.params)+len(columns)))
}

func insertSQL(t *table, columns []int) string {
	if len(columns) == 0 {
		return fmt.Sprintf("INSERT INTO %s DEFAULT VALUES", t.name)
	}
	var values []string
	for i, c := range columns {
		values = append(values, t.columns[c].cast(fmt.Sprintf("x.c%d", i)))
	}
	return fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s", t.name, t.list(columns), strings.Join(values, ", "), unnested(len(columns)))
}

func upsertSQL(t *table, keys, columns []int) string {
	var parts []string
	for _, c := range settable(t, keys, columns, false) {
		parts = append(parts, fmt.Sprintf("%[1]s = excluded.%[1]s", t.columns[c].quoted))
	}
	action := "DO NOTHING"
	if len(parts) > 0 {
		action = "DO UPDATE SET " + strings.Join(parts, ", ")
	}
	return fmt.Sprintf("%s ON CONFLICT (%s) %s", insertSQL(t, columns), t.list(keys), action)
}

func copySQL(t *table, columns []int) string {
	return fmt.Sprintf("COPY %s (%s) FROM STDIN", t.name, t.list(columns))
}

func (t *table) list(columns []int) string {
	var names []string
	for _, c := range columns {
		names = append(names, t.columns[c].quoted)
	}
	return strings.Join(names, ", ")
}
