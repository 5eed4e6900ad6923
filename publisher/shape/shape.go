// Package shape determines in which form a table is published: its topic, key, columns, masks and filter.
package shape

import (
	"fmt"
	"slices"

	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/halt"
)

// Shape says how each version of a table is published. It is used by one goroutine at a time.
type Shape struct {
	config Config
	known  map[string]Topic // settings of the topics of tables, by name
	given  map[string]int   // by "schema.table": how often it was assigned another topic than that of the template

	// Tell is called when a table is assigned a topic of its own; may be nil.
	Tell func(table, topic string, why error)

	version int // see Version
}

// Topic contains the settings of a topic, in case the publisher creates it. Zero values stand for the publisher's own settings.
type Topic struct {
	Partitions        int32
	ReplicationFactor int16
	Config            map[string]string
	Shared            bool   // several tables may be published to it
	Own               string // topic that its table uses instead if this one is unavailable; "": unknown, or there is none
}

// Table says how one version of a table is published.
type Table struct {
	Excluded bool // no records at all
	Topic    string
	Columns  []Column       // in the order of Relation.Columns
	Key      []int          // columns of the record key, in order; nil: determined by the table's own keys
	Filter   *filter.Filter // nil: every row
}

// Column says how one column is published.
type Column struct {
	Hidden bool  // not in rows, but in the key if it is part of that
	Mask   *Mask // for rows and key; nil: unchanged
}

// New checks the configuration and returns a Shape.
func New(config Config) (*Shape, error) {
	if config.Topic == "" {
		config.Topic = DebeziumTopics
	}
	if err := config.validate(); err != nil {
		return nil, err
	}
	return &Shape{config: config, known: map[string]Topic{}, given: map[string]int{}}, nil
}

// Includes reports whether the rows of a table are published.
func (s *Shape) Includes(schema, table string) bool {
	return Included(schema+"."+table, s.config.IncludeTables, s.config.ExcludeTables)
}

// Unmatched returns the patterns of the configuration that match none of these tables: they may be misspelt, and then the data that they should hide
// are not hidden.
func (s *Shape) Unmatched(tables []string) []string {
	globs := slices.Concat(s.config.IncludeTables, s.config.ExcludeTables)
	for _, t := range s.config.Tables {
		globs = append(globs, t.Match)
	}
	slices.Sort(globs)
	return slices.DeleteFunc(slices.Compact(globs), func(glob string) bool {
		return slices.ContainsFunc(tables, func(table string) bool { return Matches(glob, table) })
	})
}

// IncludesMessage reports whether logical messages with this prefix are published.
func (s *Shape) IncludesMessage(prefix string) bool {
	return Included(prefix, s.config.IncludeMessages, s.config.ExcludeMessages)
}

func Included(name string, include, exclude []string) bool {
	return (len(include) == 0 || MatchesAny(include, name)) && !MatchesAny(exclude, name)
}

// Table returns how this version of a table is published. An error requires an operator: it describes the table's problem and the remedy, but does
// not name the table.
func (s *Shape) Table(r *pgoutput.Relation) (*Table, error) {
	if !s.Includes(r.Schema, r.Name) {
		return &Table{Excluded: true}, nil
	}
	shape := &Table{Columns: make([]Column, len(r.Columns))}
	merged := s.merge(r)
	shape.Topic = s.topic(r, &merged)
	var err error
	if err := shape.setKey(r, merged.Key); err != nil {
		return nil, err
	}
	if shape.Filter, err = filter.Bind(r, merged.filters); err != nil {
		return nil, misfit("correct the filter, or bring the column back", "%v", err)
	}
	if err := s.shapeColumns(shape, r, &merged); err != nil {
		return nil, err
	}
	return shape, nil
}

// settings are the combined settings of all entries that match a table.
type settings struct {
	TableConfig
	filters []string
}

func (s *Shape) merge(r *pgoutput.Relation) settings {
	merged := settings{TableConfig: TableConfig{Topic: s.config.Topic}}
	for i := range s.config.Tables {
		t := &s.config.Tables[i]
		if !Matches(t.Match, r.Schema+"."+r.Name) {
			continue
		}
		override(&merged.Topic, t.Topic)
		override(&merged.Partitions, t.Partitions)
		override(&merged.ReplicationFactor, t.ReplicationFactor)
		merged.Shared = merged.Shared || t.Shared
		merged.TopicConfig = union(merged.TopicConfig, t.TopicConfig)
		if len(t.Key) > 0 {
			merged.Key = t.Key
		}
		merged.IncludeColumns = append(merged.IncludeColumns, t.IncludeColumns...)
		merged.ExcludeColumns = append(merged.ExcludeColumns, t.ExcludeColumns...)
		merged.Masks = append(merged.Masks, t.Masks...)
		if t.Where != "" {
			merged.filters = append(merged.filters, t.Where)
		}
	}
	return merged
}

func override[T comparable](v *T, value T) {
	var zero T
	if value != zero {
		*v = value
	}
}

// union returns the entries of both maps; for a name in both, that of b.
func union(a, b map[string]string) map[string]string {
	if len(b) == 0 {
		return a
	}
	all := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for name, value := range m {
			all[name] = value
		}
	}
	return all
}

// TopicSettings returns the settings of a topic.
func (s *Shape) TopicSettings(topic string) Topic { return s.known[topic] }

// setKey finds the columns that the configuration uses as the key.
func (t *Table) setKey(r *pgoutput.Relation, names []string) error {
	for _, name := range names {
		i := filter.ColumnIndex(r, name)
		switch {
		case i < 0:
			return misfit("correct its key in the configuration", "key column %s does not exist", name)
		case slices.Contains(t.Key, i):
			return misfit("correct its key in the configuration", "key column %s is there twice", name)
		}
		t.Key = append(t.Key, i)
	}
	return nil
}

// UnloggedKey returns the error for an UPDATE or DELETE of a table with a configured key of which old rows lack a column: a change of that column would
// not reveal the old key, so only rows that never change can have such a key. The old rows of a partitioned table are those of its partitions.
func UnloggedKey(r *pgoutput.Relation, column string, partitioned bool) error {
	return misfit(FullIdentity(r, partitioned)+" and choose another key until everything already in the WAL is published",
		"key column %s is not in the replica identity, so the WAL of UPDATE and DELETE lacks the old key", column)
}

// FullIdentity says how to have whole old rows in the WAL.
func FullIdentity(r *pgoutput.Relation, partitioned bool) string {
	if partitioned {
		return "run ALTER TABLE ... REPLICA IDENTITY FULL for each partition of " + quoteTable(r)
	}
	return "run ALTER TABLE " + quoteTable(r) + " REPLICA IDENTITY FULL"
}

// misfit returns the error for a table that the configuration does not fit.
func misfit(repair, format string, args ...any) error {
	return halt.New(halt.ErrShape, fmt.Sprintf(format, args...), repair)
}

// quoteTable quotes the name of a table for SQL.
func quoteTable(r *pgoutput.Relation) string {
	return filter.QuoteName(r.Schema) + "." + filter.QuoteName(r.Name)
}

// NeedsKey reports whether a table must have a key of its own.
func (s *Shape) NeedsKey(schema, table string) bool {
	given := slices.ContainsFunc(s.config.Tables, func(t TableConfig) bool {
		return len(t.Key) > 0 && Matches(t.Match, schema+"."+table)
	})
	return s.config.RefuseUnkeyed && !given && s.Includes(schema, table)
}

// CheckKey returns an error if records without a key are refused and this table's records would have none.
func (s *Shape) CheckKey(r *pgoutput.Relation, keyed bool) error {
	if keyed || !s.config.RefuseUnkeyed {
		return nil
	}
	return misfit(fmt.Sprintf("run ALTER TABLE %s ADD PRIMARY KEY (...), give it a key in the configuration, or exclude it", quoteTable(r)),
		"it has no key, and --no-allow-unkeyed refuses such tables")
}

// shapeColumns decides how each column is published. A column that is named without a glob must exist: if it was renamed, it would be published
// unmasked.
func (s *Shape) shapeColumns(shape *Table, r *pgoutput.Relation, merged *settings) error {
	if err := namesMissing(r, merged); err != nil {
		return err
	}
	for i, c := range r.Columns {
		column := &shape.Columns[i]
		column.Hidden = len(merged.IncludeColumns) > 0 && !columnMatches(merged.IncludeColumns, r, c.Name) || columnMatches(merged.ExcludeColumns, r, c.Name)
		for _, m := range merged.Masks {
			if !columnMatches([]string{m.Column}, r, c.Name) {
				continue
			}
			if column.Mask == nil || m.Kind <= column.Mask.kind {
				column.Mask = newMask(m, c, s.config.Salt)
			}
		}
	}
	return nil
}

// Hides reports whether readers may not see a column of a table, or only in another form.
func (s *Shape) Hides(schema, table, column string) bool {
	r := &pgoutput.Relation{Schema: schema, Name: table}
	merged := s.merge(r)
	return len(merged.IncludeColumns) > 0 && !columnMatches(merged.IncludeColumns, r, column) || columnMatches(merged.ExcludeColumns, r, column) ||
		slices.ContainsFunc(merged.Masks, func(m MaskConfig) bool { return columnMatches([]string{m.Column}, r, column) })
}

// HidesAny reports whether Hides may be true for some column of a table.
func (s *Shape) HidesAny(schema, table string) bool {
	merged := s.merge(&pgoutput.Relation{Schema: schema, Name: table})
	return len(merged.IncludeColumns)+len(merged.ExcludeColumns)+len(merged.Masks) > 0
}

// columnMatches reports whether one of the patterns matches a column: its name, or, for a regular expression, its name with those of its schema and
// table.
func columnMatches(patterns []string, r *pgoutput.Relation, column string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if _, regex := cutRegex(p); regex {
			return Matches(p, r.Schema+"."+r.Name+"."+column)
		}
		return Matches(p, column)
	})
}

func namesMissing(r *pgoutput.Relation, merged *settings) error {
	named := slices.Clone(merged.ExcludeColumns)
	for _, m := range merged.Masks {
		named = append(named, m.Column)
	}
	for _, name := range named {
		if !IsGlob(name) && filter.ColumnIndex(r, name) < 0 {
			return misfit(fmt.Sprintf("name the column that has the data now, or write %s* if there is none", name), "column %s, which the configuration hides, does not exist", name)
		}
	}
	return nil
}
