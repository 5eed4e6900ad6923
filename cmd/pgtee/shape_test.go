package main

import (
	"os"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"

	"github.com/pgtee/pgtee/publisher/shape"
)

// TestTableSettings: the nested settings of the file reach the shape, with the flags behind them.
func TestTableSettings(t *testing.T) {
	path := file(t, "pgtee.yaml", `
postgres: postgres://u@h/x
kafka: h:1
topic-template: bottledwater
exclude-tables: ["*.tmp"]
hash: public.users.email
tables:
  - match: public.*
    partitions: 3
    topic-config: {cleanup.policy: compact, retention.ms: 1000}
  - match: public.users
    topic: "{database}-people"
    replication-factor: 2
    key: [tenant, id]
    exclude-columns: [password]
    mask: [email, "phone:3"]
    truncate: ["note:10"]
    where: NOT deleted
`)
	t.Setenv("PGTEE_HASH_SALT", "s")
	command, err := parse([]string{"publish", "--config", path, "--mask", "*.users.note:1"}, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	form, err := command.(*publishCommand).shape(source{prefix: "shop", database: "crm"})
	if err != nil {
		t.Fatal(err)
	}
	users := &pgoutput.Relation{Schema: "public", Name: "users", Identity: 'f'}
	for _, name := range []string{"id", "tenant", "email", "phone", "password", "note"} {
		users.Columns = append(users.Columns, pgoutput.Column{Name: name, Type: 25, TypeMod: -1, Key: true})
	}
	users.Columns = append(users.Columns, pgoutput.Column{Name: "deleted", Type: 16, TypeMod: -1, Key: true})
	got, err := form.Table(users)
	if err != nil {
		t.Fatal(err)
	}
	topic := form.TopicSettings("crm-people")
	if got.Topic != "crm-people" || topic.Partitions != 3 || topic.ReplicationFactor != 2 || topic.Config["retention.ms"] != "1000" {
		t.Errorf("topic %s, %+v", got.Topic, topic)
	}
	if len(got.Key) != 2 || got.Key[0] != 1 || got.Filter == nil || !got.Columns[4].Hidden {
		t.Errorf("key %v, filter %v, password hidden: %t", got.Key, got.Filter, got.Columns[4].Hidden)
	}
	email, phone, note := got.Columns[2].Mask, got.Columns[3].Mask, got.Columns[5].Mask
	if email.Kind() != shape.Asterisks || phone.Fixed() != `"***"` || note.Fixed() != `"*"` {
		t.Errorf("masks of email %+v, phone %+v, note %+v", email, phone, note)
	}
	if form.Includes("public", "tmp") || !form.Includes("public", "users") {
		t.Error("the wrong tables are excluded")
	}
}

// TestExampleShape: what the example file shows in comments works.
func TestExampleShape(t *testing.T) {
	example, err := os.ReadFile("../../deploy/pgtee.yaml")
	if err != nil {
		t.Fatal(err)
	}
	plain, commented, found := strings.Cut(string(example), "# topic-template:")
	if !found {
		t.Fatal("the example has no topic-template")
	}
	text := plain + strings.ReplaceAll("\n# topic-template:"+commented, "\n# ", "\n")
	t.Setenv("PGTEE_HASH_SALT", "s")
	command, err := parse([]string{"publish", "--config", file(t, "pgtee.yaml", text)}, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	got := command.(*publishCommand)
	if err := got.validate([]source{{prefix: "shop", database: "shop"}}, got.textFlags); err != nil || len(got.Tables) != 2 || len(got.EventOption) != 2 {
		t.Errorf("%d settings of tables, options of outbox tables %q, error %v", len(got.Tables), got.EventOption, err)
	}
}

// TestShapeFlagErrors: what cannot work is told before anything is asked, in one line.
func TestShapeFlagErrors(t *testing.T) {
	key := file(t, "key", strings.Repeat("ab", 32))
	for want, args := range map[string][]string{
		`topic template "{prefix}.{tabel}"`:             {"--topic-template", "{prefix}.{tabel}"},
		`"orders" names no tables: want SCHEMA.TABLE`:   {"--include-tables", "orders"},
		`--mask "users.email": want SCHEMA.TABLE.COLUM`: {"--mask", "users.email"},
		`--mask "a.b.c:x": want the number`:             {"--mask", "a.b.c:x"},
		`--truncate-column "a.b.c": want the number`:    {"--truncate-column", "a.b.c"},
		"column c is hashed without a salt":             {"--hash", "a.b.c"},
		"--hash-salt-file: open /nonexistent":           {"--hash", "a.b.c", "--hash-salt-file", "/nonexistent"},
		"is empty: write a random text":                 {"--hash", "a.b.c", "--hash-salt-file", file(t, "salt", "\n")},
		"--sql-text full would show":                    {"--mask", "a.b.c", "--sql-text", "full"},
		"full would show":                               {"--truncate-column", "a.b.c:3", "--sql-text", "full"},
		"filter at character 6: found its end":          {"--tables", "[{match: a.b, where: 'id = '}]"},
		`unknown field "wher"`:                          {"--tables", "[{match: a.b, wher: x}]"},
		"--include-tables chooses tables":               {"--tables", "[public.orders]"},
		`decimal.handling.mode="exact": use one of`:     {"--decimal-handling-mode", "exact"},
		`money.fraction.digits="x"`:                     {"--money-fraction-digits", "x"},
	} {
		args = append([]string{"publish", "--postgres", "postgres://u@127.0.0.1:1/x", "--kafka", "127.0.0.1:1", "--key", key}, args...)
		pgtee(t, args...).expectError(t, exitUsage, want)
	}
}

// TestSharedTemplate: two databases do not get the same topics.
func TestSharedTemplate(t *testing.T) {
	f := recordFlags{shapeFlags: shapeFlags{TopicTemplate: "{table}"}}
	one, two := source{prefix: "p", database: "a"}, source{prefix: "q", database: "b"}
	if err := f.validate([]source{one}, textFlags{}); err != nil {
		t.Errorf("one database: %v", err)
	}
	if err := f.validate([]source{one, two}, textFlags{}); err == nil || !strings.Contains(err.Error(), "{database}") {
		t.Errorf("two databases: %v", err)
	}
}

// TestSaltIsNotTold: whatever is wrong, the salt is in no message.
func TestSaltIsNotTold(t *testing.T) {
	t.Setenv("PGTEE_HASH_SALT", "unspeakable")
	got := pgtee(t, "publish", "--postgres", "postgres://u@127.0.0.1:1/x", "--kafka", "127.0.0.1:1", "--key", file(t, "key", strings.Repeat("ab", 32)),
		"--hash", "a.b.c", "--log-level", "debug")
	if strings.Contains(got.stdout+got.stderr, "unspeakable") {
		t.Errorf("the salt is told: %s", got.stderr)
	}
}
