// Package apply converts a stream back to tables: it reads the topics of a publisher in commit order and writes whole source transactions into a
// second PostgreSQL, each exactly once. See docs/apply.md.
package apply

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/publisher/debezium"
	"github.com/pgtee/pgtee/subscriber/decode"
)

// Policy says what happens to a change that conflicts with the target.
type Policy string

const (
	PolicyError     Policy = "error"     // halt
	PolicySkip      Policy = "skip"      // leave the target as it is
	PolicyOverwrite Policy = "overwrite" // the stream wins
)

// TablePolicy is the Policy of the tables that match a glob for schema.table.
type TablePolicy struct {
	Glob   string
	Policy Policy
}

// DDLPolicy says what happens to DDL in the stream.
type DDLPolicy string

const (
	DDLHalt   DDLPolicy = "halt"
	DDLApply  DDLPolicy = "apply"
	DDLIgnore DDLPolicy = "ignore"
)

// OriginPolicy says whether applied transactions carry a replication origin.
type OriginPolicy string

const (
	OriginAuto    OriginPolicy = "auto" // if the user may set one
	OriginRequire OriginPolicy = "require"
	OriginOff     OriginPolicy = "off"
)

// Config says what to read and where to write it.
type Config struct {
	Brokers       []string
	KafkaOptions  []kgo.Opt
	Prefix        string
	Slot          string   // slot of the publisher; "": the only slot of the prefix
	Topics        []string // topics of tables, in addition to those of the prefix
	DeletedTopics []string // topics that were read before and may be missing, or be new ones
	Avro          func(ctx context.Context, framed []byte) ([]byte, error)
	Archive       Archive // read instead of Kafka; nil: read Kafka

	ConnString string // connection string of the target
	Stream     string // name of the fence row; "": the prefix

	TrustedOwners []string // roles, other than superusers and the user itself, that may own pgtee's tables in the target

	Tables        []string // globs for schema.table in the stream; none: all
	ExcludeTables []string
	IgnoreColumns []string          // globs for schema.table.column
	Map           map[string]string // schema, or schema.table, to its name in the target
	Modes         debezium.Modes

	DDL            DDLPolicy
	DDLAsSuperuser bool                         // apply DDL even as a superuser of the target
	SplitSQL       func(sql string) []Statement // nil: a text is a single statement
	Conflicts      []TablePolicy                // the last that matches a table counts
	Conflict       Policy                       // of all other tables
	FireTriggers   bool                         // continue although triggers fire
	Origin         OriginPolicy
	FromEnd        bool // start a new stream with what is published from now on
	Standby        bool // wait while another applier is running
	RowsPerSecond  int
	Until          *Until // nil: run until ctx ends
	Once           bool   // stop at the position that Kafka has reached at the start

	Log   *zap.Logger
	Stats *Stats

	archiving bool // records are read for an archive instead of being applied: see Read
}

// from, into, kind, done and afresh return words for messages.
func (c *Config) from() string {
	if c.Archive != nil {
		return "the archive"
	}
	return "Kafka"
}

func (c *Config) kind() string {
	if c.archiving {
		return "folder"
	}
	return "target"
}

func (c *Config) done() string {
	if c.archiving {
		return "archived"
	}
	return "applied"
}

func (c *Config) into() string {
	if c.archiving {
		return "the archive"
	}
	return "the target"
}

func (c *Config) afresh() string {
	if c.archiving {
		return "begin another archive in an empty folder"
	}
	return "apply into an empty target, or have the publisher resync the tables and start with --from end under another --stream"
}

// splitSQL returns SplitSQL or, without it, a function that treats a text as one statement with that verb.
func (c *Config) splitSQL(verb string) func(string) []Statement {
	if c.SplitSQL != nil {
		return c.SplitSQL
	}
	return func(sql string) []Statement { return []Statement{{Verb: verb, Text: sql}} }
}

func (c *Config) stream() string {
	if c.Stream != "" {
		return c.Stream
	}
	return c.Prefix
}

// includes reports whether a table of the stream is applied.
func (c *Config) includes(name string) bool {
	return (len(c.Tables) == 0 || matchesAny(c.Tables, name)) && !matchesAny(c.ExcludeTables, name)
}

// leavesOut reports whether a topic is that of a table that is not applied, by the publisher's default names.
func (c *Config) leavesOut(topic string) bool {
	name, ours := strings.CutPrefix(topic, topicName(c.Prefix)+".")
	return ours && strings.Contains(name, ".") && !c.includes(name)
}

func matchesAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return matches(glob, name) })
}

// matches supports * and ?. A glob without a dot means a table of schema public.
func matches(glob, name string) bool {
	if !strings.Contains(glob, ".") {
		glob = "public." + glob
	}
	ok, err := path.Match(strings.ReplaceAll(glob, "/", "\x01"), strings.ReplaceAll(name, "/", "\x01"))
	return err == nil && ok
}

// mapped returns the name that a table of the stream has in the target.
func (c *Config) mapped(schema, table string) (string, string) {
	if to, ok := c.Map[schema+"."+table]; ok {
		if s, t, found := strings.Cut(to, "."); found {
			return s, t
		}
		return schema, to
	}
	if to, ok := c.Map[schema]; ok {
		return to, table
	}
	return schema, table
}

// policyOf returns the policy of a table of the stream.
func (c *Config) policyOf(name string) Policy {
	for _, p := range slices.Backward(c.Conflicts) {
		if matches(p.Glob, name) {
			return p.Policy
		}
	}
	if c.Conflict == "" {
		return PolicyError
	}
	return c.Conflict
}

// payloadOf removes the framing of a key or value.
func (c *Config) payloadOf(ctx context.Context, framed []byte) ([]byte, error) {
	if len(framed) > 5 && framed[0] == 0 {
		if c.Avro == nil {
			return nil, Halt{"the records are Avro", "add --schema-registry URL"}
		}
		text, err := c.Avro(ctx, framed)
		switch unreadable := (decode.SchemaError{}); {
		case errors.As(err, &unreadable), errors.Is(err, decode.ErrNoSchema):
			return nil, Halt{err.Error(), "check that --schema-registry is that of the publisher"}
		case errors.Is(err, decode.ErrAvro):
			return nil, Halt{err.Error(), "find out what wrote that record, and check that --schema-registry is that of the publisher"}
		}
		return text, err
	}
	return decode.Payload(framed), nil
}
