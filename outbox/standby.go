package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// slotPoll is how often a standby checks the slot, and so part of the delay of a takeover.
const slotPoll = 50 * time.Millisecond

// slotInUseSQL reads the slot alone: a standby asks as often as slotPoll says, and pg_stat_replication costs the server a look at every session.
const slotInUseSQL = "SELECT 1 FROM pg_replication_slots AS s WHERE s.active AND s.slot_name = "

const slotHolderSQL = `
	SELECT format('server process %s (%s from %s)', s.active_pid, coalesce(nullif(r.application_name, ''), 'unknown'), coalesce(r.client_addr::text, 'the same host'))
	FROM pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid WHERE s.active AND s.slot_name = `

// AwaitSlot waits until no server process uses the slot or ctx ends. It uses a single connection, whereas each attempt to take the slot would cost a
// connection and an error in the server's log. Whenever it has found the slot in use, it calls inUse, unless that is nil, with a description of the
// server process: "server process 7 (pgtee from 10.0.0.1)".
func AwaitSlot(ctx context.Context, connString, slot string, inUse func(holder string)) error {
	conn, err := connect(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(slotPoll)
	defer tick.Stop()
	sql := slotInUseSQL
	if inUse != nil {
		sql = slotHolderSQL
	}
	for {
		got, err := simpleQuery(ctx, conn, sql+quoteLiteral(slot))
		if err != nil {
			return fmt.Errorf("read the state of slot %s: %w", slot, err)
		}
		if len(got) == 0 {
			return nil
		}
		if inUse != nil {
			inUse(got[0][0])
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// StandBy is OpenStream for callers that retry: after ErrSlotBusy the next Open waits until the slot is free, at most a minute.
type StandBy struct {
	StreamConfig
	busy bool
}

// standByPatience also bounds how long a free slot goes unnoticed if the network has dropped the connection.
const standByPatience = time.Minute

// Open is OpenStream, after a wait if the slot was in use.
func (s *StandBy) Open(ctx context.Context) (*Stream, error) {
	if s.busy {
		wait, cancel := context.WithTimeout(ctx, standByPatience)
		defer cancel()
		_ = AwaitSlot(wait, s.ConnString, s.Slot, nil) // OpenStream reports any error
	}
	stream, err := OpenStream(ctx, s.StreamConfig)
	s.busy = errors.Is(err, ErrSlotBusy)
	return stream, err
}
