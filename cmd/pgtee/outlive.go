package main

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	firstAgain   = 5 * time.Second
	longestAgain = 30 * time.Second
)

// outlive publishes until ctx ends, whatever stops it meanwhile or prevents it from starting: it logs why, waits, and starts again when it can. In
// `pgtee run` clients are served all the time; the limit of --max-retained-wal stays in effect. The last error determines the exit code, if the
// publisher has not resumed since.
func (p databasePublisher) outlive(ctx context.Context, meanwhile string) error {
	defer p.catalog.Close(context.WithoutCancel(ctx))
	wait, said := firstAgain, ""
	var last error
	for {
		began := time.Now()
		err := p.check(ctx)
		if err == nil {
			err, last = p.Publisher.Run(ctx), nil
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return halted(last)
		}
		if last = err; time.Since(began) > 2*firstAgain { // it has worked in between
			wait, said = firstAgain, ""
		}
		p.Halted(err)
		if text := oneLine(err); text != said {
			p.log.Error("publishing has halted until an operator acts, and then resumes by itself; "+meanwhile, zap.String("finding", findingOf(err, "publishing-stopped")), zap.String("database", p.database), zap.Error(err))
			said = text
		}
		select {
		case <-ctx.Done():
			return halted(last)
		case <-time.After(wait):
		}
		wait = min(2*wait, longestAgain)
	}
}

// halted returns the exit error of a publisher that requires human action; nil if none is required.
func halted(err error) error {
	if err == nil {
		return nil
	}
	return exitError{exitHalted, err}
}
