package apply

import (
	"context"
	"fmt"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// firingQuery lists what would change a table's rows while session_replication_role is origin: user triggers, and cascading foreign keys of other
// tables.
const firingQuery = `SELECT 'trigger ' || pg_catalog.quote_ident(t.tgname) FROM pg_catalog.pg_trigger AS t WHERE t.tgrelid = $1::pg_catalog.oid AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
UNION ALL SELECT 'foreign key ' || pg_catalog.quote_ident(c.conname) || ' of ' || c.conrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_constraint AS c
WHERE c.contype = 'f' AND c.confrelid = $1::pg_catalog.oid AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))`

// checkTriggers halts if a table would be changed twice, by the stream and by the target's own trigger.
func (t *target) checkTriggers(ctx context.Context, table *table) error {
	if t.replica || t.cfg.FireTriggers {
		return nil
	}
	rows, err := postgres.Query(ctx, t.conn, firingQuery, table.oid)
	if err != nil || len(rows) == 0 {
		return err
	}
	return Halt{fmt.Sprintf("%s of the target would do once more what the stream has of table %s already", rows[0][0], table.plain),
		t.grantReplica() + ", disable it, or start with --fire-triggers"}
}
