package main

import (
	"fmt"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/publisher/shape"
)

// eventFlags say where events of the application go: those of pgtee.publish() and those of the application's outbox tables.
type eventFlags struct {
	EventTopics []string `help:"Topics that pgtee.publish() may name; * stands for any characters. An event for a topic T that is not listed goes to PREFIX.outbox.T if that is listed, otherwise to PREFIX.outbox.refused. By default PREFIX.outbox.*" placeholder:"TOPIC"`
	EventTable  []string `help:"Tables of the application whose inserted rows are events, with the columns of Debezium's outbox; * stands for any characters." placeholder:"SCHEMA.TABLE"`
	EventOption []string `help:"Option of Debezium's EventRouter for the outbox tables, by its own name: table.expand.json.payload=true. For one table: SCHEMA.TABLE/NAME=VALUE. May be repeated." placeholder:"NAME=VALUE" sep:"none"`
}

// routeEvents configures the destinations of events in the record settings of one database.
func (f eventFlags) routeEvents(s source, records *debezium.Config, log *zap.Logger) (err error) {
	if records.Router, err = shape.NewRouter(s.prefix, f.EventTopics); err != nil {
		return fmt.Errorf("--event-topics: %w", err)
	}
	records.Warn = func(finding, text string) {
		log.Warn(text, zap.String("finding", finding), zap.String("database", s.database))
	}
	records.Outboxes, err = f.outboxes()
	return err
}

// validate validates the flags before any connection is made.
func (f publisherFlags) validate(sources []source, text textFlags) error {
	if err := f.recordFlags.validate(sources, text); err != nil {
		return err
	}
	if err := outbox.CheckSourceEncoding(f.SourceEncoding); err != nil {
		return err
	}
	for _, s := range sources {
		var records debezium.Config
		if err := f.routeEvents(s, &records, zap.NewNop()); err != nil {
			return err
		}
		for _, table := range records.Outboxes {
			if table.Expand && f.hasSchemas() {
				return fmt.Errorf("--event-option table.expand.json.payload=true makes values without a schema: leave it out, or --format %s --key-format %s", f.Format, f.KeyFormat)
			}
		}
	}
	return nil
}

// outboxes returns the outbox tables with their options.
func (f eventFlags) outboxes() ([]debezium.OutboxTable, error) {
	tables := make([]debezium.OutboxTable, len(f.EventTable))
	for i, name := range f.EventTable {
		schema, table, _ := strings.Cut(name, ".")
		if schema == "" || table == "" {
			return nil, fmt.Errorf("--event-table %s: want SCHEMA.TABLE", name)
		}
		tables[i] = debezium.NewOutboxTable(name)
	}
	for _, option := range f.EventOption {
		if err := setOption(tables, option); err != nil {
			return nil, fmt.Errorf("--event-option %s: %w", option, err)
		}
	}
	for i := range tables {
		if err := tables[i].Check(); err != nil {
			return nil, fmt.Errorf("--event-option of %s: %w", tables[i].Match, err)
		}
	}
	return tables, nil
}

// unmatched returns the elements of --event-table that match no published table among these: they produce no events.
func (f eventFlags) unmatched(form *shape.Shape, tables []string) []string {
	return slices.DeleteFunc(slices.Clone(f.EventTable), func(glob string) bool {
		return slices.ContainsFunc(tables, func(name string) bool {
			schema, table, _ := strings.Cut(name, ".")
			return shape.Matches(glob, name) && form.Includes(schema, table)
		})
	})
}

// setOption sets an option of one table, or of all tables.
func setOption(tables []debezium.OutboxTable, option string) error {
	name, value, given := strings.Cut(option, "=")
	if !given {
		return fmt.Errorf("want NAME=VALUE or SCHEMA.TABLE/NAME=VALUE")
	}
	table, name, one := cutTable(name)
	known := false
	for i := range tables {
		if one && tables[i].Match != table {
			continue
		}
		known = true
		if err := tables[i].Set(name, value); err != nil {
			return err
		}
	}
	if !known {
		return fmt.Errorf("there is no such outbox table: name it with --event-table")
	}
	return nil
}

// cutTable splits the table, whose name may contain slashes, off the name of an option.
func cutTable(name string) (table, option string, found bool) {
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		return name[:i], name[i+1:], true
	}
	return "", name, false
}
