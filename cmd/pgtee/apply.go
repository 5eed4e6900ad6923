package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pgtee/pgtee/cmd/pgtee/doctor"
	"github.com/pgtee/pgtee/parser"
	"github.com/pgtee/pgtee/subscriber/apply"
	"github.com/pgtee/pgtee/subscriber/archive"
)

// applyFlags are the flags of the commands that write a stream into the tables of another database.
type applyFlags struct {
	logged
	Kafka         []string `help:"Brokers to contact first; not with --from DIR." placeholder:"HOST:PORT" group:"Kafka"`
	topicFlags    `group:"Kafka"`
	valueFlags    `group:"Forms of values"`
	registryFlags `group:"Kafka"`

	Postgres      postgresURLs      `help:"The database to write to, such as postgres://user@host:5432/replica." required:"" sep:"none" placeholder:"URL"`
	Slot          string            `help:"Slot of the publisher; needed only if several have used the prefix." placeholder:"NAME"`
	Stream        string            `help:"Name of this stream in pgtee.applied of the target; by default the prefix." placeholder:"NAME"`
	TrustOwner    []string          `help:"Roles, other than superusers and the user itself, that may own the tables of schema pgtee. The user runs code of these roles." placeholder:"ROLE,…"`
	Topics        []string          `help:"Further topics of tables, if their names do not begin with the prefix." placeholder:"TOPIC"`
	DeletedTopics []string          `help:"Continue although these topics, which were read before, were deleted. Records in them that were not applied are missing." placeholder:"TOPIC"`
	Tables        []string          `help:"Apply these tables only: globs of SCHEMA.TABLE in the source." placeholder:"GLOB" env:"PGTEE_APPLY_TABLES"`
	ExcludeTables []string          `help:"Leave out these tables." placeholder:"GLOB"`
	IgnoreColumns []string          `help:"Leave out these columns, which the target lacks: globs of SCHEMA.TABLE.COLUMN." placeholder:"GLOB"`
	Map           map[string]string `help:"Schemas or tables that have another name in the target: SCHEMA=SCHEMA or SCHEMA.TABLE=SCHEMA.TABLE." placeholder:"FROM=TO" mapsep:","`

	DDL            string   `name:"ddl" help:"What to do with DDL of the source: ${enum}." enum:"halt,apply,ignore" default:"halt"`
	DDLAsSuperuser bool     `name:"ddl-as-superuser" help:"Let --ddl apply run DDL as a superuser of the target. Whoever may create a function, a trigger or a constraint in the source can then become superuser of the target."`
	OnConflict     []string `help:"What to do with a change that does not fit the target: error, skip or overwrite; for some tables GLOB=POLICY, of which the last match applies. Each conflict is recorded in pgtee.conflicts in the target." placeholder:"POLICY" default:"error"`
	FireTriggers   bool     `help:"Continue even if triggers in the target fire: because the user may not set session_replication_role, or because they are ENABLE ALWAYS or REPLICA."`
	Origin         string   `help:"Whether applied changes carry a replication origin, so that a publisher of the target can leave them out (--skip-applied): ${enum}. auto: if the user may set one." enum:"auto,require,off" default:"auto"`
	Check          bool     `help:"Show what is missing in stream and target, with the command that repairs it; change nothing."`
	Metrics        string   `help:"Serve /metrics, /livez and /readyz at this address." placeholder:"HOST:PORT" env:"PGTEE_APPLY_METRICS"`
	RowsPerSecond  int      `help:"Maximum number of changes written per second; 0: no limit." default:"0" placeholder:"N"`
}

// applyCommand applies the stream of a publisher to the tables of another database.
type applyCommand struct {
	applyFlags
	From    string `help:"Where a new stream begins: beginning or end of the topics; or the folder of an archive (pgtee archive) to apply instead of Kafka." default:"beginning" placeholder:"beginning|end|DIR"`
	Once    bool   `help:"Exit once everything that is in Kafka at the start has been applied."`
	Standby bool   `help:"If another applier has the stream, wait to take over from it." env:"PGTEE_APPLY_STANDBY"`
	Verify  bool   `help:"Apply up to a position, compare every table with the source at that position, and exit. Needs --source."`
	Source  string `help:"The source, for --verify; its user needs REPLICATION and SELECT." placeholder:"URL"`
}

func (c *applyCommand) Run(ctx context.Context, term terminal) error {
	limitGarbage()
	if c.Verify && isArchive(c.From) {
		return usage(fmt.Errorf("--from %s applies an archive: --verify is for topics", c.From))
	}
	config, err := c.open(ctx, term, c.From)
	if err != nil {
		return err
	}
	config.FromEnd, config.Once, config.Standby = c.From == "end", c.Once, c.Standby
	switch {
	case c.Check:
		return check(ctx, config, term)
	case c.Verify:
		return c.verify(ctx, config, term)
	}
	return c.apply(ctx, config, term)
}

// open returns the configuration after checking that Kafka responds or, if from names an archive, that it exists.
func (c *applyFlags) open(ctx context.Context, term terminal, from string) (apply.Config, error) {
	config, err := c.config(term, from)
	if err != nil {
		return config, usage(err)
	}
	if config.Archive != nil {
		return config, nil
	}
	if len(c.Kafka) == 0 {
		return config, usage(errors.New("--kafka is missing: give the brokers as HOST:PORT,…, or the folder of an archive as --from DIR"))
	}
	cluster, err := kafkaFlags{c.Kafka, c.topicFlags}.openAndPing(ctx)
	if err != nil {
		return config, err
	}
	config.Brokers, config.KafkaOptions = cluster.brokers, cluster.options
	return config, nil
}

// verify prints a line for each table; a difference is an error.
func (c *applyCommand) verify(ctx context.Context, config apply.Config, term terminal) error {
	if c.Source == "" {
		return usage(errors.New("--verify needs the source: add --source postgres://user@host:5432/database"))
	}
	different := 0
	err := apply.Verify(ctx, config, c.Source, func(t apply.Comparison) error {
		if printComparison(term.out, t); !t.Equal {
			different++
		}
		return nil
	})
	if err != nil {
		return halted(err)
	}
	if different > 0 {
		return fmt.Errorf("%d tables differ: see above", different)
	}
	return nil
}

func printComparison(out io.Writer, t apply.Comparison) {
	table := doctor.Clean(t.Table)
	switch {
	case t.Missing:
		fmt.Fprintf(out, "MISSING  %s: the target has no such table\n", table)
	case t.Equal:
		fmt.Fprintf(out, "equal    %s: %d rows\n", table, t.Source)
	default:
		fmt.Fprintf(out, "DIFFERS  %s: %d rows in the source, %d in the target\n", table, t.Source, t.Target)
		for _, line := range t.Differences {
			fmt.Fprintf(out, "           %s\n", doctor.Clean(line))
		}
	}
}

// apply runs the applier and shows its progress meanwhile.
func (c *applyFlags) apply(ctx context.Context, config apply.Config, term terminal) error {
	stop, err := c.reportProgress(ctx, config, term)
	if err != nil {
		return usage(err)
	}
	err = halted(apply.Run(ctx, config))
	stop()
	return err
}

// check prints its findings; a problem is an error.
func check(ctx context.Context, config apply.Config, term terminal) error {
	findings, err := apply.Check(ctx, config)
	if err != nil {
		return usage(err)
	}
	if problems := printFindings(term.out, findings); problems > 0 {
		return usage(fmt.Errorf("%d things are missing: see above", problems))
	}
	return nil
}

// printFindings returns the number of problems.
func printFindings(out io.Writer, findings []apply.Finding) (problems int) {
	for _, f := range findings {
		mark := "ok     "
		switch {
		case f.Problem:
			mark = "MISSING"
			problems++
		case f.Repair != "":
			mark = "note   "
		}
		fmt.Fprintf(out, "%s  %s\n", mark, doctor.Clean(f.Text))
		if f.Repair != "" {
			fmt.Fprintf(out, "           %s\n", doctor.Clean(f.Repair))
		}
	}
	return problems
}

func (c *applyFlags) config(term terminal, from string) (config apply.Config, err error) {
	conn, err := postgresFlags{Postgres: c.Postgres}.connString("")
	if err != nil {
		return config, err
	}
	modes, err := c.modes()
	if err != nil {
		return config, err
	}
	config = apply.Config{
		Prefix: c.Prefix, Slot: c.Slot, Topics: c.Topics, DeletedTopics: c.DeletedTopics, ConnString: conn, TrustedOwners: c.TrustOwner, Stream: c.Stream,
		Tables: c.Tables, ExcludeTables: c.ExcludeTables, IgnoreColumns: c.IgnoreColumns, Map: c.Map, Modes: modes,
		DDL: apply.DDLPolicy(c.DDL), DDLAsSuperuser: c.DDLAsSuperuser, SplitSQL: splitSQL, FireTriggers: c.FireTriggers, Origin: apply.OriginPolicy(c.Origin),
		RowsPerSecond: c.RowsPerSecond, Log: c.logger(term.err).Named("apply"), Stats: &apply.Stats{},
	}
	if config.Avro, err = c.decoder(); err != nil {
		return config, err
	}
	if isArchive(from) {
		if err := c.useArchive(&config, from); err != nil {
			return config, err
		}
	}
	for _, text := range c.OnConflict {
		glob, policy, found := strings.Cut(text, "=")
		if !found {
			glob, policy = "", text
		}
		switch apply.Policy(policy) {
		case apply.PolicyError, apply.PolicySkip, apply.PolicyOverwrite:
		default:
			return config, fmt.Errorf("--on-conflict %s: want error, skip or overwrite, or GLOB=one of them", text)
		}
		if glob == "" {
			config.Conflict = apply.Policy(policy)
		} else {
			config.Conflicts = append(config.Conflicts, apply.TablePolicy{Glob: glob, Policy: apply.Policy(policy)})
		}
	}
	return config, nil
}

// isArchive reports whether --from names an archive rather than a place in the topics.
func isArchive(from string) bool { return from != "beginning" && from != "end" }

// useArchive configures the applier to read an archive.
func (c *applyFlags) useArchive(config *apply.Config, dir string) error {
	if c.Check {
		return fmt.Errorf("--from %s applies an archive: --check is for topics", dir)
	}
	files, err := archive.Open(dir)
	if err != nil {
		return fmt.Errorf("--from: %w", err)
	}
	header := files.Header()
	config.Archive, config.Prefix, config.Slot = files, header.Prefix, header.Slot
	return nil
}

// decoder returns a function that turns Avro into JSON; nil if there is no registry.
func (f registryFlags) decoder() (func(context.Context, []byte) ([]byte, error), error) {
	avro, err := f.reader()
	if avro == nil || err != nil {
		return nil, err
	}
	return avro.JSON, nil
}

// splitSQL splits a text into its statements.
func splitSQL(sql string) []apply.Statement {
	lexis := parser.Lexis{StandardConformingStrings: true}
	statements, ok := parser.Split(nil, []byte(sql), lexis)
	if !ok {
		return nil
	}
	var list []apply.Statement
	for _, s := range statements {
		text := sql[s.Start:s.End]
		objects := parser.ObjectsOf([]byte(text), lexis)
		list = append(list, apply.Statement{Verb: s.Verb, Text: text, Names: objects.Names, Optional: objects.Optional, Moved: objects.Moved})
	}
	return list
}
