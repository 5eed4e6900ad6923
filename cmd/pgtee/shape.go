package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"

	"github.com/pgtee/pgtee/publisher/shape"
)

// selectionFlags choose tables and their keys.
type selectionFlags struct {
	IncludeTables []string      `help:"Publish rows of these tables only: globs of SCHEMA.TABLE, such as public.*." placeholder:"GLOB"`
	ExcludeTables []string      `help:"Publish no rows of these tables; the audit records still count their writes." placeholder:"GLOB"`
	Tables        tableSettings `help:"Settings of tables, as YAML; normally in the file of --config. See deploy/pgtee.yaml." placeholder:"YAML"`
	AllowUnkeyed  bool          `help:"Publish tables without a key: their records have no key and are all in partition 0." default:"true" negatable:""`
}

// shapeFlags choose which part of the stream is published, and to which topics.
type shapeFlags struct {
	selectionFlags  `group:"Shape of the stream"`
	TopicTemplate   string   `help:"Topics of tables: debezium ({prefix}.{schema}.{table}), bottledwater (the same without public), or a text with these names and {database}." default:"debezium" placeholder:"TEMPLATE"`
	IncludeColumns  []string `help:"Of the tables named, publish only these columns: globs of SCHEMA.TABLE.COLUMN. A key keeps its columns." placeholder:"GLOB"`
	ExcludeColumns  []string `help:"Leave out these columns. A key keeps its columns." placeholder:"GLOB"`
	Mask            []string `help:"Replace every value of these columns by N asterisks (default 5)." placeholder:"GLOB[:N]"`
	Hash            []string `help:"Replace the values of these columns by their salted SHA-256. The salt is in --hash-salt-file or PGTEE_HASH_SALT." placeholder:"GLOB"`
	HashSaltFile    string   `help:"File with the salt of --hash." type:"path" placeholder:"FILE"`
	TruncateColumn  []string `help:"Truncate the values of these columns that are published as strings to N characters, except in keys." placeholder:"GLOB:N"`
	UnmaskedSQLText bool     `name:"unmasked-sql-text" help:"Allow --sql-text full even if columns are hidden or masked: the SQL shows what is written into them."`
	IncludeMessages []string `help:"Publish logical messages with these prefixes only: globs." placeholder:"GLOB"`
	ExcludeMessages []string `help:"Publish no logical messages with these prefixes." placeholder:"GLOB"`
}

const defaultAsterisks = "5"

// config returns the settings of the selection for one database; all others are as in Debezium.
func (f selectionFlags) config(s source) (shape.Config, error) {
	config := shape.Config{
		Prefix: s.prefix, Database: s.database,
		IncludeTables: f.IncludeTables, ExcludeTables: f.ExcludeTables, RefuseUnkeyed: !f.AllowUnkeyed,
	}
	for _, setting := range f.Tables {
		table, err := setting.config()
		if err != nil {
			return config, fmt.Errorf("tables, match %q: %w", setting.Match, err)
		}
		config.Tables = append(config.Tables, table)
	}
	return config, nil
}

// selection returns which tables of a database are published, and which of them must have a key.
func (f selectionFlags) selection(s source) (outbox.Selection, error) {
	config, err := f.config(s)
	if err != nil {
		return outbox.Selection{}, err
	}
	for i := range config.Tables { // used only by a publisher
		config.Tables[i].Masks = nil
	}
	shape, err := shape.New(config)
	if err != nil {
		return outbox.Selection{}, err
	}
	selection := outbox.Selection{Includes: shape.Includes}
	if !f.AllowUnkeyed {
		selection.NeedsKey = shape.NeedsKey
	}
	return selection, nil
}

// shape returns the Shape of one database.
func (f shapeFlags) shape(s source) (*shape.Shape, error) {
	config, err := f.selectionFlags.config(s)
	if err != nil {
		return nil, err
	}
	config.Topic, config.IncludeMessages, config.ExcludeMessages = f.TopicTemplate, f.IncludeMessages, f.ExcludeMessages
	if config.Salt, err = f.salt(); err != nil {
		return nil, err
	}
	columns, err := f.columnConfigs()
	if err != nil {
		return nil, err
	}
	config.Tables = append(config.Tables, columns...)
	return shape.New(config)
}

// warnUnmatched logs patterns that match no table: a misspelt pattern hides nothing, and produces no events.
func (f publisherFlags) warnUnmatched(ctx context.Context, s source, log *zap.Logger) error {
	shape, err := f.shape(s)
	if err != nil {
		return err
	}
	tables, err := outbox.TableNames(ctx, s.connString)
	if err != nil {
		return err
	}
	for _, glob := range shape.Unmatched(tables) {
		log.Warn("the configuration names tables that do not exist: are their names correct?", zap.String("finding", "tables-unmatched"), zap.String("database", s.database), zap.String("tables", glob))
	}
	for _, glob := range f.unmatched(shape, tables) {
		log.Warn("--event-table names tables that do not exist or are not published: are their names correct?", zap.String("finding", "tables-unmatched"), zap.String("database", s.database), zap.String("tables", glob))
	}
	return nil
}

// salt reads the salt, if there is one, without the line end.
func (f shapeFlags) salt() ([]byte, error) {
	if f.HashSaltFile == "" {
		return []byte(os.Getenv("PGTEE_HASH_SALT")), nil
	}
	salt, err := os.ReadFile(f.HashSaltFile)
	if err != nil {
		return nil, fmt.Errorf("--hash-salt-file: %w", err)
	}
	if salt = bytes.TrimRight(salt, "\r\n"); len(salt) == 0 {
		return nil, fmt.Errorf("--hash-salt-file %s is empty: write a random text into it", f.HashSaltFile)
	}
	return salt, nil
}

// columnConfigs returns the flags that name columns, in the form of table settings.
func (f shapeFlags) columnConfigs() (list []shape.TableConfig, err error) {
	for _, flag := range []struct {
		name   string
		values []string
		set    func(t *shape.TableConfig, column string) error
	}{
		{"--include-columns", f.IncludeColumns, func(t *shape.TableConfig, column string) error {
			t.IncludeColumns = []string{column}
			return nil
		}},
		{"--exclude-columns", f.ExcludeColumns, func(t *shape.TableConfig, column string) error {
			t.ExcludeColumns = []string{column}
			return nil
		}},
		{"--mask", f.Mask, addMask(shape.Asterisks)},
		{"--hash", f.Hash, addMask(shape.Hash)},
		{"--truncate-column", f.TruncateColumn, addMask(shape.Truncate)},
	} {
		for _, value := range flag.values {
			if strings.HasPrefix(value, "/") { // a regular expression for whole names
				t := shape.TableConfig{Match: "*.*"}
				if err := flag.set(&t, value); err != nil {
					return nil, fmt.Errorf("%s %q: %w", flag.name, value, err)
				}
				list = append(list, t)
				continue
			}
			parts := strings.SplitN(value, ".", 3)
			if len(parts) < 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
				return nil, fmt.Errorf("%s %q: want SCHEMA.TABLE.COLUMN, such as public.users.email", flag.name, value)
			}
			t := shape.TableConfig{Match: parts[0] + "." + parts[1]}
			if err := flag.set(&t, parts[2]); err != nil {
				return nil, fmt.Errorf("%s %q: %w", flag.name, value, err)
			}
			list = append(list, t)
		}
	}
	return list, nil
}

func addMask(kind shape.MaskKind) func(*shape.TableConfig, string) error {
	return func(t *shape.TableConfig, column string) error {
		mask, err := parseMask(kind, column)
		t.Masks = append(t.Masks, mask)
		return err
	}
}

// parseMask parses COLUMN for a hash, COLUMN:N for the others; asterisks have a default.
func parseMask(kind shape.MaskKind, text string) (shape.MaskConfig, error) {
	mask := shape.MaskConfig{Column: text, Kind: kind}
	if kind == shape.Hash {
		return mask, nil
	}
	column, length, given := cutLength(text)
	if !given && kind == shape.Asterisks {
		length = defaultAsterisks
	}
	var err error
	if mask.Length, err = strconv.Atoi(length); err != nil || mask.Length < 0 {
		return mask, errors.New("want the number of characters behind a colon, such as note:100")
	}
	mask.Column = column
	return mask, nil
}

// cutLength splits COLUMN:N, where the column may be a regular expression that contains colons.
func cutLength(text string) (column, length string, given bool) {
	end := max(strings.LastIndex(text, "/"), 0)
	if !strings.HasPrefix(text, "/") {
		end = 0
	}
	colon := strings.IndexByte(text[end:], ':')
	if colon < 0 {
		return text, "", false
	}
	return text[:end+colon], text[end+colon+1:], true
}

// hides reports whether columns are left out or masked, so that SQL text with literals would show what readers must not see.
func (f shapeFlags) hides() bool {
	for _, t := range f.Tables {
		if len(t.Columns)+len(t.ExcludeColumns)+len(t.Mask)+len(t.Hash)+len(t.Truncate) > 0 {
			return true
		}
	}
	return len(f.IncludeColumns)+len(f.ExcludeColumns)+len(f.Mask)+len(f.Hash)+len(f.TruncateColumn) > 0
}

// sharesTopics reports whether databases cannot be distinguished by their topics.
func (f shapeFlags) sharesTopics() bool {
	switch f.TopicTemplate {
	case "", "debezium", "bottledwater":
		return false
	}
	return !strings.Contains(f.TopicTemplate, "{prefix}") && !strings.Contains(f.TopicTemplate, "{database}")
}

// checkText refuses SQL text with literals if they are hidden in the rows.
func (f shapeFlags) checkText(text textFlags) error {
	if text.SQLText != "full" || !f.hides() || f.UnmaskedSQLText {
		return nil
	}
	return errors.New("--sql-text full would show what the hidden and masked columns hide: use normalised, or allow it with --unmasked-sql-text")
}

// tableSetting is an entry of the key "tables" in the configuration file.
type tableSetting struct {
	Match             string            `yaml:"match"`
	Topic             string            `yaml:"topic"`
	Shared            bool              `yaml:"shared"`
	Partitions        uint16            `yaml:"partitions"`
	ReplicationFactor uint8             `yaml:"replication-factor"`
	TopicConfig       map[string]string `yaml:"topic-config"`
	Key               []string          `yaml:"key"`
	Columns           []string          `yaml:"columns"`
	ExcludeColumns    []string          `yaml:"exclude-columns"`
	Mask              []string          `yaml:"mask"`
	Hash              []string          `yaml:"hash"`
	Truncate          []string          `yaml:"truncate"`
	Where             string            `yaml:"where"`
}

func (t tableSetting) config() (shape.TableConfig, error) {
	config := shape.TableConfig{
		Match: t.Match, Topic: t.Topic, Shared: t.Shared,
		Partitions: int32(t.Partitions), ReplicationFactor: int16(t.ReplicationFactor), TopicConfig: t.TopicConfig,
		Key: t.Key, IncludeColumns: t.Columns, ExcludeColumns: t.ExcludeColumns, Where: t.Where,
	}
	for _, list := range []struct {
		kind   shape.MaskKind
		values []string
	}{{shape.Truncate, t.Truncate}, {shape.Asterisks, t.Mask}, {shape.Hash, t.Hash}} {
		for _, value := range list.values {
			mask, err := parseMask(list.kind, value)
			if err != nil {
				return config, fmt.Errorf("%q: %w", value, err)
			}
			config.Masks = append(config.Masks, mask)
		}
	}
	return config, nil
}

// tableSettings implement their own decoding because they are nested: from the file, or as YAML from another source.
type tableSettings []tableSetting

// Decode is the kong hook.
func (t *tableSettings) Decode(ctx *kong.DecodeContext) error {
	value := ctx.Scan.Pop().Value
	text, given := value.(string)
	if !given {
		raw, err := yaml.Marshal(value)
		if err != nil {
			return err
		}
		text = string(raw)
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), t, yaml.Strict()); err != nil {
		return fmt.Errorf("want a list of settings, such as [{match: public.orders, partitions: 6}] (--include-tables chooses tables): %s", firstLine(err))
	}
	return nil
}
