package shape

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pgtee/pgtee/publisher/filter"
)

// Config says which part of the stream is published, and to which topics and with which keys. Its zero value publishes everything as Debezium does.
//
// Globs match whole names, case-sensitively: * matches any run of characters, ? any single character. A regular expression between slashes can take
// the place of a glob and is not case-sensitive. Tables are "schema.table", columns "schema.table.column".
type Config struct {
	Topic    string // template [DebeziumTopics]
	Prefix   string // {prefix} of the template
	Database string // {database} of the template

	IncludeTables, ExcludeTables     []string // globs; empty: include all, exclude none; exclusion takes precedence
	IncludeMessages, ExcludeMessages []string // globs of the prefixes of logical messages, with the same rules

	// Tables are settings for tables. All entries that match a table apply, in order: a later entry overrides topic, partitions and key of an earlier
	// one if it sets them; columns accumulate; all filters must be true.
	Tables []TableConfig

	Salt          []byte // for hashed columns
	RefuseUnkeyed bool   // halt if the records of a table would have no key
}

// TableConfig contains settings for the tables that match. Zero values set nothing.
type TableConfig struct {
	Match string // glob "schema.table"

	Topic             string // template
	Shared            bool   // other tables may be published to the same topic
	Partitions        int32
	ReplicationFactor int16
	TopicConfig       map[string]string

	Key            []string     // columns of the record key, in this order
	IncludeColumns []string     // globs of the columns that are published in addition to those of the key; none: all. A regular expression must match schema.table.column
	ExcludeColumns []string     // globs; a column of the key stays in the key
	Masks          []MaskConfig // if several match a column, the one that hides most applies; of equal ones, the last
	Where          string       // filter for the rows that are published: see Filter
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
