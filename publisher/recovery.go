package publisher

import (
	"context"
	"time"

	"go.uber.org/zap"
)

const (
	firstBackoff = 50 * time.Millisecond
	maxBackoff   = 5 * time.Second
	standByPause = time.Second
)

// backoff returns how long to wait after a failure: twice as long each time in a row.
func (p *Publisher) backoff() time.Duration {
	wait := min(firstBackoff<<min(p.failures, 10), maxBackoff)
	p.failures++
	return wait
}

// say logs a failure if it is another kind than the last: an outage of hours is one line, not thousands.
func (p *Publisher) say(state string, err error) {
	if p.said != state {
		p.cfg.Log.Warn(state, zap.Error(err))
	}
	p.said = state
	p.stats.fail(state, err)
}

// pause waits, or returns the error of ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
