package outbox

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Teardown drops what Setup created. It first makes note() a no-op, so that sessions of a running proxy do not fail while the rest is dropped.
func Teardown(ctx context.Context, cfg SetupConfig) (Report, error) {
	conn, server, err := connectAndInspect(ctx, cfg)
	if err != nil {
		return Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var report Report
	report.untrustedSchema(server.untrusted)
	if err := report.Err(); err != nil {
		return report, err
	}
	if server.slot != nil && server.slot.active {
		return report, fmt.Errorf("slot %s is in use by server process %s: stop the publisher, then run pgtee teardown again", cfg.Slot, server.slot.pid)
	}
	if server.installed {
		const noop = `CREATE OR REPLACE FUNCTION pgtee.note(payload text, role name) RETURNS void LANGUAGE sql AS ''`
		if err := execute(ctx, conn, noop); err != nil {
			return report, fmt.Errorf("replace pgtee.note by a no-op: %w", err)
		}
	}
	type drop struct{ what, sql string }
	capture := []drop{
		{"event triggers", dropTriggersSQL},
		{"publications", dropPublicationsSQL(server)},
	}
	rest := []drop{
		{"slot " + cfg.Slot, "SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots" +
			" WHERE database = pg_catalog.current_database() AND slot_name = " + quoteLiteral(cfg.Slot)},
		{"schema pgtee", "SET lock_timeout = '10s'; DROP SCHEMA IF EXISTS pgtee CASCADE"},
	}
	remove := func(drops []drop) error {
		for _, d := range drops {
			if err := execute(ctx, conn, "SET client_min_messages = warning;"+d.sql); err != nil {
				return fmt.Errorf("drop %s: %w", d.what, err)
			}
			report.ok("dropped %s", d.what)
		}
		return nil
	}
	if err := remove(capture); err != nil {
		return report, err
	}
	if server.installed {
		if err := restoreIdentities(ctx, conn, server, &report); err != nil {
			return report, fmt.Errorf("give back the replica identity of tables that had lost their key: %w", err)
		}
	}
	return report, remove(rest)
}

// restorableSQL returns the tables that pgtee made FULL, except those whose UPDATE or DELETE somebody else publishes. Like replicatorsSQL it reads only the
// definitions of publications. bySchemaSQL also excepts the tables of published schemas, which exist since PostgreSQL 15.
const (
	restorableSQL = `SELECT c.oid::regclass FROM pgtee.widened AS w JOIN pg_class AS c ON c.oid = w.tbl
		WHERE c.relreplident = 'f' AND NOT EXISTS (SELECT FROM pg_publication AS p WHERE (p.pubupdate OR p.pubdelete) AND (p.puballtables
			OR EXISTS (SELECT FROM pg_publication_rel AS r WHERE r.prpubid = p.oid
				AND r.prrelid IN (SELECT c.oid UNION SELECT a.relid FROM pg_partition_ancestors(c.oid) AS a))))`
	bySchemaSQL = ` AND NOT EXISTS (SELECT FROM pg_publication AS p JOIN pg_publication_namespace AS s ON s.pnpubid = p.oid
		WHERE (p.pubupdate OR p.pubdelete) AND s.pnnspid IN (SELECT c.relnamespace
			UNION SELECT r.relnamespace FROM pg_partition_ancestors(c.oid) AS a JOIN pg_class AS r ON r.oid = a.relid))`
)

// restoreIdentities gives back the default replica identity to the tables that pgtee made FULL, unless a publication needs FULL for their UPDATE and
// DELETE. It alters each table in a transaction of its own. A table that is locked, or belongs to another role, keeps FULL.
func restoreIdentities(ctx context.Context, conn *pgconn.PgConn, server *serverState, report *Report) error {
	if got, err := rows(ctx, conn, "SELECT to_regclass('pgtee.widened') IS NOT NULL"); err != nil || got[0][0] != "t" { // of an older pgtee
		return err
	}
	if err := execute(ctx, conn, lockTimeout); err != nil {
		return err
	}
	sql := restorableSQL
	if server.version >= 150000 {
		sql = restorableSQL + bySchemaSQL
	}
	got, err := rows(ctx, conn, sql)
	if err != nil {
		return err
	}
	for _, row := range got {
		err := execute(ctx, conn, fmt.Sprintf("ALTER TABLE ONLY %s REPLICA IDENTITY DEFAULT", row[0]))
		switch sqlState(err) {
		case "":
			if err != nil {
				return err
			}
		case "55P03", "42501", "42P01": // locked, another role's, dropped meanwhile
			report.ok("table %s keeps REPLICA IDENTITY FULL, which pgtee has set: %v", row[0], err)
		default:
			return err
		}
	}
	return nil
}

func dropPublicationsSQL(server *serverState) (sql string) {
	for _, p := range server.publications {
		sql += "DROP PUBLICATION IF EXISTS " + p.name + ";"
	}
	return sql
}
