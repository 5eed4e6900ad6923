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

// backoff returns how long to wait after a failure; it doubles with each consecutive failure.
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
	retell     = 5 * time.Minute  // how often a lasting trouble is logged again
	tellOthers = 10 * time.Second // how often a different one is logged
)

// say logs a new failure at once, and one that lasts every few minutes: an outage of hours takes dozens of log lines, not thousands, and a
// failure that turns into another one is logged too.
func (p *Publisher) say(state string, err error) {
	now, cause := p.now(), causeOf(err)
	since := now.Sub(p.trouble.lastLogged)
	if p.trouble.state != state || p.trouble.cause != cause && since >= tellOthers || since >= retell {
		p.cfg.Log.Warn(state, zap.String("finding", "publisher-retries"), zap.Error(err))
		p.trouble = trouble{state, cause, now}
	}
	p.stats.fail(state, err)
}

// recovered logs the end of a trouble: something was published.
func (p *Publisher) recovered(position Position) {
	if p.trouble.state != "" {
		p.cfg.Log.Info("publishing again", zap.Stringer("lsn", position.EndLSN))
	}
	p.trouble = trouble{}
}

// causeOf returns the part of an error that stays the same when the failure recurs: its innermost text. Of several wrapped errors the last
// one is the cause: it comes from Kafka.
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

// heed learns from an error what the next attempt must do differently: use another topic for a table, or make smaller records.
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

// tellTopic logs that a table has another topic than the template's.
func (p *Publisher) tellTopic(table, topic string, why error) {
	if errors.Is(why, ErrOwnTopic) {
		p.cfg.Log.Info("a table has a topic of its own, as before", zap.String("table", table), zap.String("topic", topic))
	} else {
		p.cfg.Log.Warn("a table gets a topic of its own; choose another one in the configuration if it is to have a better name (tables: [{match, topic}])",
			zap.String("finding", "topic-own"), zap.String("table", table), zap.String("topic", topic), zap.Error(why))
	}
	p.stats.ownTopic()
}

// Pause waits for d. It returns the error of ctx if that ends first.
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
