package main

import (
	"context"
	"fmt"
	"time"

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
	wait, giveUp := context.WithCancel(ctx)
	defer giveUp()
	holder := ""
	err := outbox.AwaitSlot(wait, s.connString, s.slot, func(by string) {
		if holder == "" {
			log.Info("the slot is in use, waiting", zap.String("slot", s.slot), zap.String("by", by))
			time.AfterFunc(slotPatience, giveUp)
		}
		holder = by
	})
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("slot %s is in use by %s: stop that publisher, or start this one with --standby to take over from it", s.slot, holder)
	}
	return err
}
