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
	doubts   int // how often a Halt was doubted
}

// doubted is a Halt that counts only if it persists: what Kafka or the publisher reports may be outdated for a moment.
type doubted struct{ Halt }

func (d doubted) Unwrap() error { return d.Halt }

// maxDoubts is how often a Halt is doubted.
const maxDoubts = 10

// Again waits before the next attempt, or returns the error that ends the run. lasted is how long the last attempt worked.
func (p *Patience) Again(ctx context.Context, err error, lasted time.Duration, log *zap.Logger) error {
	if lasted > time.Minute {
		*p = Patience{}
	}
	if doubt := (doubted{}); errors.As(err, &doubt) && p.doubts < maxDoubts {
		p.doubts++
		err = errors.New(doubt.What)
	}
	if isHalt(err) || !postgres.Retriable(err) {
		return explain(err)
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
