package main

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// keepHouse checks the slot every ten seconds, brings pgtee.confirmed() up to date every minute, and truncates old parts of the outbox every hour. Errors
// are only logged, because publishing does not depend on these tasks.
func (p databasePublisher) keepHouse(ctx context.Context) error {
	var horizon outbox.Horizon
	confirm := func(ctx context.Context) (err error) {
		if !p.confirms {
			return nil
		}
		horizon, err = outbox.Confirm(ctx, p.connString, p.Stats().Acked, horizon)
		return err
	}
	seconds, minute, hour := time.NewTicker(10*time.Second), time.NewTicker(time.Minute), time.NewTicker(time.Hour)
	defer seconds.Stop()
	defer minute.Stop()
	defer hour.Stop()
	said, told := "", time.Time{}
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-seconds.C:
			err = turn(ctx, p.watchRetained)
		case <-minute.C:
			err = turn(ctx, confirm)
		case <-hour.C:
			err = turn(ctx, func(ctx context.Context) error { return outbox.Rotate(ctx, p.connString) })
		}
		if err != nil && ctx.Err() == nil && (err.Error() != said || time.Since(told) > time.Hour) {
			said, told = err.Error(), time.Now()
			p.log.Warn("housekeeping failed; the next run tries again", zap.String("finding", "housekeeping-failed"), zap.String("database", p.database), zap.Error(err))
		}
	}
}

// turnTimeout is the time limit of one turn, because the network may have lost a reply.
const turnTimeout = time.Minute

// turn runs tasks within turnTimeout.
func turn(ctx context.Context, tasks ...func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	var errs []error
	for _, task := range tasks {
		errs = append(errs, task(ctx))
	}
	return errors.Join(errs...)
}
