// Package consume writes the records of any topic into a table: each record once, in the same transaction as the offset after it. See
// docs/consume.md.
package consume

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/decode"
	"github.com/pgtee/pgtee/subscriber/postgres"
)

// Format is the format of record values.
type Format string

const (
	JSON Format = "json" // with or without a Connect schema
	Avro Format = "avro" // in Confluent's wire format
	CSV  Format = "csv"  // a record is one line
	TSV  Format = "tsv"  // a record is one line, in the format of COPY
	Text Format = "text" // the whole value is one column
	Raw  Format = "raw"  // the whole value is one column, as bytes
)

// Config says what to read and where to write it.
type Config struct {
	Brokers      []string
	KafkaOptions []kgo.Opt
	Topic        string
	Format       Format
	Avro         func(ctx context.Context, framed []byte) ([]byte, error)          // decodes to JSON; nil: there is no registry
	AvroFields   func(ctx context.Context, framed []byte) ([]decode.Column, error) // fields of a schema, for Create

	ConnString    string
	TrustedOwners []string // roles, other than superusers and the user itself, that may own pgtee.consumed and pgtee.dead_letters

	Schema  string // schema of the table
	Table   string
	Group   string // consumers of a group share the partitions; "": the table's name
	Mapping Mapping
	Create  bool // create the table if it does not exist

	From Start // where a new group starts
	Once bool  // stop at the position that Kafka has reached at the start

	Log   *zap.Logger
	Stats *Stats
}

func (c *Config) group() string {
	if c.Group != "" {
		return c.Group
	}
	return c.Schema + "." + c.Table
}

// Halt is an error on which an operator must decide: what happened, and what to do about it.
type Halt struct{ What, Repair string }

func (h Halt) Error() string { return h.What + ": " + h.Repair }

func isHalt(err error) bool {
	var halt Halt
	return errors.As(err, &halt)
}

// Run consumes until ctx ends, which is not an error, until Config.Once is fulfilled, or until an operator must act. After any other error it retries
// from the position in the table.
func Run(ctx context.Context, cfg Config) error {
	r := runner{cfg: &cfg}
	failures := 0
	for {
		began := time.Now()
		done, err := r.session(ctx)
		if ctx.Err() != nil || done && err == nil {
			return nil
		}
		if lost := (lostRecords{}); errors.As(err, &lost) && r.rewinds < maxRewinds {
			r.rewinds++
			err = errors.New(lost.What)
		}
		if isHalt(err) || !postgres.Retriable(err) {
			return explain(err)
		}
		if time.Since(began) > time.Minute {
			failures = 0
		}
		failures++
		wait := min(time.Duration(1<<min(failures, 6))*50*time.Millisecond, 3*time.Second)
		cfg.Log.Warn("retrying", zap.Error(withoutValues(err)), zap.Duration("in", wait))
		cfg.Stats.state("retrying")
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// maxRewinds is how often Kafka may report that it has lost consumed records before this is taken as true: a newly elected leader may report that for
// a moment.
const maxRewinds = 10

// runner is the state that outlives a session.
type runner struct {
	cfg     *Config
	ends    map[int32]int64 // with Config.Once: the ends of the partitions at the start
	rewinds int
	reached bool // there was a database to write to

	readable bool // a schema of the registry could be read
}

// explain adds a repair to errors that have none.
func explain(err error) error {
	var answer *pgconn.PgError
	switch {
	case isHalt(err) || !errors.As(err, &answer):
		return err
	case answer.Code == "42501":
		return Halt{"the user of --postgres lacks a privilege: " + answer.Message, "GRANT it (see Privileges in docs/consume.md), and start again"}
	case answer.Code == "53100":
		return Halt{"the disk of the database is full: " + answer.Message, "free space there and start again; no batch is written partially"}
	case answer.Code == "42P10":
		return Halt{"--key: no unique index of the table has exactly these columns", "CREATE UNIQUE INDEX on them, or name those of the primary key"}
	}
	if isUnclear(err) {
		return Halt{fmt.Sprintf("PostgreSQL refuses every available record, although the records may not be the cause: %s (SQLSTATE %s)", answer.Message, answer.Code),
			"correct the cause and start again; a record that is refused while others are written becomes a dead letter"}
	}
	return Halt{fmt.Sprintf("PostgreSQL reports an error that is not caused by a record: %s (SQLSTATE %s)", answer.Message, answer.Code), "correct the cause and start again; no batch is written partially"}
}

// withoutValues removes everything from an error that may quote a row.
func withoutValues(err error) error {
	var answer *pgconn.PgError
	if errors.As(err, &answer) && (isBadRecord(err) || isUnclear(err)) {
		return fmt.Errorf("SQLSTATE %s", answer.Code)
	}
	return err
}
