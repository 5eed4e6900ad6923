package apply

import (
	"context"
	"fmt"
	"strconv"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// firingQuery lists what would change rows when a table is written, each with the table that it belongs to: user triggers and rules, depending on whether
// session_replication_role is replica ($2), and, unless it is, cascading foreign keys of other tables. When rows are routed to a partition, its row triggers fire
// and the foreign keys that refer to it cascade, but not its statement triggers and rules.
// The table itself comes first. pg_partition_tree() would lock every partition.
const firingQuery = `WITH RECURSIVE part(relid) AS (SELECT $1::pg_catalog.oid UNION SELECT i.inhrelid FROM part AS p JOIN pg_catalog.pg_inherits AS i ON i.inhparent = p.relid
JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid AND c.relispartition), firing(what, relid) AS (
SELECT 'trigger ' || pg_catalog.quote_ident(t.tgname), t.tgrelid FROM pg_catalog.pg_trigger AS t JOIN part AS p ON p.relid = t.tgrelid
WHERE NOT t.tgisinternal AND (t.tgrelid = $1::pg_catalog.oid OR t.tgtype & 1 = 1) AND t.tgenabled::pg_catalog.text IN ('A', CASE $2 WHEN 'true' THEN 'R' ELSE 'O' END)
UNION ALL SELECT 'rule ' || pg_catalog.quote_ident(r.rulename), r.ev_class FROM pg_catalog.pg_rewrite AS r
WHERE r.ev_class = $1::pg_catalog.oid AND r.ev_type <> '1' AND r.ev_enabled::pg_catalog.text IN ('A', CASE $2 WHEN 'true' THEN 'R' ELSE 'O' END)
UNION ALL SELECT 'foreign key ' || pg_catalog.quote_ident(c.conname) || ' of ' || c.conrelid::pg_catalog.regclass::pg_catalog.text, c.confrelid
FROM pg_catalog.pg_constraint AS c JOIN part AS p ON p.relid = c.confrelid
WHERE $2 <> 'true' AND c.contype = 'f' AND (c.confdeltype IN ('c', 'n', 'd') OR c.confupdtype IN ('c', 'n', 'd')))
SELECT what, relid::pg_catalog.regclass::pg_catalog.text FROM firing ORDER BY relid <> $1::pg_catalog.oid LIMIT 1`

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
		what, repair = what+" (ENABLE ALWAYS or REPLICA)", fmt.Sprintf("ALTER TABLE %s ENABLE %s makes it an ordinary one, which is off; or", rows[0][1], what)
	}
	if rows[0][1] != table.name {
		what += " on " + rows[0][1]
	}
	return Halt{fmt.Sprintf("%s of the target would repeat changes that the stream already has for table %s", what, table.plain), repair + " disable it, or start with --fire-triggers"}
}
