package outbox

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// tableName is the name of a table, plain and quoted for SQL.
type tableName struct{ schema, name, quoted string }

// ownTables lists the user's permanent tables, partitioned ones by their root, that satisfy condition (SQL over pg_class AS c). Names are quoted for
// SQL.
func ownTables(ctx context.Context, conn *pgconn.PgConn, condition string) ([]string, error) {
	tables, err := userTables(ctx, conn, condition)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.quoted
	}
	return names, nil
}

// userTables repeats the query if a table is dropped while the query checks its identity: the statement still sees the table, but the functions that
// open it do not ("could not open relation", internal_error).
func userTables(ctx context.Context, conn *pgconn.PgConn, condition string) ([]tableName, error) {
	sql := `
		SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname)
		FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND c.oid >= 16384
		  AND n.nspname NOT IN ('pgtee', 'pg_catalog', 'information_schema')
		  AND (` + condition + `) ORDER BY 3`
	got, err := simpleQuery(ctx, conn, sql)
	for range 4 {
		if sqlState(err) == "XX000" {
			got, err = simpleQuery(ctx, conn, sql)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	tables := make([]tableName, len(got))
	for i, row := range got {
		tables[i] = tableName{row[0], row[1], row[2]}
	}
	return tables, nil
}

// PublishedTables lists the tables whose rows are published as "schema.table", partitioned ones by their root.
func PublishedTables(ctx context.Context, connString string) ([]string, error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	got, err := simpleQuery(ctx, conn, "SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid IN ("+publishedSQL+")")
	if err != nil {
		return nil, fmt.Errorf("list published tables: %w", err)
	}
	names := make([]string, len(got))
	for i, row := range got {
		names[i] = row[0]
	}
	return names, nil
}

// TableNames lists the user's permanent tables as "schema.table", partitioned ones by their root.
func TableNames(ctx context.Context, connString string) ([]string, error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tables, err := userTables(ctx, conn, "true")
	if err != nil {
		return nil, err
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.schema + "." + t.name
	}
	return names, nil
}

// Table is a permanent table of the user, or the root of a partitioned one.
type Table struct {
	OID          uint32
	Schema, Name string
	Identity     string // its replica identity: "primary key", "index", "full" or "nothing"
	Key          string // columns of its primary key or identity index, quoted for SQL, such as id, "Part"; "": it has none
}

// identities are the values of pg_class.relreplident.
var identities = map[string]string{"d": "primary key", "i": "index", "f": "full", "n": "nothing"}

// Tables lists the tables of the user in OID order, roughly oldest first.
func Tables(ctx context.Context, connString string) ([]Table, error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	got, err := simpleQuery(ctx, conn, `
		SELECT c.oid, n.nspname, c.relname, c.relreplident::text, coalesce((
			SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.place) FROM pg_index AS i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place), pg_attribute AS a
			WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
			  AND k.place <= i.indnkeyatts AND a.attrelid = c.oid AND a.attnum = k.attnum), '')
		FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition AND c.oid >= 16384
		  AND n.nspname NOT IN ('pgtee', 'pg_catalog', 'information_schema') ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	tables := make([]Table, len(got))
	for i, row := range got {
		oid, err := strconv.ParseUint(row[0], 10, 32)
		if err != nil {
			return nil, fmt.Errorf("list tables: %w", err)
		}
		tables[i] = Table{uint32(oid), row[1], row[2], identities[row[3]], row[4]}
	}
	return tables, nil
}
