package apply

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// table is a table of the target as the catalog describes it. A new version of the table is a new value.
type table struct {
	source  string // schema.table in the stream
	id      string // its identity in the stream
	oid     string
	name    string // quoted for SQL
	own     string // name, with ONLY if it is not partitioned: tables that inherit from it have records of their own
	schema  string
	plain   string // name without quotes
	columns []column
	byName  map[string]int
	unique  []uniqueIndex // the primary key first

	policy  Policy
	loading bool // a snapshot has not delivered all rows of the table yet

	layout []int // column index of each field of the last record
	names  []string
	keys   keyLayout
}

// keyLayout is the layout of a record's key.
type keyLayout struct {
	columns []int // in key order
	arbiter bool  // a unique index has exactly these columns
}

type column struct {
	name      string
	quoted    string
	typ       string // quoted, without type modifier
	form      *form
	notNull   bool
	generated bool   // a generated column
	identity  bool   // GENERATED ALWAYS AS IDENTITY
	equal     string // equality operator of its type; "": none
}

type uniqueIndex struct {
	name     string
	columns  []int
	deferred bool
}

// writable reports whether an INSERT may set the column.
func (c *column) writable() bool { return !c.generated }

// complete reports whether a row has a value for every column of the table.
func (t *table) complete(row []value) bool {
	for i := range row {
		if row[i].kind == absent && !t.columns[i].generated {
			return false
		}
	}
	return true
}

// described reports whether a row has a value for every column in the last record of the table.
func (t *table) described(row []value) bool {
	return !slices.ContainsFunc(t.layout, func(i int) bool { return i >= 0 && row[i].kind == absent && !t.columns[i].generated })
}

// pgType is a row of pg_type, with its base or element type.
type pgType struct {
	name      string
	quoted    string // "pg_catalog"."int4"
	base      *pgType
	typmod    int32
	element   *pgType
	delimiter byte
	equal     string
}

// catalog reads tables and types from the target.
type catalog struct {
	conn  *pgconn.PgConn
	forms *forms
	types map[uint32]*pgType
}

func newCatalog(conn *pgconn.PgConn, forms *forms) *catalog {
	return &catalog{conn, forms, map[uint32]*pgType{}}
}

const typeQuery = `SELECT t.typname, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(t.typname), t.typbasetype::pg_catalog.text, t.typtypmod::pg_catalog.text,
  coalesce(e.oid, 0)::pg_catalog.text, t.typdelim::pg_catalog.text,
  ` + postgres.EqualOperator + `
FROM pg_catalog.pg_type AS t JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_type AS e ON e.typarray = t.oid
WHERE t.oid = $1::pg_catalog.oid`

const maxTypeDepth = 16

func (c *catalog) typeOf(ctx context.Context, oid uint32, depth int) (*pgType, error) {
	if t := c.types[oid]; t != nil {
		return t, nil
	}
	rows, err := postgres.Query(ctx, c.conn, typeQuery, strconv.FormatUint(uint64(oid), 10))
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || depth > maxTypeDepth {
		return nil, fmt.Errorf("type %d is not in the catalog of the target", oid)
	}
	row := rows[0]
	t := &pgType{name: row[0], quoted: row[1], typmod: int32(integer(row[3])), delimiter: row[5][0], equal: row[6]}
	if base := integer(row[2]); base != 0 {
		if t.base, err = c.typeOf(ctx, uint32(base), depth+1); err != nil {
			return nil, err
		}
		t.equal = t.base.equal
	}
	if element := integer(row[4]); element != 0 {
		if t.element, err = c.typeOf(ctx, uint32(element), depth+1); err != nil {
			return nil, err
		}
		if t.equal = t.element.equal; t.equal != "" {
			t.equal = "OPERATOR(pg_catalog.=)"
		}
	}
	c.types[oid] = t
	return t, nil
}

func integer(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

const tableQuery = `SELECT c.oid::pg_catalog.text, pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), c.relkind::pg_catalog.text,
  pg_catalog.row_security_active(c.oid)::pg_catalog.text
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'f', 'v')`

const columnsQuery = `SELECT a.attname, pg_catalog.quote_ident(a.attname), a.atttypid::pg_catalog.text, a.atttypmod::pg_catalog.text, a.attnotnull::pg_catalog.text,
  a.attgenerated::pg_catalog.text, a.attidentity::pg_catalog.text, a.attnum::pg_catalog.text
FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`

const uniqueQuery = `SELECT c.relname, (NOT i.indimmediate)::pg_catalog.text, pg_catalog.array_to_string((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1], ' ')
FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
ORDER BY i.indisprimary DESC, c.relname`

// table reads a table from the catalog; nil if it does not exist.
func (c *catalog) table(ctx context.Context, schema, name string) (*table, error) {
	rows, err := postgres.Query(ctx, c.conn, tableQuery, schema, name)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	oid := rows[0][0]
	t := &table{oid: oid, name: rows[0][1], schema: schema, plain: schema + "." + name, byName: map[string]int{}}
	if rows[0][3] == "true" {
		return nil, Halt{fmt.Sprintf("row security applies to the user of --postgres in table %s of the target", t.plain),
			"ALTER ROLE … BYPASSRLS, or let the owner of the table apply"}
	}
	if rows[0][2] == "f" || rows[0][2] == "v" {
		return nil, Halt{fmt.Sprintf("%s of the target is not a table", t.plain), "rename it, or map the table of the stream to another name with --map"}
	}
	t.own = t.name
	if rows[0][2] == "r" {
		t.own = "ONLY " + t.name
	}
	numbers := map[string]int{}
	if rows, err = postgres.Query(ctx, c.conn, columnsQuery, oid); err != nil {
		return nil, err
	}
	for _, row := range rows {
		typ, err := c.typeOf(ctx, uint32(integer(row[2])), 0)
		if err != nil {
			return nil, fmt.Errorf("column %s.%s: %w", t.plain, row[0], err)
		}
		numbers[row[7]] = len(t.columns)
		t.byName[row[0]] = len(t.columns)
		t.columns = append(t.columns, column{
			name: row[0], quoted: row[1], typ: typ.quoted, form: c.forms.of(typ, int32(integer(row[3]))), notNull: row[4] == "true",
			generated: row[5] != "", identity: row[6] == "a", equal: typ.equal,
		})
	}
	if rows, err = postgres.Query(ctx, c.conn, uniqueQuery, oid); err != nil {
		return nil, err
	}
	for _, row := range rows {
		index := uniqueIndex{name: row[0], deferred: row[1] == "true"}
		for number := range strings.FieldsSeq(row[2]) {
			index.columns = append(index.columns, numbers[number])
		}
		t.unique = append(t.unique, index)
	}
	return t, nil
}

// sameColumns reports whether two lists have the same columns, in any order.
func sameColumns(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for _, column := range a {
		if !slices.Contains(b, column) {
			return false
		}
	}
	return true
}
