package apply

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/postgres"
)

// Patience decides which errors are retried, and when.
type Patience struct {
	failures int
	rewinds  int // how often a topic ended before the position that was read
}

// maxRewinds is how often a topic may end before the position that was read before this is taken as true.
const maxRewinds = 10

// Again waits before the next attempt, or returns the error that ends the run. lasted is how long the last attempt worked.
func (p *Patience) Again(ctx context.Context, err error, lasted time.Duration, log *zap.Logger) error {
	if again := (rewound{}); errors.As(err, &again) && p.rewinds < maxRewinds {
		p.rewinds++
		err = errors.New(again.What)
	}
	if isHalt(err) || !postgres.Retriable(err) {
		return explain(err)
	}
	if lasted > time.Minute {
		p.failures = 0
	}
	p.failures++
	wait := min(time.Duration(1<<min(p.failures, 6))*50*time.Millisecond, 3*time.Second)
	log.Warn("retrying", zap.Error(err), zap.Duration("in", wait))
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	return nil
}
