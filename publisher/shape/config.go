package shape

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/publisher/filter"
)

// Config says what of the stream is published, under which topics and keys. Its zero value publishes
// everything as Debezium does.
//
// Globs match whole names, case-sensitively: * is any run of characters, ? is any one. A regular expression between
// slashes may stand for one, which does not mind the case. Tables are "schema.table", columns "schema.table.column".
type Config struct {
	Topic    string // template [DebeziumTopics]
	Prefix   string // {prefix} of the template
	Database string // {database} of the template

	IncludeTables, ExcludeTables     []string // globs; none: all, none; exclusion wins
	IncludeMessages, ExcludeMessages []string // globs of the prefixes of logical messages; likewise

	// Tables are settings of tables. All that match a table apply, in their order: a later one replaces the
	// topic, partitions, key of an earlier one where it has its own; columns add up; filters must all hold.
	Tables []TableConfig

	Salt          []byte // of hashed columns
	RefuseUnkeyed bool   // halt at a table whose records would have no key
}

// TableConfig is what is said about the tables that match. Zero values say nothing.
type TableConfig struct {
	Match string // glob "schema.table"

	Topic             string // template
	Shared            bool   // other tables may be published to the same topic
	Partitions        int32
	ReplicationFactor int16
	TopicConfig       map[string]string

	Key            []string     // columns of the record key, in this order
	IncludeColumns []string     // globs of the columns that are published, beside those of the key; none: all. A regular expression has to match schema.table.column
	ExcludeColumns []string     // globs; a column of the key stays in the key
	Masks          []MaskConfig // of those that match a column, the one that hides most counts, of equals the last
	Where          string       // rows that are published: see Filter
}

func (c *Config) validate() error {
	if err := checkTemplate(c.Topic); err != nil {
		return err
	}
	for _, glob := range slices.Concat(c.IncludeTables, c.ExcludeTables) {
		if err := checkTableGlob(glob); err != nil {
			return err
		}
	}
	if err := checkPatterns(slices.Concat(c.IncludeMessages, c.ExcludeMessages)...); err != nil {
		return err
	}
	for i := range c.Tables {
		if err := c.Tables[i].validate(c.Salt); err != nil {
			return fmt.Errorf("tables, match %q: %w", c.Tables[i].Match, err)
		}
	}
	return nil
}

func (t *TableConfig) validate(salt []byte) error {
	if err := checkTableGlob(t.Match); err != nil {
		return err
	}
	if t.Topic != "" {
		if err := checkTemplate(t.Topic); err != nil {
			return err
		}
	}
	if t.Partitions < 0 || t.ReplicationFactor < 0 {
		return errors.New("partitions and replication factor are positive numbers")
	}
	if slices.Contains(t.Key, "") {
		return errors.New("a key column has no name")
	}
	if err := checkPatterns(slices.Concat(t.IncludeColumns, t.ExcludeColumns)...); err != nil {
		return err
	}
	for _, m := range t.Masks {
		if err := m.validate(salt); err != nil {
			return err
		}
	}
	if t.Where == "" {
		return nil
	}
	return filter.Check(t.Where)
}

func checkTableGlob(glob string) error {
	if _, regex := cutRegex(glob); regex {
		return CheckPattern(glob)
	}
	schema, table, _ := strings.Cut(glob, ".")
	if schema == "" || table == "" {
		return fmt.Errorf("%q names no tables: want SCHEMA.TABLE, such as public.orders or public.*", glob)
	}
	return nil
}
