package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// settingFlags are flags and configuration of pgtee that stand for settings of Debezium's connector.
type settingFlags struct {
	args    []string
	tables  []string // entries of the key tables
	headers []string // that a transformation adds, in their order
	again   string   // the header that tombstones have twice
	mode    string   // of the snapshot
	beats   bool     // there are heartbeats
}

// sameFlags are settings of the connector that are flags of pgtee by the same name.
var sameFlags = []string{"decimal.handling.mode", "money.fraction.digits", "time.precision.mode", "binary.handling.mode",
	"interval.handling.mode", "hstore.handling.mode", "unavailable.value.placeholder"}

// switches are settings that have a flag if they have this value.
var switches = map[string][2]string{
	"tombstones.on.delete":           {"false", "--no-tombstones"},
	"extended.headers.enabled":       {"false", "--no-extended-headers"},
	"provide.transaction.metadata":   {"true", "--provide-transaction-metadata"},
	"skip.messages.without.change":   {"true", "--skip-messages-without-change"},
	"value.converter.schemas.enable": {"true", "--format=json-schema"},
}

// patternFlags are lists of regular expressions.
var patternFlags = map[string]string{
	"table.include.list": "--include-tables", "table.exclude.list": "--exclude-tables",
	"column.include.list": "--include-columns", "column.exclude.list": "--exclude-columns",
	"message.prefix.include.list": "--include-messages", "message.prefix.exclude.list": "--exclude-messages",
	"column.propagate.source.type": "--column-propagate-source-type", "datatype.propagate.source.type": "--datatype-propagate-source-type",
}

// unmapped are settings that are the same for every capture, or change no records.
var unmapped = []string{"plugin.name", "publication.name", "publication.autocreate.mode", "topic.prefix", "slot.name",
	"key.converter", "value.converter", "key.converter.schemas.enable"}

// snapshotModes are those of the connector that can be compared.
var snapshotModes = map[string]string{"initial": "initial", "no_data": "never", "never": "never"}

var maskSetting = regexp.MustCompile(`^column\.(mask)\.with\.(\d+)\.chars$|^column\.(truncate)\.to\.(\d+)\.chars$|^column\.mask\.(hash)\.v2\.SHA-256\.with\.salt\.(.+)$`)

// goldenFlags turns the settings of a capture into flags.
func goldenFlags(t *testing.T, settings map[string]string) (f settingFlags) {
	skipped, unknown, names := "t", "omit", ""
	f.mode = "initial"
	if _, set := settings["include.unknown.datatypes"]; !set {
		unknown = "text" // what the connector leaves out is excused
	}
	for name, value := range settings {
		on, isSwitch := switches[name]
		mask := maskSetting.FindStringSubmatch(name)
		switch {
		case slices.Contains(sameFlags, name):
			f.args = append(f.args, "--"+strings.ReplaceAll(name, ".", "-"), value)
		case isSwitch:
			if value == on[0] {
				f.args = append(f.args, on[1])
			}
		case patternFlags[name] != "":
			f.patterns(patternFlags[name], "%s", value)
		case name == "schema.include.list" || name == "schema.exclude.list":
			f.patterns(patternFlags["table"+strings.TrimPrefix(name, "schema")], `(?:%s)\..*`, value)
		case name == "snapshot.mode" && snapshotModes[value] != "":
			f.mode = snapshotModes[value]
		case name == "heartbeat.interval.ms":
			f.beats = value != "0"
			f.args = append(f.args, "--heartbeat", value+"ms")
		case name == "schema.name.adjustment.mode" || name == "field.name.adjustment.mode":
			if value != "none" {
				names = value
			}
		case name == "skipped.operations":
			skipped = value
		case name == "include.unknown.datatypes":
			if value == "true" {
				unknown = "bytes"
			}
		case mask != nil:
			f.mask(t, mask, value)
		case name == "message.key.columns":
			f.keys(value)
		case name == "transforms":
			f.transform(t, value, settings)
		case strings.HasSuffix(name, ".converter.replace.null.with.default") && value == "false":
		case !slices.Contains(unmapped, name) && !strings.HasPrefix(name, "transforms.") && !strings.HasPrefix(name, "predicates"):
			t.Fatalf("the comparison does not know the setting %s=%s", name, value)
		}
	}
	if names != "" { // of JSON it changes nothing, unlike Debezium
		f.args = append(f.args, "--schema-name-adjustment-mode", names)
	}
	f.args = append(f.args, "--skipped-operations", skipped, "--unknown-datatypes", unknown)
	return f
}

// patterns turns a list of regular expressions, each in a form, into values of a flag. It keeps the table that marks the end of the stream.
func (f *settingFlags) patterns(flag, form, list string) {
	for _, p := range strings.Split(list, ",") {
		f.args = append(f.args, flag+"=/"+fmt.Sprintf(form, strings.TrimSpace(p))+"/")
	}
	if flag == "--include-tables" {
		f.args = append(f.args, "--include-tables=mark.mark")
	}
	if flag == "--include-columns" {
		f.args = append(f.args, "--include-columns=mark.mark.*")
	}
}

func (f *settingFlags) mask(t *testing.T, setting []string, columns string) {
	flag, length := "--mask", ":"+setting[2]
	switch {
	case setting[3] != "":
		flag, length = "--truncate-column", ":"+setting[4]
	case setting[5] != "":
		flag, length = "--hash", ""
		salt := filepath.Join(t.TempDir(), "salt")
		if err := os.WriteFile(salt, []byte(setting[6]), 0o600); err != nil {
			t.Fatal(err)
		}
		f.args = append(f.args, "--hash-salt-file", salt)
	}
	for _, p := range strings.Split(columns, ",") {
		f.args = append(f.args, flag+"=/"+strings.TrimSpace(p)+"/"+length)
	}
}

// keys reads message.key.columns: TABLE:COLUMN,COLUMN;...
func (f *settingFlags) keys(value string) {
	for _, entry := range strings.Split(value, ";") {
		table, columns, _ := strings.Cut(entry, ":")
		f.tables = append(f.tables, fmt.Sprintf("{match: '/%s/', key: [%s]}", table, columns))
	}
}

// transform reads the settings of the one transformation.
func (f *settingFlags) transform(t *testing.T, name string, settings map[string]string) {
	options := map[string]string{}
	for key, value := range settings {
		if option, ours := strings.CutPrefix(key, "transforms."+name+"."); ours && option != "predicate" && option != "negate" {
			options[option] = value
		}
	}
	class := options["type"]
	delete(options, "type")
	switch class[strings.LastIndexByte(class, '.')+1:] {
	case "EventRouter":
		f.args = append(f.args, "--event-table", "*.outbox", "--exclude-tables", "none.none")
		f.headers = []string{"id"}
		for option, value := range options {
			f.args = append(f.args, "--event-option", option+"="+value)
			if option == "table.fields.additional.placement" {
				f.eventHeaders(value)
			}
		}
	case "ExtractNewRecordState":
		f.flatten(t, options)
	default:
		t.Fatalf("the comparison does not know the transformation %s", class)
	}
}

// eventHeaders reads COLUMN:header:ALIAS,...
func (f *settingFlags) eventHeaders(placement string) {
	for _, item := range strings.Split(placement, ",") {
		if parts := strings.Split(strings.TrimSpace(item), ":"); len(parts) > 1 && parts[1] == "header" {
			f.headers = append(f.headers, parts[len(parts)-1])
		}
	}
}

func (f *settingFlags) flatten(t *testing.T, options map[string]string) {
	f.args = append(f.args, "--envelope", "flat")
	prefix, ok := options["add.headers.prefix"]
	if !ok {
		prefix = "__"
	}
	f.args = append(f.args, "--flat-header-prefix="+prefix)
	for name, value := range options {
		switch name {
		case "delete.tombstone.handling.mode":
			f.args = append(f.args, "--flat-deletes", value)
		case "add.fields":
			f.args = append(f.args, "--flat-fields", value)
		case "add.fields.prefix":
			f.args = append(f.args, "--flat-prefix="+value)
		case "add.headers.prefix":
		case "replace.null.with.default":
			if value != "false" {
				t.Fatal("a NULL is never replaced here: capture with replace.null.with.default=false")
			}
		case "add.headers":
			f.args = append(f.args, "--flat-headers", value)
			for _, field := range strings.Split(value, ",") {
				path, as, renamed := strings.Cut(strings.TrimSpace(field), ":")
				if !renamed {
					as = strings.ReplaceAll(path, ".", "_")
				}
				f.headers = append(f.headers, prefix+as)
				if path == "op" && options["delete.tombstone.handling.mode"] == "rewrite-with-tombstone" {
					f.again = prefix + as
				}
			}
		default:
			t.Fatalf("the comparison does not know the option %s of ExtractNewRecordState", name)
		}
	}
}

// excluding adds the tables that a configuration excludes to those of a flag, which would replace them.
func (f *settingFlags) excluding(config string) {
	list := excludedTables.FindStringSubmatch(config)
	if list == nil || !slices.ContainsFunc(f.args, func(arg string) bool { return strings.HasPrefix(arg, "--exclude-tables=") }) {
		return
	}
	for _, table := range strings.Split(list[1], ",") {
		f.args = append(f.args, "--exclude-tables="+strings.TrimSpace(table))
	}
}

var excludedTables = regexp.MustCompile(`(?m)^exclude-tables: \[(.*)\]$`)

// withTables adds entries to the key tables of a configuration, at its end.
func withTables(config string, entries []string) string {
	if len(entries) > 0 && !strings.Contains(config, "\ntables:") {
		config += "\ntables:"
	}
	for _, entry := range entries {
		config = strings.TrimRight(config, "\n") + "\n  - " + entry
	}
	return config + "\n"
}
