package outbox

import (
	"context"
	"fmt"
	"strconv"
)

// Retained is how much log the slot keeps from being removed.
type Retained struct {
	Bytes     int64
	KeepBytes int64 // max_slot_wal_keep_size; -1: no limit
}

// RetainedWAL asks the server what the slot holds back.
func RetainedWAL(ctx context.Context, connString, slot string) (Retained, error) {
	conn, err := connect(ctx, connString)
	if err != nil {
		return Retained{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	got, err := rows(ctx, conn, `SELECT coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::int8,
		(SELECT CASE WHEN setting = '-1' THEN -1 ELSE setting::int8 * 1048576 END FROM pg_settings WHERE name = 'max_slot_wal_keep_size')
		FROM pg_replication_slots WHERE slot_name = $1`, slot)
	if err != nil {
		return Retained{}, err
	}
	if len(got) == 0 {
		return Retained{}, fmt.Errorf("slot %s is not there: run pgtee setup", slot)
	}
	var r Retained
	r.Bytes, _ = strconv.ParseInt(got[0][0], 10, 64)
	r.KeepBytes, _ = strconv.ParseInt(got[0][1], 10, 64)
	return r, nil
}

// DropSlot ends whoever uses the slot and drops it: what it held back is lost to the stream. It is the
// last resort of --max-retained-wal SIZE:drop_slot.
func DropSlot(ctx context.Context, connString, slot string) error {
	conn, err := connect(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	const end = `SELECT pg_catalog.pg_terminate_backend(active_pid, 10000) FROM pg_catalog.pg_replication_slots WHERE active AND slot_name = %s;`
	const drop = `SELECT pg_catalog.pg_drop_replication_slot(slot_name) FROM pg_catalog.pg_replication_slots WHERE slot_name = %s`
	name := quoteLiteral(slot)
	if err := execute(ctx, conn, fmt.Sprintf(end+drop, name, name)); err != nil {
		return fmt.Errorf("drop slot %s: %w", slot, err)
	}
	return nil
}
