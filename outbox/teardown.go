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

func dropPublicationsSQL(server *serverState) (sql string) {
	for _, p := range server.publications {
		sql += "DROP PUBLICATION IF EXISTS " + p.name + ";"
	}
	return sql
}
