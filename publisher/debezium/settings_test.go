package debezium

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/publisher/record"
	"github.com/pgtee/pgtee/publisher/shape"
)

// ignored are settings that do not change records.
var ignored = []string{"plugin.name", "publication.autocreate.mode", "snapshot.mode", "slot.name",
	"publication.name", "heartbeat.interval.ms", "key.converter", "value.converter", "key.converter.schemas.enable",
	"schema.name.adjustment.mode", "field.name.adjustment.mode"} // of JSON they change nothing, unlike Debezium

// ignorable reports whether a setting changes no records: one that is ignored, one that has the only value that ours can have, or a predicate, which says
// what a transformation concerns: here its tables.
func ignorable(name, value string) bool {
	return slices.Contains(ignored, name) || name == "predicates" || strings.HasPrefix(name, "predicates.") ||
		strings.HasSuffix(name, ".converter.replace.null.with.default") && value == "false"
}

// predicate reports whether an option of a transformation names its predicate.
func predicate(option string) bool { return option == "predicate" || option == "negate" }

// listsTables reports whether the settings say which tables have records in the capture.
func (f *captured) listsTables() bool {
	for _, name := range []string{"table.include.list", "table.exclude.list", "schema.include.list", "schema.exclude.list"} {
		if f.settings[name] != "" {
			return true
		}
	}
	return false
}

// config turns Debezium's settings into ours.
func (f *captured) config(t *testing.T) Config {
	config := Config{
		Database: "golden", Version: "test", RunID: "run", Catalog: f.catalog(t),
		Skip: SkipTruncate,
	}
	form := shape.Config{Prefix: f.settings["topic.prefix"]}
	for _, name := range sortedKeys(f.settings) {
		if err := apply(&config, &form, name, f.settings[name]); err != nil {
			t.Fatalf("%s=%s: %v", name, f.settings[name], err)
		}
	}
	if err := f.transform(&config, form.IncludeTables); err != nil {
		t.Fatal(err)
	}
	var err error
	if config.Shape, err = shape.New(form); err != nil {
		t.Fatal(err)
	}
	return config
}

// transform reads the settings of a transformation.
func (f *captured) transform(c *Config, tables []string) error {
	name := f.settings["transforms"]
	if name == "" {
		return nil
	}
	options := map[string]string{}
	for key, value := range f.settings {
		if option, ours := strings.CutPrefix(key, "transforms."+name+"."); ours && !predicate(option) {
			options[option] = value
		}
	}
	class := options["type"]
	delete(options, "type")
	switch converter(class) {
	case "EventRouter":
		return routeEvents(c, options, tables)
	case "ExtractNewRecordState":
		return flatten(c, options)
	}
	return fmt.Errorf("the comparison does not know the transformation %s", class)
}

// routeEvents has the tables that are included.
func routeEvents(c *Config, options map[string]string, tables []string) error {
	if tables == nil {
		tables = []string{"*.outbox"}
	}
	for _, table := range tables {
		outbox := NewOutboxTable(table)
		for name, value := range options {
			if err := outbox.Set(name, value); err != nil {
				return err
			}
		}
		c.Outboxes = append(c.Outboxes, outbox)
	}
	return nil
}

func flatten(c *Config, options map[string]string) (err error) {
	c.Envelope = Flat
	for name, value := range options {
		switch name {
		case "delete.tombstone.handling.mode":
			c.Flat.Deletes, err = ParseDeleteMode(value)
		case "add.fields":
			c.Flat.Fields, err = ParseFlatFields(strings.Split(value, ","), option(options, "add.fields.prefix", flatFieldPrefix))
		case "add.headers":
			c.Flat.Headers, err = ParseFlatFields(strings.Split(value, ","), option(options, "add.headers.prefix", flatFieldPrefix))
		case "add.fields.prefix", "add.headers.prefix":
		case "replace.null.with.default":
			if value != "false" {
				err = errors.New("a NULL is never replaced here: capture with false")
			}
		default:
			err = errors.New("the comparison does not know this option")
		}
		if err != nil {
			return fmt.Errorf("%s=%s: %w", name, value, err)
		}
	}
	return nil
}

// volatile are the fields of flat records that change from run to run.
func (f *captured) volatile() (names []string) {
	var c Config
	if f.transform(&c, nil) != nil {
		return nil // config tells
	}
	for _, field := range slices.Concat(c.Flat.Fields, c.Flat.Headers) {
		if slices.Contains([]string{"version", "sequence", "ts_ms", "ts_us", "ts_ns", "lsn", "txId", "xmin", "id"}, field.name) {
			names = append(names, field.as)
		}
	}
	return names
}

func (f *captured) flat() bool {
	var c Config
	return f.transform(&c, nil) == nil && c.Envelope == Flat
}

// hidesOperation reports whether records do not tell what rows a snapshot has read.
func (f *captured) hidesOperation() bool {
	var c Config
	if f.transform(&c, nil) != nil || c.Envelope != Flat {
		return false
	}
	return !slices.ContainsFunc(slices.Concat(c.Flat.Fields, c.Flat.Headers), func(field FlatField) bool { return field.as == "__op" })
}

// TestSettings: settings that change no records are understood, others are refused.
func TestSettings(t *testing.T) {
	unwrap := map[string]string{"transforms": "u", "transforms.u.type": "io.debezium.transforms.ExtractNewRecordState"}
	routed := map[string]string{"transforms": "u", "transforms.u.type": "io.debezium.transforms.outbox.EventRouter"}
	for setting, base := range map[string]map[string]string{
		"transforms.u.predicate=p": routed, "transforms.u.negate=true": routed, "predicates=p": routed, "predicates.p.pattern=outbox.*": routed,
		"transforms.u.replace.null.with.default=false": unwrap, "value.converter.replace.null.with.default=false": unwrap,
		"! transforms.u.replace.null.with.default=true": unwrap, "! value.converter.replace.null.with.default=true": unwrap, "! transforms.u.unknown=1": routed,
	} {
		text, refused := strings.CutPrefix(setting, "! ")
		name, value, _ := strings.Cut(text, "=")
		f := &captured{settings: maps.Clone(base)}
		f.settings[name] = value
		var config Config
		var form shape.Config
		if err := errors.Join(apply(&config, &form, name, value), f.transform(&config, nil)); (err != nil) != refused {
			t.Errorf("%s: %v", setting, err)
		}
	}
}

func option(options map[string]string, name, missing string) string {
	if value, set := options[name]; set {
		return value
	}
	return missing
}

func apply(c *Config, form *shape.Config, name, value string) (err error) {
	switch name {
	case "topic.prefix":
		c.Prefix = value
	case "tombstones.on.delete":
		c.NoTombstones = value == "false"
	case "skipped.operations":
		c.Skip, err = ParseOperations(strings.Split(value, ","))
	case "skip.messages.without.change":
		c.SkipUnchanged = value == "true"
	case "provide.transaction.metadata":
		c.TransactionMetadata = value == "true"
	case "extended.headers.enabled":
		if value == "false" {
			c.RunID = ""
		}
	case "value.converter.schemas.enable":
		if value == "true" {
			c.Framing = &record.ConnectJSON{}
		}
	case "table.include.list":
		form.IncludeTables = patterns(value)
	case "table.exclude.list":
		form.ExcludeTables = append(form.ExcludeTables, patterns(value)...)
	case "schema.include.list":
		form.IncludeTables = patternsOf(value, `(?:%s)\..*`)
	case "schema.exclude.list":
		form.ExcludeTables = append(form.ExcludeTables, patternsOf(value, `(?:%s)\..*`)...)
	case "column.include.list":
		form.Tables = append(form.Tables, shape.TableConfig{Match: "*.*", IncludeColumns: patterns(value)})
	case "column.exclude.list":
		form.Tables = append(form.Tables, shape.TableConfig{Match: "*.*", ExcludeColumns: patterns(value)})
	case "message.prefix.include.list":
		form.IncludeMessages = patterns(value)
	case "message.prefix.exclude.list":
		form.ExcludeMessages = patterns(value)
	case "column.propagate.source.type":
		c.Propagate.Columns = patterns(value)
	case "datatype.propagate.source.type":
		c.Propagate.Datatypes = patterns(value)
	case "message.key.columns":
		for _, entry := range strings.Split(value, ";") {
			table, columns, _ := strings.Cut(entry, ":")
			form.Tables = append(form.Tables, shape.TableConfig{Match: "/" + table + "/", Key: strings.Split(columns, ",")})
		}
	default:
		if slices.Contains(modeKeys, name) {
			return c.Set(name, value)
		}
		if mask := maskSetting.FindStringSubmatch(name); mask != nil {
			applyMask(form, mask, value)
			return nil
		}
		if !ignorable(name, value) && !strings.HasPrefix(name, "transforms") {
			return errors.New("the comparison does not know this setting")
		}
	}
	return err
}

var maskSetting = regexp.MustCompile(`^column\.(?:(mask)\.with\.(\d+)\.chars|(truncate)\.to\.(\d+)\.chars|mask\.hash\.v2\.SHA-256\.with\.salt\.(.+))$`)

func applyMask(form *shape.Config, mask []string, columns string) {
	m := shape.MaskConfig{Kind: shape.Hash}
	switch {
	case mask[1] != "":
		m.Kind = shape.Asterisks
		m.Length, _ = strconv.Atoi(mask[2])
	case mask[3] != "":
		m.Kind = shape.Truncate
		m.Length, _ = strconv.Atoi(mask[4])
	default:
		form.Salt = []byte(mask[5])
	}
	t := shape.TableConfig{Match: "*.*"}
	for _, m.Column = range patterns(columns) {
		t.Masks = append(t.Masks, m)
	}
	form.Tables = append(form.Tables, t)
}

// patterns turns one of Debezium's lists of regular expressions into ours.
func patterns(list string) []string { return patternsOf(list, "%s") }

func patternsOf(list, form string) []string {
	patterns := strings.Split(list, ",")
	for i, p := range patterns {
		patterns[i] = "/" + fmt.Sprintf(form, strings.TrimSpace(p)) + "/"
	}
	return patterns
}
