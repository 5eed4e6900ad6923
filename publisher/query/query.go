// Package query publishes the rows of a query repeatedly: each run is one Kafka transaction, visible completely or not at all. With Config.Changes a
// run publishes only what differs from the last run, and a tombstone for each key that has disappeared.
package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// Config says which query to run and where to publish its rows.
type Config struct {
	Brokers      []string
	KafkaOptions []kgo.Opt
	ConnString   string

	SQL        string
	Key        string // an SQL expression over the columns of SQL; "": records have no key
	Topic      string
	Changes    bool
	StateTopic string // for Changes; "": Topic and ".state"
	Name       string // of two queries with one name, the later one fences the other; "": the topic

	TransactionTimeout time.Duration // from the first row of a run to its last: the brokers abort a longer run; 0: 5 minutes

	Next  func(after time.Time) time.Time // time of the next run; nil: run once
	Later bool                            // the first run is scheduled by Next too

	Log *zap.Logger
	Ran func(Run) // called after each run
}

// Run describes a run that has been published.
type Run struct {
	ID      string    `json:"run"`
	Time    time.Time `json:"time"` // time of the query's transaction
	Rows    int       `json:"rows"` // number of rows of the query
	Changed int       `json:"changed"`
	Gone    int       `json:"gone"` // number of keys that got a tombstone

	TopicID string `json:"topic_id"`
	Query   string `json:"query"` // name of the query
}

// Headers of the records of a run.
const (
	RunHeader  = "pgtee-run"      // id of the run
	TimeHeader = "pgtee-run-time" // time of the query's transaction
	RowsHeader = "pgtee-run-rows" // number of rows of the query, whether published or not
)

// Halt is an error on which an operator must decide: what happened, and what to do about it.
type Halt struct{ What, Repair string }

func (h Halt) Error() string { return h.What + ": " + h.Repair }

var errFenced = Halt{"fenced off: another `pgtee query` of this name publishes now", "run one for each --name"}

func (c *Config) name() string {
	if c.Name != "" {
		return c.Name
	}
	return c.Topic
}

func (c *Config) transactionTimeout() time.Duration {
	return cmp.Or(c.TransactionTimeout, 5*time.Minute)
}

func (c *Config) stateTopic() string {
	if c.StateTopic != "" {
		return c.StateTopic
	}
	return c.Topic + ".state"
}

// Publish runs the query until ctx ends, which is not an error, until it has run once if Config.Next is nil, or until an operator must act. After any
// other error it retries.
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

// final returns an error that a retry cannot repair; nil if a retry may succeed.
func final(err error) error {
	var answer *pgconn.PgError
	var halt Halt
	switch {
	case errors.As(err, &halt):
		return err
	case fenced(err):
		return errFenced
	case errors.Is(err, kerr.InvalidTransactionTimeout):
		return Halt{"the brokers allow no transaction as long as --transaction-timeout", "lower it, or raise transaction.max.timeout.ms of the brokers"}
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return Halt{"Kafka refused: " + err.Error(), "grant WRITE and DESCRIBE on the topic, READ and WRITE on the state topic, CREATE unless they exist, and WRITE on transactional ids pgtee-query-*"}
	case errors.As(err, &answer) && len(answer.Code) == 5:
		switch answer.Code[:2] {
		case "08", "40", "53", "55", "57", "58":
			return nil
		}
		return Halt{fmt.Sprintf("PostgreSQL refuses the query: %s (SQLSTATE %s)", answer.Message, answer.Code), "correct --sql or --key: the query is run as a subquery, in a read-only transaction"}
	}
	return nil
}

// fenced reports whether the brokers have given the name of the query to another producer, or have aborted its transaction.
func fenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch)
}

// session is the single path for start and recovery: fence, read what was published, run the query whenever it is due.
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
