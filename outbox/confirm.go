package outbox

import (
	"context"
	"fmt"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Horizon is a point in time: every transaction older than xid had ended by the time the WAL was written up to lsn. The zero value means none.
type Horizon struct {
	xid string // xid8
	lsn LSN
}

// Confirm records for pgtee.confirmed() that all transactions before horizon are committed in Kafka, provided that the acknowledged position acked has
// reached the horizon. It returns the horizon for the next call.
func Confirm(ctx context.Context, connString string, acked LSN, horizon Horizon) (Horizon, error) {
	if horizon.lsn > acked {
		return horizon, nil // not yet
	}
	conn, err := connectTrusted(ctx, connString)
	if err != nil {
		return horizon, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if horizon.xid != "" {
		if _, err := rows(ctx, conn, "SELECT pgtee.confirm($1::text::xid8)", horizon.xid); err != nil {
			return horizon, fmt.Errorf("record the confirmed transactions: %w", ourFunction(err))
		}
	}
	// A transaction that has ended according to the snapshot has written its commit record, so the position must be read after the snapshot was
	// taken: pg_current_wal_insert_lsn() is volatile and therefore runs later.
	got, err := rows(ctx, conn, "SELECT pg_snapshot_xmin(pg_current_snapshot()), pg_current_wal_insert_lsn()")
	if err != nil {
		return horizon, err
	}
	next := Horizon{xid: got[0][0]}
	next.lsn, err = pgoutput.ParseLSN(got[0][1])
	return next, err
}
