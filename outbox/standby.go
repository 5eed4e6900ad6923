package outbox

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// slotPoll is how often a standby checks the slot, and so part of the delay of a takeover.
const slotPoll = 50 * time.Millisecond

// AwaitSlot waits until no server process uses the slot or ctx ends. It uses a single connection, whereas each attempt to take the slot would cost a
// connection and an error in the server's log.
func AwaitSlot(ctx context.Context, connString, slot string) error {
	conn, err := connect(ctx, connString)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(slotPoll)
	defer tick.Stop()
	for {
		got, err := simpleQuery(ctx, conn, "SELECT 1 FROM pg_catalog.pg_replication_slots AS s WHERE s.active AND s.slot_name = "+quoteLiteral(slot))
		if err != nil {
			return fmt.Errorf("read the state of slot %s: %w", slot, err)
		}
		if len(got) == 0 {
			return nil
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
		_ = AwaitSlot(wait, s.ConnString, s.Slot) // OpenStream reports any error
	}
	stream, err := OpenStream(ctx, s.StreamConfig)
	s.busy = errors.Is(err, ErrSlotBusy)
	return stream, err
}
