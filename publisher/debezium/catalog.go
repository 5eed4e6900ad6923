package debezium

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// Catalog knows what pgoutput does not say about types and tables. It tells what is there now, which
// may be newer than the change that is being encoded. An error means that it could not be asked, so
// the change cannot be encoded now: without the answer its record would be another one.
type Catalog interface {
	// Type describes a type that is not built in; false: there is none, or not any more.
	Type(oid uint32) (Type, bool, error)
	// Table describes the table with the OID of a Relation; false: there is none, or not any more.
	Table(oid uint32) (Table, bool, error)
}

// Kinds of a Type: pg_type.typtype.
const (
	KindBase   = 'b'
	KindDomain = 'd'
	KindEnum   = 'e'
)

// Type is what an encoder needs of a row of pg_type.
type Type struct {
	Name      string `json:"name"`
	Kind      byte   `json:"kind"`
	Base      uint32 `json:"base,omitempty"`      // of a domain
	TypeMod   int32  `json:"typmod,omitempty"`    // of a domain, -1 for none
	Element   uint32 `json:"element,omitempty"`   // of an array, else 0
	Delimiter byte   `json:"delimiter,omitempty"` // between the elements of an array
	Labels    string `json:"labels,omitempty"`    // of an enum: "a,b", in its order
}

// Table is what an encoder needs to know of a table.
type Table struct {
	// NotNull names the columns that cannot be null, by their own or their domain's constraint.
	NotNull []string `json:"not_null,omitempty"`
	// Keys are the unique indexes on whole columns that cannot be null: the primary key first, then
	// the replica identity, then the others by name. Columns are in the order of the index.
	Keys [][]string `json:"keys,omitempty"`
	// Defaults are the expressions of column defaults, as pg_get_expr prints them, by column. The
	// expressions of generated columns are not among them.
	Defaults map[string]string `json:"defaults,omitempty"`
}

// LookupError is a catalog that could not be asked. It is temporary: the same change can be encoded
// once the database answers.
type LookupError struct {
	What string // "type 16385"
	Err  error
}

func (e *LookupError) Error() string {
	return "look up " + e.What + " in the catalog: " + e.Err.Error()
}
func (e *LookupError) Unwrap() error   { return e.Err }
func (e *LookupError) Temporary() bool { return true }

func lookupError(what string, oid uint32, err error) error {
	return &LookupError{fmt.Sprintf("%s %d", what, oid), err}
}

// emptyCatalog knows nothing.
type emptyCatalog struct{}

func (emptyCatalog) Type(uint32) (Type, bool, error)   { return Type{}, false, nil }
func (emptyCatalog) Table(uint32) (Table, bool, error) { return Table{}, false, nil }

// Database is the catalog of a running database. It connects when it is first asked, again after
// a broken connection, and remembers types: those of one OID do not change. It is used by one
// goroutine at a time.
type Database struct {
	connString string
	conn       *pgconn.PgConn
	types      map[uint32]Type
}

// NewDatabase makes the catalog of the database that connString names. Reading the catalog needs no
// privilege but CONNECT.
func NewDatabase(connString string) *Database {
	return &Database{connString: connString, types: map[uint32]Type{}}
}

// Close closes the connection, if there is one.
func (d *Database) Close(ctx context.Context) error {
	if d.conn == nil {
		return nil
	}
	return d.conn.Close(ctx)
}

// lookupTimeout bounds one question, connecting included.
const lookupTimeout = 10 * time.Second

const typeQuery = `SELECT t.typname, t.typtype::pg_catalog.text, t.typbasetype, t.typtypmod, coalesce(e.oid, 0), coalesce(e.typdelim, ',')::pg_catalog.text,
  coalesce((SELECT pg_catalog.string_agg(l.enumlabel, ',' ORDER BY l.enumsortorder) FROM pg_catalog.pg_enum AS l WHERE l.enumtypid OPERATOR(pg_catalog.=) t.oid), '')
FROM pg_catalog.pg_type AS t
LEFT JOIN pg_catalog.pg_type AS e ON e.oid = t.typelem AND t.typsubscript = 'pg_catalog.array_subscript_handler'::pg_catalog.regproc
WHERE t.oid = $1::pg_catalog.oid`

func (d *Database) Type(oid uint32) (Type, bool, error) {
	if t, ok := d.types[oid]; ok {
		return t, true, nil
	}
	rows, err := d.query(typeQuery, oid)
	if err != nil {
		return Type{}, false, lookupError("type", oid, err)
	}
	if len(rows) == 0 {
		return Type{}, false, nil
	}
	t, err := scanType(rows[0])
	if err != nil {
		return Type{}, false, lookupError("type", oid, err)
	}
	if t.Kind != KindEnum { // which may have a new label next time
		d.types[oid] = t
	}
	return t, true, nil
}

func scanType(row [][]byte) (t Type, err error) {
	if len(row) != 7 || len(row[1]) != 1 || len(row[5]) != 1 {
		return t, fmt.Errorf("unexpected row %q", row)
	}
	var numbers [3]int64
	for i := range numbers {
		if numbers[i], err = strconv.ParseInt(string(row[2+i]), 10, 64); err != nil {
			return t, err
		}
	}
	return Type{string(row[0]), row[1][0], uint32(numbers[0]), int32(numbers[1]), uint32(numbers[2]), row[5][0], string(row[6])}, nil
}

const columnsQuery = `SELECT a.attname, (a.attnotnull OR t.typnotnull)::pg_catalog.text,
  CASE WHEN a.attgenerated = '' THEN coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '') ELSE '' END
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum`

// keysQuery gives one row per column of an index, in the order of Table.Keys.
const keysQuery = `SELECT i.indexrelid, a.attname
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k (attnum, position)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = $1::pg_catalog.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND k.position <= i.indnkeyatts
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS n
    WHERE n.attrelid = i.indrelid AND n.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1]) AND NOT n.attnotnull)
ORDER BY i.indisprimary DESC, i.indisreplident DESC, c.relname, k.position`

func (d *Database) Table(oid uint32) (Table, bool, error) {
	columns, err := d.query(columnsQuery, oid)
	if err != nil {
		return Table{}, false, lookupError("table", oid, err)
	}
	keys, err := d.query(keysQuery, oid)
	if err != nil {
		return Table{}, false, lookupError("keys of table", oid, err)
	}
	var t Table
	for _, row := range columns {
		t.addColumn(string(row[0]), string(row[1]) == "true", string(row[2]))
	}
	index := ""
	for _, row := range keys {
		if string(row[0]) != index {
			index = string(row[0])
			t.Keys = append(t.Keys, nil)
		}
		last := len(t.Keys) - 1
		t.Keys[last] = append(t.Keys[last], string(row[1]))
	}
	return t, len(columns) > 0 || len(keys) > 0, nil
}

func (t *Table) addColumn(name string, notNull bool, expression string) {
	if notNull {
		t.NotNull = append(t.NotNull, name)
	}
	if expression == "" {
		return
	}
	if t.Defaults == nil {
		t.Defaults = map[string]string{}
	}
	t.Defaults[name] = expression
}

const (
	lockTimeout = "100ms" // of a question: pg_get_expr() locks the table
	lockPause   = 100 * time.Millisecond
)

// query asks once more on a new connection if the old one is broken. While a client's DDL holds the table it asks again and again,
// and has no snapshot in between: CREATE INDEX CONCURRENTLY of others would wait for that.
func (d *Database) query(sql string, oid uint32) ([][][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	fresh := d.conn == nil || d.conn.IsClosed()
	if fresh {
		if err := d.connect(ctx); err != nil {
			return nil, err
		}
	}
	parameter := strconv.AppendUint(nil, uint64(oid), 10)
	result := d.conn.ExecParams(ctx, sql, [][]byte{parameter}, nil, nil, nil).Read()
	for isLocked(result.Err) && pause(ctx, lockPause) == nil {
		result = d.conn.ExecParams(ctx, sql, [][]byte{parameter}, nil, nil, nil).Read()
	}
	if result.Err != nil && !fresh && d.conn.IsClosed() {
		return d.query(sql, oid)
	}
	return result.Rows, result.Err
}

func isLocked(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal) && refusal.Code == "55P03" // lock_not_available
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (d *Database) connect(ctx context.Context) error {
	config, err := pgconn.ParseConfig(d.connString)
	if err != nil {
		return err
	}
	config.RuntimeParams["application_name"] = "pgtee catalog"
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.RuntimeParams["search_path"] = "pg_catalog"
	config.RuntimeParams["lock_timeout"] = lockTimeout
	config.RuntimeParams["datestyle"] = "ISO" // of constants in defaults
	config.RuntimeParams["intervalstyle"] = "postgres"
	d.conn, err = pgconn.ConnectConfig(ctx, config)
	return err
}
