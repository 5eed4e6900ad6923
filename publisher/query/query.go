// Package query publishes the rows of a query, again and again: each run is one Kafka transaction, visible whole or not at all. With
// Config.Changes a run has only what differs from the last one, and a tombstone for each key that has vanished.
package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// Config says what to ask and where to publish it.
type Config struct {
	Brokers      []string
	KafkaOptions []kgo.Opt
	ConnString   string

	SQL        string
	Key        string // an expression over the columns of SQL; "": records have no key
	Topic      string
	Changes    bool
	StateTopic string // of Changes; "": Topic and ".state"
	Name       string // of two queries with one name the later shuts the other out; "": the topic

	Next  func(after time.Time) time.Time // when to run again; nil: once
	Later bool                            // the first run is at Next, too

	Log *zap.Logger
	Ran func(Run) // is called after each run
}

// Run is one run that has been published.
type Run struct {
	ID      string    `json:"run"`
	Time    time.Time `json:"time"` // of the query's transaction
	Rows    int       `json:"rows"` // of the query
	Changed int       `json:"changed"`
	Gone    int       `json:"gone"` // keys that have got a tombstone

	TopicID string `json:"topic_id"`
}

// Headers of the records of a run.
const (
	RunHeader  = "pgtee-run"      // id
	TimeHeader = "pgtee-run-time" // of the query's transaction
	RowsHeader = "pgtee-run-rows" // number of rows of the query, published or not
)

// Halt is an end that a human has to decide on: what happened, and what to do about it.
type Halt struct{ What, Repair string }

func (h Halt) Error() string { return h.What + ": " + h.Repair }

var errFenced = Halt{"fenced off: another `pgtee query` of this name publishes now", "run one for each --name"}

func (c *Config) name() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Topic
}

func (c *Config) stateTopic() string {
	if c.StateTopic != "" {
		return c.StateTopic
	}
	return c.Topic + ".state"
}

// Publish runs the query until ctx ends, which is no error, until Config.Next is nil and it has run, or until a human must act. Every
// other error is tried again.
func Publish(ctx context.Context, cfg Config) error {
	due := time.Now()
	if cfg.Later {
		due = cfg.Next(due)
	}
	for failures := 0; ; failures++ {
		began := time.Now()
		err := session(ctx, &cfg, &due)
		if err == nil || ctx.Err() != nil {
			return nil
		}
		if err := final(err); err != nil {
			return err
		}
		if time.Since(began) > time.Minute {
			failures = 0
		}
		wait := min(time.Duration(1<<min(failures, 6))*100*time.Millisecond, 5*time.Second)
		cfg.Log.Warn("retrying", zap.String("finding", "query-retries"), zap.Error(err), zap.Duration("in", wait))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// final is an error that no other try would mend, nil if one might.
func final(err error) error {
	var answer *pgconn.PgError
	var halt Halt
	switch {
	case errors.As(err, &halt):
		return err
	case errors.Is(err, kerr.ProducerFenced), errors.Is(err, kerr.InvalidProducerEpoch):
		return errFenced
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return Halt{"Kafka refuses: " + err.Error(), "grant WRITE and READ on the topics, and WRITE on transactional ids pgtee-query-*"}
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return Halt{"a row is larger than the topic takes", "raise its max.message.bytes, or select less"}
	case errors.As(err, &answer) && len(answer.Code) == 5:
		switch answer.Code[:2] {
		case "08", "40", "53", "55", "57", "58":
			return nil
		}
		return Halt{fmt.Sprintf("PostgreSQL refuses the query: %s (SQLSTATE %s)", answer.Message, answer.Code), "correct --sql or --key: the query is run as a subquery, in a read-only transaction"}
	}
	return nil
}

// session is the one path of start and recovery: fence, read what was published, run whenever it is due.
func session(ctx context.Context, cfg *Config, due *time.Time) error {
	p, err := cfg.open(ctx)
	if err != nil {
		return err
	}
	defer p.client.Close()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Until(*due)):
		}
		run, err := p.run(ctx)
		if err != nil {
			return err
		}
		cfg.Log.Info("published", zap.String("run", run.ID), zap.Int("rows", run.Rows), zap.Int("changed", run.Changed), zap.Int("gone", run.Gone))
		if cfg.Ran != nil {
			cfg.Ran(run)
		}
		if cfg.Next == nil {
			return nil
		}
		*due = cfg.Next(time.Now())
	}
}
