package outbox

import (
	"context"

	"github.com/jackc/pgx/v5/pgconn"
)

// keyed is SQL over pg_class AS c: has the table a primary key, or another unique index on whole columns that
// cannot be null? One of those becomes the key of its records.
const keyed = `EXISTS (SELECT FROM pg_index AS i
	WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
	  AND NOT EXISTS (SELECT FROM pg_attribute AS a
		WHERE a.attrelid = c.oid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) AND NOT a.attnotnull))`

// inspectKeys lists the tables that must have a key and have none.
func (s *serverState) inspectKeys(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) error {
	if cfg.NeedsKey == nil {
		return nil
	}
	tables, err := userTables(ctx, conn, "NOT "+keyed)
	for _, t := range tables {
		if cfg.NeedsKey(t.schema, t.name) {
			s.unkeyed = append(s.unkeyed, t.quoted)
		}
	}
	return err
}
