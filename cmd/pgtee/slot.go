package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// slotPatience is how long a slot may stay in use at startup: the server needs a moment to notice that the previous publisher is dead.
const slotPatience = 10 * time.Second

// awaitSlot waits until the slot is free. A standby does not wait here: its publisher does that.
func awaitSlot(ctx context.Context, s source, standby bool, log *zap.Logger) error {
	if standby {
		return nil
	}
	config, err := pgx.ParseConfig(s.connString)
	if err != nil {
		return fmt.Errorf("read the state of slot %s: %w", s.slot, err)
	}
	outbox.OwnSettings(&config.Config)
	config.RuntimeParams["search_path"] = "pg_catalog" // otherwise functions of other users might be called
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return fmt.Errorf("read the state of slot %s: %w", s.slot, err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	patience := time.NewTimer(slotPatience)
	defer patience.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for told := false; ; told = true {
		holder, err := slotHolder(ctx, conn, s.slot)
		if err != nil || holder == "" {
			return err
		}
		if !told {
			log.Info("the slot is in use, waiting", zap.String("slot", s.slot), zap.String("by", holder))
		}
		select {
		case <-tick.C:
		case <-patience.C:
			return fmt.Errorf("slot %s is in use by %s: stop that publisher, or start this one with --standby to take over from it", s.slot, holder)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// slotHolder returns the server process that uses the slot, or "" if none does.
func slotHolder(ctx context.Context, conn *pgx.Conn, slot string) (string, error) {
	var holder string
	err := conn.QueryRow(ctx, `
		SELECT format('server process %s (%s from %s)', s.active_pid, coalesce(nullif(r.application_name, ''), 'unknown'), coalesce(r.client_addr::text, 'the same host'))
		FROM pg_replication_slots AS s LEFT JOIN pg_stat_replication AS r ON r.pid = s.active_pid
		WHERE s.slot_name = $1 AND s.active`, slot).Scan(&holder)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the state of slot %s: %w", slot, err)
	}
	return holder, nil
}
