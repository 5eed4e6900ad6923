package outbox

import (
	"context"
	"fmt"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Horizon is a moment: every transaction older than XID had ended when the log was written up to LSN. The zero
// value is none.
type Horizon struct {
	xid string // xid8
	lsn LSN
}

// Confirm lets pgtee.confirmed() know which transactions are in Kafka for good: those before horizon, if the log
// is acknowledged up to acked and that is behind it. It returns the horizon to ask for next time.
func Confirm(ctx context.Context, connString string, acked LSN, horizon Horizon) (Horizon, error) {
	if horizon.lsn > acked {
		return horizon, nil // not yet
	}
	conn, err := connect(ctx, connString)
	if err != nil {
		return horizon, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if horizon.xid != "" {
		if _, err := rows(ctx, conn, "SELECT pgtee.confirm($1::text::xid8)", horizon.xid); err != nil {
			return horizon, fmt.Errorf("record what is confirmed: %w", ourFunction(err))
		}
	}
	// A transaction that the snapshot takes for ended has written its commit record, so the position must be read
	// after the snapshot: pg_current_wal_insert_lsn() is volatile and runs when the snapshot has been taken.
	got, err := rows(ctx, conn, "SELECT pg_snapshot_xmin(pg_current_snapshot()), pg_current_wal_insert_lsn()")
	if err != nil {
		return horizon, err
	}
	next := Horizon{xid: got[0][0]}
	next.lsn, err = pgoutput.ParseLSN(got[0][1])
	return next, err
}
