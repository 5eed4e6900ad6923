package outbox

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// SlotStatus is the state of a slot as the server reports it.
type SlotStatus struct {
	Server    LSN    // write position of the server; on a standby, its replay position
	Acked     LSN    // confirmed_flush: the server keeps everything that commits after it
	Sent      LSN    // position sent to the holder of the slot; zero if the slot is not in use
	PID       int32  // of the walsender that holds the slot; zero if the slot is not in use
	WAL       string // wal_status: reserved, extended, unreserved or lost
	Retained  int64  // bytes of WAL that the slot retains; 0 if it is lost
	KeepBytes int64  // max_slot_wal_keep_size; -1: no limit
}

// Lost reports whether the server has removed WAL that the slot needs, or has invalidated the slot: it retains nothing any more.
func (s SlotStatus) Lost() bool { return s.WAL == "lost" }

const slotStatusQuery = `SELECT w.lsn, coalesce(s.confirmed_flush_lsn, '0/0'), coalesce(r.sent_lsn, '0/0'), coalesce(s.active_pid, 0), coalesce(s.wal_status, 'lost'),
	coalesce(greatest(w.lsn - s.restart_lsn, 0), 0)::int8,
	(SELECT CASE WHEN setting = '-1' THEN -1 ELSE setting::int8 * 1048576 END FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn) AS w, pg_replication_slots AS s
LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
WHERE s.slot_name = $1`

// ReadSlotStatus queries the server.
func ReadSlotStatus(ctx context.Context, connString, slot string) (s SlotStatus, err error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return s, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	got, err := rows(ctx, conn, slotStatusQuery, slot)
	if err != nil {
		return s, err
	}
	if len(got) == 0 {
		return s, fmt.Errorf("%w (%s)", ErrSlotMissing, slot)
	}
	for i, lsn := range []*LSN{&s.Server, &s.Acked, &s.Sent} {
		if *lsn, err = pgoutput.ParseLSN(got[0][i]); err != nil {
			return s, err
		}
	}
	pid, _ := strconv.ParseInt(got[0][3], 10, 32)
	s.PID, s.WAL = int32(pid), got[0][4]
	s.Retained, _ = strconv.ParseInt(got[0][5], 10, 64)
	s.KeepBytes, _ = strconv.ParseInt(got[0][6], 10, 64)
	return s, nil
}

// Origin returns the identity of server and database, and where the slot starts, as far as any role may read them: ID, DatabaseOID, Database and
// ConfirmedFlush of a System, which is zero if there is no slot.
func Origin(ctx context.Context, connString, slot string) (s System, err error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return s, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	got, err := rows(ctx, conn, `SELECT c.system_identifier, d.oid, d.datname, coalesce((SELECT s.confirmed_flush_lsn FROM pg_replication_slots AS s WHERE s.slot_name = $1), '0/0')
		FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()`, slot)
	if err != nil {
		return s, fmt.Errorf("identify the server: %w", err)
	}
	oid, _ := strconv.ParseUint(got[0][1], 10, 32)
	s = System{ID: got[0][0], DatabaseOID: uint32(oid), Database: got[0][2]}
	s.ConfirmedFlush, err = pgoutput.ParseLSN(got[0][3])
	return s, err
}

// DropSlot terminates the process that uses the slot and drops the slot: the changes in the WAL that it retained are lost to the stream. It is the last
// resort of --max-retained-wal SIZE:drop_slot.
func DropSlot(ctx context.Context, connString, slot string) error {
	conn, err := connect(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return dropSlot(ctx, conn, slot)
}

func dropSlot(ctx context.Context, conn *pgconn.PgConn, slot string) error {
	const end = `SELECT pg_catalog.pg_terminate_backend(active_pid, 10000) FROM pg_catalog.pg_replication_slots WHERE active AND slot_name = %s;`
	const drop = `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = %s`
	name := quoteLiteral(slot)
	if err := execute(ctx, conn, fmt.Sprintf(end+drop, name, name)); err != nil {
		return fmt.Errorf("drop slot %s: %w", slot, err)
	}
	return nil
}
