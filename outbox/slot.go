package outbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const defaultSlotTimeout = 30 * time.Second

// ErrSlotBlocked means that the slot could not be created because older transactions are still open.
var ErrSlotBlocked = errors.New("older transactions prevent the creation of the slot")

// createSlot creates the slot and records where it begins. PostgreSQL delays the creation until every transaction that is open now has ended,
// including prepared ones.
func createSlot(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig, server *serverState, report *Report) error {
	switch {
	case server.slot != nil && server.renewsSlot():
		if err := dropSlot(ctx, conn, cfg.Slot); err != nil {
			return err
		}
		report.warn("slot-anew", "run `pgtee repair --accept-divergence`, then start the publisher: every table is published again", "slot %s is re-created: %s", cfg.Slot, server.whyAnew())
	case server.slot != nil:
		// pgtee.meta may be younger than the slot. Without a consistent point the publisher would mistake a lost progress topic for a first start.
		report.ok("slot %s existed before", cfg.Slot)
		if server.metaSlot != "" {
			if len(server.slotPublications) > 0 {
				return nil
			}
			return execute(ctx, conn, metaSQL(server, "UPDATE pgtee.meta SET publications = "+identitySQL))
		}
		const adopt = `UPDATE pgtee.meta SET slot = %[1]s, consistent_point = s.confirmed_flush_lsn, publications = ` + identitySQL + `,
			first_xid = pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())
			FROM pg_catalog.pg_replication_slots AS s WHERE s.slot_name = %[1]s`
		return execute(ctx, conn, metaSQL(server, fmt.Sprintf(adopt, quoteLiteral(cfg.Slot))))
	}
	timeout := cfg.SlotTimeout
	if timeout == 0 {
		timeout = defaultSlotTimeout
	}
	point, err := waitForSlot(ctx, conn, cfg, server.version, timeout)
	if err != nil {
		return err
	}
	// A new slot begins a new generation, so that progress recorded for an older slot is not applied to it.
	record := fmt.Sprintf("UPDATE pgtee.meta SET slot = %s, consistent_point = %s, publications = "+identitySQL+", generation = generation + (slot IS NOT NULL)::int, "+
		"first_xid = pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot()); SELECT pg_catalog.setval('pgtee.horizon', 0, false)",
		quoteLiteral(cfg.Slot), quoteLiteral(point))
	if err := execute(ctx, conn, metaSQL(server, record)); err != nil {
		return fmt.Errorf("record slot %s in pgtee.meta: %w", cfg.Slot, err)
	}
	report.ok("slot %s, consistent from %s", cfg.Slot, point)
	return nil
}

// whyAnew says why setup cannot keep the existing slot.
func (s *serverState) whyAnew() string {
	switch {
	case s.slot.lost():
		return fmt.Sprintf("the server has removed WAL that the old one needed (wal_status %s %s)", s.slot.walStatus, s.slot.invalid)
	case len(s.missing()) > 0:
		return fmt.Sprintf("publication %s was missing, and what was written without it cannot be read", strings.Join(s.missing(), ", "))
	}
	return fmt.Sprintf("publication %s is younger than the old slot, which cannot be read with it", strings.Join(s.younger(), ", "))
}

func waitForSlot(ctx context.Context, conn *pgconn.PgConn, cfg SetupConfig, version int, timeout time.Duration) (string, error) {
	milliseconds := fmt.Sprint(timeout.Milliseconds())
	if err := execute(ctx, conn, "SET statement_timeout = "+milliseconds); err != nil {
		return "", err
	}
	got, err := rows(ctx, conn, slotSQL(cfg.Slot, version))
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "57014" { // query_canceled
		blockers, lookErr := blockers(ctx, conn)
		if lookErr != nil {
			return "", fmt.Errorf("%w: gave up after %s", ErrSlotBlocked, timeout)
		}
		return "", fmt.Errorf("%w: gave up after %s, waiting for %s: end them, then run pgtee setup again", ErrSlotBlocked, timeout, strings.Join(blockers, ", "))
	}
	if err != nil {
		return "", fmt.Errorf("create slot %s: %w", cfg.Slot, err)
	}
	if err := execute(ctx, conn, "RESET statement_timeout"); err != nil {
		return "", err
	}
	return got[0][0], nil
}

// slotSQL returns the command that creates the slot. A failover slot (PostgreSQL 17) is copied to standbys that request it (sync_replication_slots).
func slotSQL(slot string, version int) string {
	failover := ""
	if version >= 170000 {
		failover = ", failover => true"
	}
	return fmt.Sprintf("SELECT lsn FROM pg_catalog.pg_create_logical_replication_slot(%s, 'pgoutput'%s)", quoteLiteral(slot), failover)
}

// blockers names the transactions that hold a transaction id, oldest first.
func blockers(ctx context.Context, conn *pgconn.PgConn) ([]string, error) {
	got, err := rows(ctx, conn, `
		SELECT format('prepared transaction %L (open for %s, end it with COMMIT PREPARED or ROLLBACK PREPARED)', gid, date_trunc('second', now() - prepared)) AS what, prepared AS since
		FROM pg_prepared_xacts
		UNION ALL
		SELECT format('server process %s (%s, user %s, open for %s, end it with SELECT pg_terminate_backend(%s))', pid, coalesce(application_name, ''), usename, date_trunc('second', now() - xact_start), pid), xact_start
		FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid()
		ORDER BY since LIMIT 5`)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, row := range got {
		names = append(names, row[0])
	}
	return names, nil
}
