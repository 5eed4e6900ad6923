package main

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	firstRetry   = 5 * time.Second
	longestRetry = 30 * time.Second
)

// keepPublishing publishes until ctx ends. If the publisher halts or cannot start, it logs the reason, waits, and tries again, so that `pgtee run` serves
// clients meanwhile, other databases are published, and --max-retained-wal stays in effect. An error after which the publisher has not resumed determines the exit code.
func (p databasePublisher) keepPublishing(ctx context.Context, meanwhile string) error {
	defer p.catalog.Close(context.WithoutCancel(ctx))
	wait, said := firstRetry, ""
	var last, ran error // what Run halted at last; last: or what keeps it from starting
	for {
		published := p.Stats().Transactions
		barred := p.check(ctx)
		err := barred
		if barred == nil {
			p.Checked()
			last = ran
			err = p.Publisher.Run(ctx)
			ran = err
		}
		switch {
		case err == nil && p.Stats().State != "halted":
			return nil
		case err == nil, ctx.Err() != nil:
			return halted(last)
		}
		if last = err; p.Stats().Transactions > published { // it has worked in between
			wait, said = firstRetry, ""
		}
		if barred != nil {
			p.Halted(barred)
		}
		if text := oneLine(err); text != said {
			p.log.Error("publishing has halted until an operator acts, and then resumes by itself; "+meanwhile, zap.String("finding", findingOf(err, "publishing-stopped")), zap.String("database", p.database), zap.Error(err))
			said = text
		}
		select {
		case <-ctx.Done():
			return halted(last)
		case <-time.After(wait):
		}
		wait = min(2*wait, longestRetry)
	}
}

// halted returns the exit error of a command that has stopped and requires human action; nil if err is nil.
func halted(err error) error {
	if err == nil {
		return nil
	}
	return exitError{exitHalted, err}
}
