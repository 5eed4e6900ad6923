package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// actor is a part of the process that runs until its context ends or it fails.
type actor struct {
	name string
	run  func(context.Context) error
}

// runGroup runs the actors until ctx ends or one of them returns, then stops them one after another in the given order, waits for each, and joins
// their errors. Actors that have not ended after the drain time are abandoned, because the process is about to end.
func runGroup(ctx context.Context, drain time.Duration, actors ...actor) error {
	type running struct {
		cancel context.CancelFunc
		done   chan error
	}
	first := make(chan struct{}, len(actors))
	group := make([]running, len(actors))
	for i, a := range actors {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		group[i] = running{cancel, make(chan error, 1)}
		go func() {
			group[i].done <- a.run(own)
			first <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-first:
	}
	deadline := time.NewTimer(drain)
	defer deadline.Stop()
	var errs []error
	for i, a := range actors {
		group[i].cancel()
		select {
		case err := <-group[i].done:
			if err != nil && !errors.Is(err, context.Canceled) {
				errs = append(errs, fmt.Errorf("%s: %w", a.name, err))
			}
		case <-deadline.C:
			return errors.Join(append(errs, fmt.Errorf("%s did not stop within %s and was abandoned", a.name, drain))...)
		}
	}
	return errors.Join(errs...)
}
