package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/subscriber/consume"
)

// consumeCommand writes the records of a topic into a table.
type consumeCommand struct {
	logged
	brokerFlags   `group:"Kafka"`
	registryFlags `group:"Kafka"`

	Postgres   postgresURLs `help:"The database to write to, such as postgres://user@host:5432/shop." required:"" sep:"none" placeholder:"URL"`
	TrustOwner []string     `help:"Roles, other than superusers and the user itself, that may own the tables of schema pgtee. The user runs code of these roles." placeholder:"ROLE,…"`
	Topic      string       `help:"The topic to read." required:"" placeholder:"TOPIC"`
	Into       string       `help:"The table to write to." required:"" placeholder:"SCHEMA.TABLE"`
	Group      string       `help:"Name of the group, whose members share the partitions of the topic, and whose position is in pgtee.consumed. By default the name of the table." placeholder:"NAME"`
	Format     string       `help:"Format of the values: ${enum}. JSON may carry a Connect schema; CSV, and TSV as written by COPY, have one line per record; text and raw fill one column." enum:"json,avro,csv,tsv,text,raw" default:"json" env:"PGTEE_CONSUME_FORMAT"`

	Map         map[string]string `help:"Fill a column from a path in the value: total=$.sum.gross; $ is the whole value. Other columns get the field of the same name." placeholder:"COLUMN=PATH" mapsep:","`
	Columns     []string          `help:"Columns filled from the value: for CSV and TSV in the order of the fields, for an object by name; by default the columns of the table." placeholder:"COLUMN"`
	Key         []string          `help:"Columns filled from the record's key, optionally by a path in it. A record replaces the row with its key, a tombstone deletes it; these columns need a unique index. Without this flag rows are only added." placeholder:"COLUMN[=PATH]" env:"PGTEE_CONSUME_KEY"`
	Header      map[string]string `help:"Fill a column with a header." placeholder:"COLUMN=HEADER" mapsep:","`
	Offset      string            `help:"Column for the record's offset." placeholder:"COLUMN"`
	Partition   string            `help:"Column for the record's partition." placeholder:"COLUMN"`
	Timestamp   string            `help:"Column for the record's timestamp." placeholder:"COLUMN"`
	CreateTable bool              `help:"Create the table if it does not exist: from the schema of the records, or from the contents of the first hundred."`

	From      consume.Start `help:"Where a new group begins: beginning, end, a time (2025-01-31T12:00:00Z), how long ago (10m), or offsets of partitions (0:1200,1:1180)." default:"beginning"`
	Once      bool          `help:"Exit once everything that is in the topic at the start has been consumed."`
	RetryDead bool          `help:"Try the records in pgtee.dead_letters again, and exit."`
}

func (c *consumeCommand) Run(ctx context.Context, term terminal) error {
	limitGarbage()
	config, err := c.config(term)
	if err != nil {
		return usage(err)
	}
	if c.RetryDead {
		return c.retry(ctx, config, term)
	}
	kafka, err := c.openAndPing(ctx)
	if err != nil {
		return err
	}
	config.Brokers, config.KafkaOptions = kafka.brokers, kafka.options
	err = halted(consume.Run(ctx, config))
	v := config.Stats.Values()
	config.Log.Info("consumed", zap.Int64("records", v.Records), zap.Int64("dead", v.Dead), zap.Int64("commits", v.Commits))
	if err == nil && c.Once && ctx.Err() == nil {
		fmt.Fprintf(term.out, "%d records of %s are in %s, %d in pgtee.dead_letters\n", v.Records-v.Dead, c.Topic, c.Into, v.Dead)
	}
	return err
}

func (c *consumeCommand) retry(ctx context.Context, config consume.Config, term terminal) error {
	alive, dead, err := consume.RetryDead(ctx, config)
	if err != nil {
		return halted(err)
	}
	fmt.Fprintf(term.out, "%d dead letters are in %s now, %d are still dead\n", alive, c.Into, dead)
	return nil
}

func (c *consumeCommand) config(term terminal) (config consume.Config, err error) {
	conn, err := postgresFlags{Postgres: c.Postgres}.connString("")
	if err != nil {
		return config, err
	}
	schema, table, found := strings.Cut(c.Into, ".")
	if !found {
		schema, table = "public", c.Into
	}
	config = consume.Config{
		Topic: c.Topic, Format: consume.Format(c.Format), ConnString: conn, TrustedOwners: c.TrustOwner, Schema: schema, Table: table, Group: c.Group, Create: c.CreateTable,
		Mapping: consume.Mapping{Columns: c.Columns, Paths: c.Map, Keys: c.Key, Headers: c.Header, Offset: c.Offset, Partition: c.Partition, Timestamp: c.Timestamp},
		From:    c.From, Once: c.Once, Log: c.logger(term.err).Named("consume"), Stats: &consume.Stats{},
	}
	avro, err := c.reader()
	if err != nil {
		return config, err
	}
	if avro != nil {
		avro.Readable = true
		config.Avro, config.AvroFields = avro.JSON, avro.Columns
	}
	if config.Format == consume.Avro && avro == nil {
		return config, errors.New("--format avro needs a schema registry: add --schema-registry http://HOST:PORT")
	}
	return config, config.Check()
}
