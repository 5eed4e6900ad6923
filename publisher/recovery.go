package publisher

import (
	"context"
	"errors"
	"time"

	"github.com/pgtee/pgtee/publisher/halt"
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

// trouble is a failure that lasts.
type trouble struct {
	state      string // "retrying", "standing by"; "": all is well
	cause      string // what is wrong, without numbers that change
	lastLogged time.Time
}

const (
	retell     = 5 * time.Minute  // how often a trouble that lasts is told again
	tellOthers = 10 * time.Second // how often another one is
)

// say logs a failure that is new, and again every few minutes while it lasts: an outage of hours is some dozens of lines,
// not thousands, and what it turns into is among them.
func (p *Publisher) say(state string, err error) {
	now, cause := p.now(), causeOf(err)
	since := now.Sub(p.trouble.lastLogged)
	if p.trouble.state != state || p.trouble.cause != cause && since >= tellOthers || since >= retell {
		p.cfg.Log.Warn(state, zap.String("finding", "publisher-retries"), zap.Error(err))
		p.trouble = trouble{state, cause, now}
	}
	p.stats.fail(state, err)
}

// recovered says that a trouble is over: something is published.
func (p *Publisher) recovered(position Position) {
	if p.trouble.state != "" {
		p.cfg.Log.Info("publishing again", zap.Stringer("lsn", position.EndLSN))
	}
	p.trouble = trouble{}
}

// causeOf is what is the same each time that a failure comes again: its innermost text. Of several errors that one wraps, the
// last tells why: it is Kafka's own.
func causeOf(err error) string {
	for {
		inner := errors.Unwrap(err)
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			all := several.Unwrap()
			inner = all[len(all)-1]
		}
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// heed takes from an error what the next round has to do otherwise: another topic for a table, smaller records.
func (p *Publisher) heed(err error) error {
	var unusable *UnusableTopic
	var small *SmallTopic
	switch {
	case errors.As(err, &unusable):
		table := p.owners[unusable.Topic].relation
		if table == nil {
			return halt.New(halt.ErrKafkaRefused, err.Error(), unusable.Repair)
		}
		if err := p.cfg.Shape.Rename(table, unusable.Why); err != nil {
			return err
		}
		delete(p.owners, unusable.Topic)
	case errors.As(err, &small):
		return p.limit(small, err)
	}
	return err
}

// tellTopic says that a table has another topic than is expected.
func (p *Publisher) tellTopic(table, topic string, why error) {
	if errors.Is(why, ErrOwnTopic) {
		p.cfg.Log.Info("a table has a topic of its own, as before", zap.String("table", table), zap.String("topic", topic))
	} else {
		p.cfg.Log.Warn("a table gets a topic of its own; choose another one in the configuration if it is to have a better name (tables: [{match, topic}])",
			zap.String("finding", "topic-own"), zap.String("table", table), zap.String("topic", topic), zap.Error(why))
	}
	p.stats.ownTopic()
}

// Pause waits, or returns the error of ctx.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
