package apply

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// firingQuery lists what would change a table's rows: user triggers, depending on whether session_replication_role is replica ($2), and, unless it is,
// cascading foreign keys of other tables.
const firingQuery = `SELECT 'trigger ' || pg_catalog.quote_ident(t.tgname) FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid = $1::pg_catalog.oid AND NOT t.tgisinternal AND t.tgenabled::pg_catalog.text IN ('A', CASE $2 WHEN 'true' THEN 'R' ELSE 'O' END)
UNION ALL SELECT 'foreign key ' || pg_catalog.quote_ident(c.conname) || ' of ' || c.conrelid::pg_catalog.regclass::pg_catalog.text FROM pg_catalog.pg_constraint AS c
WHERE $2 <> 'true' AND c.contype = 'f' AND c.confrelid = $1::pg_catalog.oid AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd'))`

// checkTriggers halts if a table would be changed twice, by the stream and by the target's own trigger.
func (t *target) checkTriggers(ctx context.Context, table *table) error {
	if t.cfg.FireTriggers {
		return nil
	}
	rows, err := postgres.Query(ctx, t.conn, firingQuery, table.oid, strconv.FormatBool(t.replica))
	if err != nil || len(rows) == 0 {
		return err
	}
	what, repair := rows[0][0], t.grantReplica()+","
	if t.replica {
		what, repair = what+" (ENABLE ALWAYS or REPLICA)", fmt.Sprintf("ALTER TABLE %s ENABLE %s makes it an ordinary one, which is off; or", table.name, what)
	}
	return Halt{fmt.Sprintf("%s of the target would repeat changes that the stream already has for table %s", what, table.plain), repair + " disable it, or start with --fire-triggers"}
}
