package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/pgtee/pgtee/publisher/query"
)

// queryCommand publishes the rows of a query.
type queryCommand struct {
	logged
	brokerFlags `group:"Kafka"`

	Postgres   postgresURLs  `help:"The database to query, such as postgres://user@host:5432/shop." required:"" sep:"none" placeholder:"URL"`
	SQL        string        `name:"sql" help:"The query. It runs in a read-only transaction." placeholder:"SELECT"`
	SQLFile    string        `name:"sql-file" help:"File with the query." type:"path" placeholder:"FILE"`
	Key        string        `help:"Key of a record: an expression over the columns of the query, such as id, or jsonb_build_object('id', id)." placeholder:"EXPRESSION" env:"PGTEE_QUERY_KEY"`
	Topic      string        `help:"The topic to publish to; created if it does not exist." required:"" placeholder:"TOPIC"`
	Every      time.Duration `help:"Run repeatedly, at this interval; by default once." placeholder:"30s"`
	Cron       string        `help:"Run at these times: minute hour day month weekday, in the local time zone." placeholder:"'0 6 * * 1-5'"`
	Changes    bool          `help:"Publish only rows that have changed since the last run, and a tombstone for each key that is gone. Needs --key."`
	StateTopic string        `help:"Compacted topic in which --changes remembers a hash of each row; by default TOPIC.state." placeholder:"TOPIC"`
	Name       string        `help:"Name of this query: of two processes with the same name, the one that starts later fences the other. By default the topic." placeholder:"NAME"`

	TransactionTimeout time.Duration `help:"Longest time from the first row of a run to its last; at most transaction.max.timeout.ms of the brokers, 15 minutes by default. The brokers abort a run that takes longer." default:"5m" placeholder:"TIME"`
}

func (c *queryCommand) Run(ctx context.Context, term terminal) error {
	limitGarbage()
	config, err := c.config(term)
	if err != nil {
		return usage(err)
	}
	kafka, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	config.Brokers, config.KafkaOptions = kafka.brokers, kafka.options
	if config.Next == nil {
		config.Ran = func(run query.Run) {
			fmt.Fprintf(term.out, "run %s: %d rows, %d published to %s, %d tombstones\n", run.ID, run.Rows, run.Changed, c.Topic, run.Gone)
		}
	}
	return halted(query.Publish(ctx, config))
}

func (c *queryCommand) config(term terminal) (config query.Config, err error) {
	conn, err := postgresFlags{Postgres: c.Postgres}.connString("")
	if err != nil {
		return config, err
	}
	config = query.Config{
		ConnString: conn, SQL: c.SQL, Key: c.Key, Topic: c.Topic, Changes: c.Changes, StateTopic: c.StateTopic, Name: c.Name, TransactionTimeout: c.TransactionTimeout,
		Log: c.logger(term.err).Named("query"),
	}
	if c.SQLFile != "" {
		text, err := os.ReadFile(c.SQLFile)
		if err != nil {
			return config, fmt.Errorf("--sql-file: %w", err)
		}
		config.SQL = string(text)
	}
	switch {
	case (c.SQL == "") == (c.SQLFile == ""):
		return config, errors.New("give the query in --sql or in --sql-file")
	case c.Changes && c.Key == "":
		return config, errors.New("--changes needs --key, which identifies a row from run to run")
	case c.TransactionTimeout < time.Second:
		return config, errors.New("--transaction-timeout: want a time such as 10m")
	case c.Every != 0 && c.Cron != "":
		return config, errors.New("give --every or --cron, not both")
	case c.Every < 0:
		return config, errors.New("--every: want a time such as 30s")
	case c.Every > 0:
		config.Next = query.Every(c.Every)
	case c.Cron != "":
		cron, err := query.ParseCron(c.Cron)
		if err != nil {
			return config, fmt.Errorf("--cron: %w", err)
		}
		config.Next, config.Later = cron.Next, true
	}
	return config, nil
}
