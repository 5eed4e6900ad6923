package consume

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// table is the table to write to, with the origins of its columns.
type table struct {
	name    string   // quoted for SQL
	columns []column // columns that a record may fill: key columns first, then those always filled, then the optional ones
	keys    int      // number of key columns
	always  int      // number of columns that every record fills, with NULL for a missing value; the others then keep their default
}

// column is a column that a record may fill.
type column struct {
	name   string
	quoted string
	kind   kind
	equal  string // equality operator of its type; "": none
	origin origin
}

// kind says how JSON is converted for a type.
type kind int

const (
	plain     kind = iota // a string becomes its text, anything else stays as written
	document              // json and jsonb: JSON unchanged
	list                  // an array
	documents             // an array of json or jsonb
	binary                // bytea
)

// maxOptional bounds the number of columns that are left out if a record has no value: each needs a bit of the mask.
const maxOptional = 64

const columnsQuery = `SELECT a.attname, pg_catalog.quote_ident(a.attname), t.typname, coalesce(e.typname, ''), a.attgenerated::text,
  (a.atthasdef OR a.attidentity <> '')::text, ` + postgres.EqualOperator + `
FROM pg_attribute AS a JOIN pg_type AS d ON d.oid = a.atttypid
JOIN pg_type AS t ON t.oid = CASE d.typbasetype WHEN 0 THEN d.oid ELSE d.typbasetype END
LEFT JOIN pg_type AS e ON e.typarray = t.oid
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`

const tableQuery = `SELECT c.oid::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`

// lookUp reads the definition of the table; nil if the table does not exist.
func (c *Config) lookUp(ctx context.Context, conn *pgconn.PgConn) (*table, error) {
	rows, err := postgres.Query(ctx, conn, tableQuery, c.Schema, c.Table)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	if kind := rows[0][2]; kind != "r" && kind != "p" {
		return nil, Halt{fmt.Sprintf("--into %s.%s is no table", c.Schema, c.Table), "name a table"}
	}
	t := &table{name: rows[0][1]}
	if rows, err = postgres.Query(ctx, conn, columnsQuery, rows[0][0]); err != nil {
		return nil, err
	}
	from, keys, err := c.Mapping.origins()
	if err != nil {
		return nil, Halt{err.Error(), "correct the flag"}
	}
	if err := t.refuseUnknown(rows, from, c.Mapping.Columns); err != nil {
		return nil, err
	}
	var optional []column
	chosen := make([]column, len(keys))
	lines := 0
	for _, row := range rows {
		one := column{name: row[0], quoted: row[1], kind: kindOf(row[2], row[3]), equal: row[6]}
		generated, hasDefault := row[4] != "", row[5] == "true"
		wanted, explicit := c.fills(&one, from)
		if one.origin.kind == byLine && wanted && !generated {
			if one.origin.line = lines; explicit {
				one.origin.line = slices.Index(c.Mapping.Columns, one.name)
			}
			lines++
		}
		switch at := slices.Index(keys, one.name); {
		case generated && explicit:
			return nil, Halt{fmt.Sprintf("column %s of %s is generated", one.name, t.name), "leave it out of the flags: PostgreSQL computes it"}
		case generated || !wanted:
		case at >= 0:
			chosen[at] = one
		case !explicit && hasDefault && one.origin.kind == byName && len(optional) < maxOptional:
			optional = append(optional, one)
		default:
			t.columns = append(t.columns, one)
		}
	}
	t.columns = append(chosen, t.columns...)
	t.keys, t.always = len(keys), len(t.columns)
	t.columns = append(t.columns, optional...)
	if len(t.columns) == 0 {
		return nil, Halt{fmt.Sprintf("nothing of a record would go into %s", t.name), "name a column: --map COLUMN=$ takes the whole value"}
	}
	return t, nil
}

// fills reports whether a record fills a column, and whether a flag names the column.
func (c *Config) fills(one *column, from map[string]origin) (wanted, explicit bool) {
	if o, named := from[one.name]; named {
		one.origin = o
		return true, true
	}
	list := c.Mapping.Columns
	listed := slices.Contains(list, one.name)
	if c.Format == CSV || c.Format == TSV {
		one.origin.kind = byLine
		return listed || len(list) == 0, listed
	}
	return (listed || len(list) == 0) && (c.Format == JSON || c.Format == Avro), false
}

// refuseUnknown returns an error if flags name columns that the table does not have.
func (t *table) refuseUnknown(rows [][]string, from map[string]origin, list []string) error {
	named := slices.Concat(slices.Sorted(maps.Keys(from)), list)
	for _, column := range named {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[0] == column }) {
			return Halt{fmt.Sprintf("table %s has no column %s, which a flag names", t.name, column), "correct the flag, or add the column"}
		}
	}
	return nil
}

func kindOf(name, element string) kind {
	switch {
	case name == "json" || name == "jsonb":
		return document
	case element == "json" || element == "jsonb":
		return documents
	case element != "":
		return list
	case name == "bytea":
		return binary
	}
	return plain
}

// names lists columns; mask selects the optional ones.
func (t *table) names(mask uint64, only func(i int) bool) []string {
	var names []string
	for i := range t.columns {
		if t.filled(i, mask) && (only == nil || only(i)) {
			names = append(names, t.columns[i].quoted)
		}
	}
	return names
}

// filled reports whether a record with this mask fills a column.
func (t *table) filled(i int, mask uint64) bool { return i < t.always || mask>>(i-t.always)&1 != 0 }

// stage is a temporary table for rows that COPY has written and INSERT has not taken yet. It does not interfere with other sessions.
const stage = "pg_temp.pgtee_consume"

func (t *table) stageSQL() string {
	return fmt.Sprintf("DROP TABLE IF EXISTS %s; CREATE TEMP TABLE pgtee_consume ON COMMIT DELETE ROWS AS SELECT %s FROM %s WITH NO DATA", stage, strings.Join(t.names(^uint64(0), nil), ", "), t.name)
}

func (t *table) copySQL(into string, mask uint64) string {
	return fmt.Sprintf("COPY %s (%s) FROM STDIN", into, strings.Join(t.names(mask, nil), ", "))
}

// copyKeysSQL is the COPY for rows to be deleted.
func (t *table) copyKeysSQL() string {
	return fmt.Sprintf("COPY %s (%s) FROM STDIN", stage, strings.Join(t.keyNames(), ", "))
}

func (t *table) keyNames() []string {
	return t.names(0, func(i int) bool { return i < t.keys })
}

func (t *table) upsertSQL(mask uint64) string {
	columns := strings.Join(t.names(mask, nil), ", ")
	var set []string
	for i := t.keys; i < len(t.columns); i++ { // a record replaces the row: columns that it lacks are set as in a new row
		value := "DEFAULT"
		if t.filled(i, mask) {
			value = "excluded." + t.columns[i].quoted
		}
		set = append(set, t.columns[i].quoted+" = "+value)
	}
	action := "DO NOTHING"
	if len(set) > 0 {
		action = "DO UPDATE SET " + strings.Join(set, ", ")
	}
	return fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s ON CONFLICT (%s) %s", t.name, columns, columns, stage, strings.Join(t.keyNames(), ", "), action)
}

func (t *table) deleteSQL() string {
	var same []string
	for _, c := range t.columns[:t.keys] {
		if c.equal == "" {
			same = append(same, fmt.Sprintf("t.%[1]s::text = s.%[1]s::text", c.quoted))
		} else {
			same = append(same, fmt.Sprintf("t.%[1]s %[2]s s.%[1]s", c.quoted, c.equal))
		}
	}
	return fmt.Sprintf("DELETE FROM %s AS t USING %s AS s WHERE %s", t.name, stage, strings.Join(same, " AND "))
}
