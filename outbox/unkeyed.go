package outbox

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// keyed is SQL over pg_class AS c: the table has a key that can be the key of its records. If there are several, the publisher chooses one.
var keyed = `EXISTS (SELECT FROM (SELECT c.oid) AS asked CROSS JOIN LATERAL (` + strings.ReplaceAll(DescribeTableSQL, "$1::oid", "asked.oid") + `) AS d (description)
	CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN jsonb_typeof(d.description -> 'keys') = 'array' THEN d.description -> 'keys' ELSE '[]' END) AS k (columns)
	WHERE NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = asked.oid AND k.columns ? a.attname::text AND ` + unlogged + `))`

// unlogged is SQL over pg_attribute AS a: the column is generated and not in the WAL.
const unlogged = `a.attgenerated <> '' AND NOT EXISTS (SELECT FROM pg_publication AS p WHERE p.pubname = '` + RowsPublication + `' AND to_jsonb(p) ->> 'pubgencols' = 's')`

// generatedKeys is SQL over pg_class AS c: the replica identity of the table has a generated column that is not in the WAL.
const generatedKeys = `EXISTS (SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])
	WHERE i.indrelid = c.oid AND (c.relreplident = 'd' AND i.indisprimary OR c.relreplident = 'i' AND i.indisreplident) AND ` + unlogged + `)`

// inspectKeys lists the tables whose key is not in the WAL, and the tables that must have a key but have none.
func (s *serverState) inspectKeys(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig) error {
	generated, err := ownTables(ctx, conn, generatedKeys)
	if err != nil {
		return err
	}
	s.generated = slices.DeleteFunc(generated, func(name string) bool { return !cfg.includes(name) })
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
