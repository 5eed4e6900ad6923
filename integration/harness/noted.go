package harness

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/outbox/note"
	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// Noted counts the transactions of a slot that changed rows: all of them, those without any note, and those whose notes are not all verified.
type Noted struct{ Writes, Without, Unverified int }

func (n Noted) String() string {
	return fmt.Sprintf("write transactions=%d without_note=%d (%.2f %%) unverified=%d", n.Writes, n.Without, 100*float64(n.Without)/float64(max(n.Writes, 1)), n.Unverified)
}

// CountNotes counts in the stream of a slot, up to the current end of the WAL.
func CountNotes(ctx context.Context, url, slot string, key note.MasterKey) (n Noted, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return n, err
	}
	defer conn.Close(ctx)
	var position string
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_current_wal_insert_lsn()::text FROM pg_catalog.pg_logical_emit_message(true, 'end', '')").Scan(&position); err != nil {
		return n, err
	}
	end, err := pgoutput.ParseLSN(position)
	if err != nil {
		return n, err
	}
	stream, err := outbox.OpenStream(ctx, outbox.StreamConfig{ConnString: url, Slot: slot, Keys: []note.MasterKey{key}})
	if err != nil {
		return n, err
	}
	defer stream.Close()
	var wrote, noted, unverified bool // according to the parts of a transaction so far
	for {
		transactions, err := stream.Next(ctx, 1<<20)
		if err != nil {
			return n, err
		}
		for _, tx := range transactions {
			for i := range tx.Changes {
				switch tx.Changes[i].Op {
				case outbox.Insert, outbox.Update, outbox.Delete, outbox.Truncate:
					wrote = true
				}
			}
			for i := range tx.Notes {
				noted, unverified = true, unverified || tx.Notes[i].Trust != note.Verified
			}
			if tx.More {
				continue
			}
			if wrote {
				n.Writes++
			}
			if wrote && !noted {
				n.Without++
			}
			if wrote && unverified {
				n.Unverified++
			}
			wrote, noted, unverified = false, false, false
			if tx.EndLSN >= end {
				return n, nil
			}
		}
		stream.Drop(transactions)
	}
}
