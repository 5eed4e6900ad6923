package apply

import (
	"context"
	"time"
)

// pacer limits an applier to a number of changes per second; 0 means no limit.
type pacer struct {
	perSecond int
	due       time.Time
}

// wait waits until n more changes may be written.
func (p *pacer) wait(ctx context.Context, n int) error {
	if p.perSecond <= 0 || n == 0 {
		return nil
	}
	now := time.Now()
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(time.Duration(n) * time.Second / time.Duration(p.perSecond))
	select {
	case <-time.After(p.due.Sub(now)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
