package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// tablesAtOnce bounds the locks that one ALTER PUBLICATION takes: all sessions share
// max_locks_per_transaction * max_connections.
const tablesAtOnce = 500

// ListTables lists in the publications what the event trigger could not list (DDLRecord.Listed is false:
// another transaction held the lock) and what was made where there is no event trigger. It returns the
// tables that it added, quoted for SQL: some of what was written into them before is not in the stream.
// A table that has lost its identity leaves, for its UPDATE would fail.
func ListTables(ctx context.Context, connString string) (added []string, err error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := execute(ctx, conn, "SET lock_timeout = '2s'"); err != nil {
		return nil, err
	}
	added, err = listTables(ctx, conn)
	if sqlState(err) == "55P03" { // lock_not_available: the next turn will do
		err = nil
	}
	return added, err
}

// listTables lists the tables of our own role, or all as a superuser.
func listTables(ctx context.Context, conn *pgconn.PgConn) (added []string, err error) {
	const listed = `EXISTS (SELECT FROM pg_publication AS p LEFT JOIN pg_publication_rel AS r ON p.oid = r.prpubid
		WHERE p.pubname = '%s' AND (p.puballtables OR r.prrelid = c.oid))`
	inRows, inIdentity := fmt.Sprintf(listed, RowsPublication), fmt.Sprintf(listed, IdentityPublication)
	const own = "pg_has_role(c.relowner, 'USAGE') AND NOT "
	for _, step := range []struct{ publication, action, condition string }{
		{IdentityPublication, "DROP", inIdentity + " AND NOT pgtee.has_identity(c.oid)"},
		{RowsPublication, "ADD", own + inRows},
		{IdentityPublication, "ADD", own + inIdentity + " AND pgtee.has_identity(c.oid)"},
	} {
		tables, err := ownTables(ctx, conn, step.condition)
		if err != nil {
			return added, err
		}
		for some := range slices.Chunk(tables, tablesAtOnce) {
			sql := fmt.Sprintf("ALTER PUBLICATION %s %s TABLE ONLY %s", step.publication, step.action, strings.Join(some, ", ONLY "))
			if err := execute(ctx, conn, sql); err != nil {
				return added, fmt.Errorf("list tables in publication %s: run pgtee setup as its owner: %w", step.publication, err)
			}
			if step.action == "ADD" {
				added = append(added, some...)
			}
		}
	}
	slices.Sort(added)
	return slices.Compact(added), nil
}
