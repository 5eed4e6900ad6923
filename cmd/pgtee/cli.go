package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher"
	"github.com/pgtee/pgtee/publisher/kafka"
	"github.com/pgtee/pgtee/publisher/snapshot"
)

// commandLine has every flag and command of pgtee. Each flag is also an environment variable PGTEE_<NAME> and a key of the YAML file. The command
// line takes precedence over the environment, the environment over the file.
type commandLine struct {
	Config      configFile       `help:"Read flags from this YAML file, whose keys are their names without the leading dashes." placeholder:"FILE"`
	ShowVersion kong.VersionFlag `name:"version" env:"-" help:"Print the version and exit."`
	LogLevel    string           `help:"Lowest severity that is logged: ${enum}." enum:"debug,info,warn,error" default:"info" reload:""`
	LogFormat   string           `help:"Format of the log on stderr: ${enum}." enum:"console,json" default:"console"`

	Run        runCommand        `cmd:"" help:"Run proxy and publisher in one process."`
	Proxy      proxyCommand      `cmd:"" help:"Run the proxy alone: clients connect to it instead of PostgreSQL."`
	Publish    publishCommand    `cmd:"" help:"Run the publisher alone: from the replication slot into Kafka."`
	Setup      setupCommand      `cmd:"" help:"Create schema pgtee, publications, event triggers and slot in a database."`
	Status     statusCommand     `cmd:"" help:"Show how far the publisher is, and what the slot retains."`
	Snapshot   snapshotCommand   `cmd:"" help:"Snapshots of the running publisher: start, pause, resume, cancel, status."`
	Repair     repairCommand     `cmd:"" help:"After a halt: accept that Kafka and the database differ, and set the position from which publishing continues."`
	Teardown   teardownCommand   `cmd:"" help:"Drop what setup created."`
	Check      checkCommand      `cmd:"" help:"Show what is missing in a database and how to repair it; change nothing."`
	Explain    explainCommand    `cmd:"" help:"Explain an id that check, a halt, the log or an alert names."`
	Apply      applyCommand      `cmd:"" help:"Write the stream into the tables of another PostgreSQL, each transaction exactly once."`
	Replay     replayCommand     `cmd:"" help:"Fill an empty database with the state of the source at a given time or LSN, after a transaction, or before an event."`
	Archive    archiveCommand    `cmd:"" help:"Store the stream in files, each event once; check such files with --verify."`
	Consume    consumeCommand    `cmd:"" help:"Write the records of any topic into a table, each exactly once."`
	Query      queryCommand      `cmd:"" help:"Publish the rows of a query to a topic, once or repeatedly; with --changes only what has changed."`
	Subscribe  subscribeCommand  `cmd:"" help:"Follow the audit stream, or tables, and print the events."`
	Demo       demoCommand       `cmd:"" help:"Try everything without installing anything: PostgreSQL, broker, proxy, publisher and a workload."`
	Completion completionCommand `cmd:"" help:"Print a shell completion script for commands and flags."`
	Man        manCommand        `cmd:"" help:"Print the manual page: pgtee man | man -l -."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
}

const description = `A PostgreSQL proxy that publishes committed writes to Kafka, each exactly once, with its author and SQL.

Every flag may be given as PGTEE_<NAME> in the environment or in the file of --config. SIGINT and SIGTERM shut down within --drain: the proxy ends
sessions at their next idle point, the publisher finishes or aborts its Kafka transaction. A second signal ends the process immediately.

Exit codes: 0 done; 1 it ran and failed; 2 it could not start (flag, configuration, unreachable or refusing server); 3 halted,
because to continue could lose or duplicate data: the message names the repair.`

// runner is a command whose flags have been set.
type runner interface {
	Run(ctx context.Context, term terminal) error
}

// parse returns the command in args, or nil if help was requested and has been printed.
func parse(args []string, term terminal) (runner, error) {
	command, values, err := parseFlags(args, term)
	if r, ok := command.(interface {
		enableReload(map[string]flagValue, func() (runner, map[string]flagValue, error))
	}); ok && err == nil {
		r.enableReload(values, func() (runner, map[string]flagValue, error) { return parseFlags(args, term) })
	}
	if shown, ok := command.(interface{ setShown(map[string]flagValue) }); ok && err == nil {
		shown.setShown(values)
	}
	return command, err
}

// packageDefaults are the defaults of flags that other packages define.
var packageDefaults = kong.Vars{
	"partitions":       strconv.Itoa(kafka.DefaultPartitions),
	"part_bytes":       strconv.Itoa(outbox.DefaultPartBytes),
	"part_after":       strings.TrimSuffix(publisher.DefaultPartAfter.String(), "0s"),
	"max_record_bytes": strconv.Itoa(publisher.DefaultRecordBytes),
	"sql_text_bytes":   strconv.Itoa(publisher.DefaultSQLTextBytes),
	"snapshot_readers": strconv.Itoa(snapshot.DefaultReaders),
}

func newParser(flags *commandLine, term terminal) (*kong.Kong, error) {
	return kong.New(flags,
		kong.Name("pgtee"),
		kong.Vars{"version": versionLine()},
		kong.Description(description),
		kong.DefaultEnvars("PGTEE"),
		packageDefaults,
		kong.Writers(term.out, term.err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
		kong.Exit(func(int) { panic(helpGiven{}) }),
	)
}

// parseFlags is like parse, and also returns the values of the command's flags.
func parseFlags(args []string, term terminal) (command runner, values map[string]flagValue, err error) {
	var flags commandLine
	app, err := newParser(&flags, term)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if given := recover(); given != nil {
			if _, ok := given.(helpGiven); !ok {
				panic(given)
			}
			command, values, err = nil, nil, nil
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := app.Parse(args)
	if err != nil {
		return nil, nil, usage(withHelpHint(err))
	}
	command = parsed.Selected().Target.Addr().Interface().(runner)
	if withLog, ok := command.(interface{ setLog(logSettings) }); ok {
		withLog.setLog(logSettings{flags.LogLevel, flags.LogFormat})
	}
	values = map[string]flagValue{}
	for _, flag := range parsed.Flags() {
		values[flag.Name] = flagValue{textOf(parsed.FlagValue(flag)), flag.Tag.Has("reload")}
	}
	return command, values, nil
}

// textOf returns the value of a flag as it is compared and shown: what a pointer points to, not its address.
func textOf(value any) string {
	if v := reflect.ValueOf(value); v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		value = v.Elem().Interface()
	}
	return fmt.Sprint(value)
}

// helpGiven unwinds kong, which expects the process to end after it has printed the help.
type helpGiven struct{}

// withHelpHint adds to an error of kong which help to read.
func withHelpHint(err error) error {
	var parse *kong.ParseError
	see := "pgtee --help"
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		see = parse.Context.Selected().FullPath() + " --help"
	}
	return fmt.Errorf("%w: see %s", err, see)
}
