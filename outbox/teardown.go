package outbox

import (
	"context"
	"fmt"
)

// Teardown drops what Setup created. It first makes note() a no-op, so that sessions of a running proxy do not fail while the rest is dropped.
func Teardown(ctx context.Context, cfg SetupConfig) (Report, error) {
	conn, server, err := connectAndInspect(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var report Report
	if server.slot != nil && server.slot.active {
		return report, fmt.Errorf("slot %s is in use by server process %s: stop the publisher, then run pgtee teardown again", cfg.Slot, server.slot.pid)
	}
	if server.installed {
		const noop = `CREATE OR REPLACE FUNCTION pgtee.note(payload text, role name) RETURNS void LANGUAGE sql AS ''`
		if err := execute(ctx, conn, noop); err != nil {
			return report, fmt.Errorf("replace pgtee.note by a no-op: %w", err)
		}
	}
	drops := []struct{ what, sql string }{
		{"event triggers", dropTriggersSQL},
		{"publications", dropPublicationsSQL(server)},
		{"REPLICA IDENTITY FULL of tables that had lost their key", restoreIdentitiesSQL},
		{"slot " + cfg.Slot, "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots" +
			" WHERE database = pg_catalog.current_database() AND slot_name = " + quoteLiteral(cfg.Slot)},
		{"schema pgtee", "SET lock_timeout = '10s'; DROP SCHEMA IF EXISTS pgtee CASCADE"},
	}
	for _, drop := range drops {
		if err := execute(ctx, conn, "SET client_min_messages = warning;"+drop.sql); err != nil {
			return report, fmt.Errorf("drop %s: %w", drop.what, err)
		}
		report.ok("dropped %s", drop.what)
	}
	return report, nil
}

// restoreIdentitiesSQL gives back the default replica identity to the tables that pgtee made FULL, unless a publication of somebody else needs FULL for their
// UPDATE and DELETE. A table that is locked, or belongs to another role, keeps FULL.
const restoreIdentitiesSQL = `DO $restore$
DECLARE
	t record;
BEGIN
	IF to_regclass('pgtee.widened') IS NULL THEN
		RETURN;
	END IF;
	FOR t IN SELECT c.oid::regclass AS name FROM pgtee.widened AS w JOIN pg_class AS c ON c.oid = w.tbl
		WHERE c.relreplident = 'f' AND NOT EXISTS (SELECT FROM pg_publication_tables AS m JOIN pg_publication AS p ON p.pubname = m.pubname
			JOIN pg_namespace AS n ON n.oid = c.relnamespace
			WHERE m.schemaname = n.nspname AND m.tablename = c.relname AND (p.pubupdate OR p.pubdelete) AND NOT (` + ourPublications + `))
	LOOP
		BEGIN
			SET LOCAL lock_timeout = '1s';
			EXECUTE format('ALTER TABLE ONLY %s REPLICA IDENTITY DEFAULT', t.name);
		EXCEPTION WHEN lock_not_available OR insufficient_privilege THEN
			RAISE WARNING 'table % keeps REPLICA IDENTITY FULL: %', t.name, sqlerrm;
		END;
	END LOOP;
END
$restore$`

func dropPublicationsSQL(server *serverState) (sql string) {
	for _, p := range server.publications {
		sql += "DROP PUBLICATION IF EXISTS " + p.name + ";"
	}
	return sql
}
