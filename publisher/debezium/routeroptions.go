package debezium

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// OutboxTable says how the rows of an outbox table of the application become events, like Debezium's EventRouter, whose options the comments name.
// NewOutboxTable returns its defaults.
type OutboxTable struct {
	Match string // glob for "schema.table"

	ID      string // table.field.event.id: column of the header id
	Key     string // table.field.event.key: column of the record key
	Payload string // table.field.event.payload: column of the value

	RouteBy     string         // route.by.field: column that selects the topic
	Regex       *regexp.Regexp // route.topic.regex: must match the whole value of that column
	Replacement string         // route.topic.replacement, in the syntax of regexp.Expand; if the regex does not match, the value itself is the topic

	Expand     bool // table.expand.json.payload: text that is a JSON object or array is expanded
	KeepNulls  bool // table.json.payload.null.behavior=optional_bytes: expansion keeps null fields
	DropEmpty  bool // table.json.payload.empty.array.behavior=ignore: expansion drops fields that are empty arrays; EventRouter's default, but not ours
	Tombstones bool // route.tombstone.on.empty.payload: null and blank payloads become null records

	Additional   []AdditionalField // table.fields.additional.placement
	MayLack      bool              // table.field.additional.missing=ignore; before Debezium 3.7 table.fields.additional.error.on.missing=false
	HaltOnUpdate bool              // table.op.invalid.behavior=fatal; warn and error only warn
	RawKey       bool              // key.converter: StringConverter instead of JsonConverter
	RawPayload   bool              // value.converter: StringConverter or BinaryDataConverter instead of JsonConverter
}

// AdditionalField is a further column that an event carries.
type AdditionalField struct {
	Column, Alias string
	Envelope      bool // in the value; otherwise in a header
}

// NewOutboxTable returns the default options for the tables that match a glob.
func NewOutboxTable(match string) OutboxTable {
	t := OutboxTable{Match: match, ID: "id", Key: "aggregateid", Payload: "payload", RouteBy: "aggregatetype"}
	t.Regex = regexp.MustCompile(`^(?:(?<routedByValue>.*))$`)
	t.Replacement = "outbox.event.${routedByValue}"
	return t
}

// RouterOptions are the options that OutboxTable.Set accepts: those of EventRouter but table.field.event.timestamp and table.field.event.schema.version,
// and the converters of keys and values.
var RouterOptions = []string{
	"table.field.event.id", "table.field.event.key", "table.field.event.type", "table.field.event.payload", "route.by.field",
	"route.topic.regex", "route.topic.replacement", "route.tombstone.on.empty.payload", "table.expand.json.payload",
	"table.json.payload.null.behavior", "table.json.payload.empty.array.behavior",
	"table.fields.additional.placement", "table.field.additional.missing", "table.fields.additional.error.on.missing",
	"table.op.invalid.behavior", "key.converter", "value.converter",
}

// Set sets one of the RouterOptions.
func (t *OutboxTable) Set(name, value string) error {
	if columns := t.columns(); columns[name] != nil {
		if value == "" {
			return fmt.Errorf("%s: want the name of a column", name)
		}
		*columns[name] = value
		return nil
	}
	if flags := t.flags(); flags[name] != nil {
		return setChoice(flags[name], name, value, "true", "false")
	}
	switch name {
	case "table.field.event.type": // EventRouter ignores it too
		return nil
	case "table.fields.additional.error.on.missing":
		return setChoice(&t.MayLack, name, value, "false", "true")
	case "table.field.additional.missing":
		return setChoice(&t.MayLack, name, value, "ignore", "error")
	case "table.json.payload.empty.array.behavior":
		return setChoice(&t.DropEmpty, name, value, "ignore", "optional_string")
	case "table.json.payload.null.behavior":
		return setChoice(&t.KeepNulls, name, value, "optional_bytes", "ignore")
	case "table.op.invalid.behavior":
		return setChoice(&t.HaltOnUpdate, name, value, "fatal", "warn", "error")
	case "key.converter":
		return setChoice(&t.RawKey, name, converter(value), "StringConverter", "JsonConverter")
	case "value.converter":
		if converter(value) == "BinaryDataConverter" {
			value = "StringConverter" // for bytea both write the raw bytes
		}
		return setChoice(&t.RawPayload, name, converter(value), "StringConverter", "JsonConverter")
	case "route.topic.regex":
		return t.setRegex(value)
	case "route.topic.replacement":
		t.Replacement = expandSyntax(value)
		return nil
	case "table.fields.additional.placement":
		return t.setAdditional(value)
	}
	return fmt.Errorf("option %q is not supported: use one of %s", name, strings.Join(RouterOptions, ", "))
}

func (t *OutboxTable) columns() map[string]*string {
	return map[string]*string{
		"table.field.event.id": &t.ID, "table.field.event.key": &t.Key, "table.field.event.payload": &t.Payload, "route.by.field": &t.RouteBy,
	}
}

func (t *OutboxTable) flags() map[string]*bool {
	return map[string]*bool{"table.expand.json.payload": &t.Expand, "route.tombstone.on.empty.payload": &t.Tombstones}
}

// setChoice sets flag if value is yes, and clears it if value is one of no.
func setChoice(flag *bool, name, value, yes string, no ...string) error {
	if value != yes && !slices.Contains(no, value) {
		return fmt.Errorf("%s=%s: want %s or %s", name, value, yes, strings.Join(no, ", "))
	}
	*flag = value == yes
	return nil
}

// converter returns the name of a class without its package.
func converter(class string) string { return class[strings.LastIndexByte(class, '.')+1:] }

func (t *OutboxTable) setRegex(value string) error {
	regex, err := regexp.Compile("^(?:" + value + ")$")
	if err != nil {
		return fmt.Errorf("route.topic.regex=%s: %w", value, err)
	}
	t.Regex = regex
	return nil
}

var javaGroup = regexp.MustCompile(`\$(\d)`)

// expandSyntax changes $1 in Java's syntax to ${1}, because Go reads $1_a as a group named 1_a.
func expandSyntax(replacement string) string {
	return javaGroup.ReplaceAllString(replacement, "$${$1}")
}

// setAdditional reads column:placement[:alias],...
func (t *OutboxTable) setAdditional(value string) error {
	t.Additional = nil
	for _, item := range strings.Split(value, ",") {
		parts := strings.Split(strings.TrimSpace(item), ":")
		if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
			return fmt.Errorf("table.fields.additional.placement: %q: want COLUMN:header or COLUMN:envelope, and :ALIAS if it has another name there", item)
		}
		if parts[1] != "header" && parts[1] != "envelope" {
			return fmt.Errorf("table.fields.additional.placement: %q: placement %q is not supported: use header or envelope", item, parts[1])
		}
		t.Additional = append(t.Additional, AdditionalField{Column: parts[0], Alias: parts[len(parts)-1], Envelope: parts[1] == "envelope"})
		if len(parts) == 2 {
			t.Additional[len(t.Additional)-1].Alias = parts[0]
		}
	}
	return nil
}

// Check returns an error if options contradict each other.
func (t *OutboxTable) Check() error {
	envelope := slices.ContainsFunc(t.Additional, func(f AdditionalField) bool { return f.Envelope })
	if t.RawPayload && (t.Expand || envelope) {
		return errors.New("value.converter=StringConverter takes no envelope and no table.expand.json.payload: leave one out")
	}
	return nil
}
