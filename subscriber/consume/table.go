package consume

import (
	"context"
	"errors"
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
	version string   // changes with every change of the definition
	columns []column // columns that a record may fill: key columns first, then those always filled, then the optional ones
	keys    int      // number of key columns
	always  int      // number of columns that every record fills, with NULL for a missing value; the others then keep their default
}

// column is a column that a record may fill.
type column struct {
	name    string
	quoted  string
	kind    kind
	equal   string // equality operator of its type; "": none
	initial string // SQL of its default; "": none
	origin  origin
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

const columnsQuery = `SELECT a.attname, quote_ident(a.attname), t.typname, coalesce(e.typname, ''), a.attgenerated::text, a.attidentity::text, ` + postgres.EqualOperator + `,
  CASE WHEN a.attidentity <> '' THEN 'nextval(' || quote_literal(pg_get_serial_sequence(a.attrelid::regclass::text, a.attname)) || ')'
    ELSE coalesce(pg_get_expr(f.adbin, f.adrelid), '') END
FROM pg_attribute AS a LEFT JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum JOIN pg_type AS d ON d.oid = a.atttypid
JOIN pg_type AS t ON t.oid = CASE d.typbasetype WHEN 0 THEN d.oid ELSE d.typbasetype END
LEFT JOIN pg_type AS e ON e.typarray = t.oid
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`

// tableVersion is made of the row versions that define the columns: each ALTER TABLE of a column, its type or its default writes a new one.
const tableVersion = `c.oid || ':' || (SELECT string_agg(a.attnum || ' ' || a.xmin, ',' ORDER BY a.attnum) FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0)`

const namedTable = ` FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`

const tableQuery = `SELECT c.oid::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text, ` + tableVersion + namedTable

// sameTable fails with a division by zero if the table is no longer the one with this version.
const sameTable = `SELECT 1 / count(*)` + namedTable + ` AND ` + tableVersion + ` = $3`

// errTableChanged ends a session: the next one reads the definition again.
var errTableChanged = errors.New("the definition of the table has changed")

// lookUp reads the definition of the table; nil if the table does not exist.
func (c *Config) lookUp(ctx context.Context, conn *pgconn.PgConn) (*table, error) {
	rows, err := postgres.Query(ctx, conn, tableQuery, c.Schema, c.Table)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	if kind := rows[0][2]; kind != "r" && kind != "p" {
		return nil, Halt{fmt.Sprintf("--into %s.%s is not a table", c.Schema, c.Table), "name a table"}
	}
	t := &table{name: rows[0][1], version: rows[0][3]}
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
		one := column{name: row[0], quoted: row[1], kind: kindOf(row[2], row[3]), equal: row[6], initial: row[7]}
		at := slices.Index(keys, one.name)
		generated := row[4] != "" || row[5] == "a" && len(keys) > 0 && at < 0 // no UPDATE can set an identity that is GENERATED ALWAYS
		wanted, explicit := c.fills(&one, from)
		if wanted && !generated && c.hasField(&one) {
			lines++
			one.origin.line = lines
			if len(c.Mapping.Columns) > 0 {
				one.origin.line = slices.Index(c.Mapping.Columns, one.name) + 1
			}
		}
		switch {
		case generated && explicit:
			return nil, Halt{fmt.Sprintf("column %s of %s is generated", one.name, t.name), "leave it out of the flags: PostgreSQL computes it"}
		case generated || !wanted:
		case at >= 0:
			chosen[at] = one
		case !explicit && one.initial != "" && one.origin.kind == byName && len(optional) < maxOptional:
			optional = append(optional, one)
		default:
			t.columns = append(t.columns, one)
		}
	}
	t.columns = append(chosen, t.columns...)
	t.keys, t.always = len(keys), len(t.columns)
	t.columns = append(t.columns, optional...)
	if len(t.columns) == 0 {
		return nil, Halt{fmt.Sprintf("a record would fill no column of %s", t.name), "name a column: --map COLUMN=$ fills it with the whole value"}
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
	if c.hasLines() {
		one.origin.kind = byLine
		return listed || len(list) == 0, listed
	}
	return (listed || len(list) == 0) && (c.Format == JSON || c.Format == Avro), false
}

// hasField reports whether a line may have a field for a column. A key column has one too, for records without a key.
func (c *Config) hasField(one *column) bool {
	return c.hasLines() && (one.origin.kind == byLine || one.origin.kind == byKey)
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

// names lists the columns that a record with this mask fills.
func (t *table) names(mask uint64) (names []string) {
	for i := range t.columns {
		if t.filled(i, mask) {
			names = append(names, t.columns[i].quoted)
		}
	}
	return names
}

func (t *table) keyNames() (names []string) {
	for i := range t.keys {
		names = append(names, t.columns[i].quoted)
	}
	return names
}

// filled reports whether a record with this mask fills a column.
func (t *table) filled(i int, mask uint64) bool { return i < t.always || mask>>(i-t.always)&1 != 0 }

// stage is a temporary table for rows that COPY has written and INSERT has not taken yet, for a table with a key. It does not interfere with other
// sessions. Besides the columns to fill it has the row's index in the batch, and whether the row deletes the one with its key.
const (
	stage        = "pg_temp.pgtee_consume"
	stageIndex   = `"pgtee index"`
	stageDeletes = `"pgtee deletes"`
)

// stageSQL creates the stage. Its columns have the table's defaults, for columns that COPY does not fill.
func (t *table) stageSQL() string {
	sql := fmt.Sprintf("DROP TABLE IF EXISTS %s; CREATE TEMP TABLE pgtee_consume ON COMMIT DELETE ROWS AS SELECT %s, 0 AS %s, false AS %s FROM %s WITH NO DATA",
		stage, strings.Join(t.names(^uint64(0)), ", "), stageIndex, stageDeletes, t.name)
	for i := t.always; i < len(t.columns); i++ {
		sql += fmt.Sprintf("; ALTER TABLE %s ALTER COLUMN %s SET DEFAULT %s", stage, t.columns[i].quoted, t.columns[i].initial)
	}
	return sql
}

// copySQL is the COPY for lines of one shape: into the table or, if it has a key, into the stage.
func (t *table) copySQL(s shape) string {
	into, names := t.name, t.names(s.mask)
	if s.deletes {
		names = t.keyNames()
	}
	if t.keys > 0 {
		into, names = stage, append(names, stageIndex, stageDeletes)
	}
	return fmt.Sprintf("COPY %s (%s) FROM STDIN", into, strings.Join(names, ", "))
}

// isLast is the condition for a row of the stage to be the last one with its key: the others have no effect. Only the server knows which keys are equal:
// 1 and 1.0, or a uuid in upper and in lower case, may be.
func (t *table) isLast() string {
	return fmt.Sprintf("%[1]s OPERATOR(pg_catalog.=) ANY (SELECT pg_catalog.max(%[1]s) FROM %[2]s GROUP BY %[3]s)", stageIndex, stage, strings.Join(t.keyNames(), ", "))
}

// upsertSQL moves rows from the stage into the table, in the order of the records.
func (t *table) upsertSQL() string {
	columns := strings.Join(t.names(^uint64(0)), ", ")
	var set []string
	for _, c := range t.columns[t.keys:] { // a record replaces the row: columns that it lacks are set as in a new row
		set = append(set, fmt.Sprintf("%[1]s = excluded.%[1]s", c.quoted))
	}
	action := "DO NOTHING"
	if len(set) > 0 {
		action = "DO UPDATE SET " + strings.Join(set, ", ")
	}
	return fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s WHERE NOT %s AND %s ORDER BY %s ON CONFLICT (%s) %s",
		t.name, columns, columns, stage, stageDeletes, t.isLast(), stageIndex, strings.Join(t.keyNames(), ", "), action)
}

// keepSQL keeps what was written since the last savepoint, and empties the stage for what follows.
func (t *table) keepSQL() string {
	if t.keys == 0 {
		return "RELEASE SAVEPOINT r; SAVEPOINT r"
	}
	return "RELEASE SAVEPOINT r; TRUNCATE " + stage + "; SAVEPOINT r"
}

// deleteSQL deletes the rows with the keys in the stage whose last record is a tombstone.
func (t *table) deleteSQL() string {
	var same []string
	for _, c := range t.columns[:t.keys] {
		if c.equal == "" {
			same = append(same, fmt.Sprintf("t.%[1]s::pg_catalog.text OPERATOR(pg_catalog.=) s.%[1]s::pg_catalog.text", c.quoted))
		} else {
			same = append(same, fmt.Sprintf("t.%[1]s %[2]s s.%[1]s", c.quoted, c.equal))
		}
	}
	return fmt.Sprintf("DELETE FROM %s AS t USING %s AS s WHERE %s AND %s AND %s", t.name, stage, stageDeletes, t.isLast(), strings.Join(same, " AND "))
}
