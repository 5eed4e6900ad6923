package publisher

import (
	"context"
	"errors"
	"time"

	"github.com/pgtee/pgtee/outbox"
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

// trouble is a failure that persists.
type trouble struct {
	state      string // "retrying", "standing by"; "": no failure
	cause      string // the cause, without numbers that change
	lastLogged time.Time
}

const (
	repeatLogEvery   = 5 * time.Minute  // how often a persistent failure is logged again
	logNewCauseAfter = 10 * time.Second // how often a change of its cause is logged
)

// logTrouble logs a new failure immediately, and a persistent one every few minutes: an outage of hours takes dozens of log lines, not thousands. A failure
// that turns into another one is logged too.
func (p *Publisher) logTrouble(state string, err error) {
	now, cause := p.now(), causeOf(err)
	since := now.Sub(p.trouble.lastLogged)
	if p.trouble.state != state || p.trouble.cause != cause && since >= logNewCauseAfter || since >= repeatLogEvery {
		p.cfg.Log.Warn(state, zap.String("finding", "publisher-retries"), zap.Error(err))
		p.trouble = trouble{state, cause, now}
	}
	p.stats.fail(state, err)
}

// recovered logs the end of a failure, once something has been published.
func (p *Publisher) recovered(position Position) {
	if p.trouble.state != "" {
		p.cfg.Log.Info("publishing again", zap.Stringer("lsn", position.EndLSN))
	}
	p.trouble = trouble{}
}

// causeOf returns the part of an error that stays the same when the failure recurs: its innermost text. If an error wraps several errors, the last
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

// adaptTo acts on an error before the next attempt: it renames a table's topic, lowers a topic's record limit, or halts if the server keeps failing to
// decode the same transaction.
func (p *Publisher) adaptTo(err error) error {
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
		return p.lowerLimit(small, err)
	case errors.Is(err, outbox.ErrDecoding):
		return p.decoding.haltIfPersistent(err, p.now())
	}
	return err
}

// decodingPatience is how long the server may fail to decode the same transaction in the same way. A transient error, such as a lookup that
// meets concurrent DDL, ends sooner.
const decodingPatience = 30 * time.Second

// undecodable is the latest failure of the server's decoding.
type undecodable struct {
	text  string // with its position in the WAL
	since time.Time
}

// haltIfPersistent turns a failure that persists into a halt. Retries would only keep the WAL until the disk is full.
func (u *undecodable) haltIfPersistent(err error, now time.Time) error {
	if text := err.Error(); u.text != text {
		*u = undecodable{text, now}
	}
	if now.Sub(u.since) < decodingPatience {
		return err
	}
	return halt.New(halt.ErrUndecodable, err.Error(), repairUndecodable)
}

// warnOwnTopic logs that a table does not have the topic of the template.
func (p *Publisher) warnOwnTopic(table, topic string, why error) {
	p.cfg.Log.Warn("a table gets a topic of its own; to choose its name, configure tables: [{match, topic}]",
		zap.String("finding", "topic-own"), zap.String("table", table), zap.String("topic", topic), zap.Error(why))
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
