package shape

import (
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pgtee/pgtee/outbox/pgoutput"
	"github.com/pgtee/pgtee/publisher/filter"
	"github.com/pgtee/pgtee/publisher/halt"
	"github.com/pgtee/pgtee/publisher/record"
)

func mustShape(t *testing.T, c Config) *Shape {
	t.Helper()
	if c.Prefix == "" {
		c.Prefix = "shop"
	}
	shape, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return shape
}

func relation(schema, table string, identity byte, columns ...string) *pgoutput.Relation {
	r := &pgoutput.Relation{Schema: schema, Name: table, Identity: identity}
	for i, name := range columns {
		r.Columns = append(r.Columns, pgoutput.Column{Name: name, Type: filter.OIDText, TypeMod: -1, Key: i == 0 && identity == 'd' || identity == 'f'})
	}
	return r
}

func TestGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"public.orders", "public.orders", true}, {"public.orders", "public.orders2", false}, {"public.*", "public.orders", true},
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"?", "ü", true}, {"?", "", false}, {"a?c", "abc", true}, {"*.orders_?", "shard.orders_7", true},
		{"*.*_tmp", "public.a_tmp", true}, {"*.*_tmp", "public.a_tmp2", false}, {"a*b*c", "aXbXbXc", true}, {"a*b*c", "aXbXbX", false},
		{"Public.*", "public.orders", false}, {"x[a]", "x[a]", true}, {"***", "abc", true},
	} {
		if got := Matches(test.pattern, test.name); got != test.want {
			t.Errorf("%q matches %q: %t", test.pattern, test.name, got)
		}
	}
}

func TestTopics(t *testing.T) {
	for _, test := range []struct{ template, schema, table, want string }{
		{"", "public", "orders", "shop.public.orders"},
		{"debezium", "sales", "Büro", "shop.sales.B_ro"},
		{"bottledwater", "public", "orders", "shop.orders"},
		{"bottledwater", "sales", "orders", "shop.sales.orders"},
		{"cdc-{database}-{table}", "sales", "a b", "cdc-crm-a_b"},
		{"all", "sales", "orders", "all"},
		{"{table}", "sales", "{schema}", "_schema_"},
	} {
		shape := mustShape(t, Config{Topic: test.template, Database: "crm"})
		got, err := shape.Table(relation(test.schema, test.table, 'd', "id"))
		if err != nil || got.Topic != test.want {
			t.Errorf("%s.%s by %q: topic %+v, error %v, want %s", test.schema, test.table, test.template, got, err, test.want)
		}
	}
}

// A table never gets a topic that has another use, or a name that Kafka does not take: it gets one of its own.
func TestReservedTopics(t *testing.T) {
	for _, test := range []struct{ template, table, want string }{
		{"{prefix}.{table}", "audit", "shop.audit-"},
		{"{prefix}.{table}", "ddl", "shop.ddl-"},
		{"{prefix}.{table}", "dead-letter", "shop.dead-letter-"},
		{"{prefix}.{table}", "progress", "shop.progress-"},
		{"{prefix}.{table}", "transaction", "shop.transaction-"},
		{"{prefix}.{table}", "message", "shop.message-"},
		{"{prefix}.{table}", "outbox.refused", "shop.outbox.refused-"},
		{"{prefix}.{table}", "outbox.orders", "shop.outbox.orders"},
		{"{table}", "__consumer_offsets", "consumer_offsets-"},
		{"{table}", "..", "..-"},
		{"{table}", strings.Repeat("x", 250), strings.Repeat("x", 232) + "-"},
		{"{prefix}.{table}", "orders-0123456789abcdef", "shop.orders-0123456789abcdef-"},
		{"{prefix}.{table}-0123456789abcdef", "orders", "shop.orders-0123456789abcdef"},
	} {
		var told string
		shape := mustShape(t, Config{Prefix: "shop", Topic: test.template})
		shape.Tell = func(table, topic string, _ error) { told = table + " " + topic }
		got, err := shape.Table(relation("public", test.table, 'd', "id"))
		own := strings.HasSuffix(test.want, "-")
		if err != nil || !strings.HasPrefix(got.Topic, test.want) || own != (len(got.Topic) == len(test.want)+2*ownHashBytes) || !record.ValidTopic(got.Topic) || shape.reserved(got.Topic) {
			t.Errorf("table %s: topic %q, error %v, want %s", test.table, got.Topic, err, test.want)
		}
		if own != (told == "public."+test.table+" "+got.Topic) {
			t.Errorf("table %s: told %q", test.table, told)
		}
		again, _ := shape.Table(relation("public", test.table, 'd', "id"))
		if again.Topic != got.Topic {
			t.Errorf("table %s: topic %q, then %q", test.table, got.Topic, again.Topic)
		}
	}
}

func TestSelection(t *testing.T) {
	shape := mustShape(t, Config{IncludeTables: []string{"public.*", "sales.orders"}, ExcludeTables: []string{"*.*_tmp"}, ExcludeMessages: []string{"debug*"}})
	for name, want := range map[string]bool{"public.a": true, "public.a_tmp": false, "sales.orders": true, "sales.other": false} {
		schema, table, _ := strings.Cut(name, ".")
		got, err := shape.Table(relation(schema, table, 'd', "id"))
		if err != nil || got.Excluded == want {
			t.Errorf("%s is excluded: %t, error %v", name, got.Excluded, err)
		}
	}
	if shape.IncludesMessage("debug.x") || !shape.IncludesMessage("app") {
		t.Error("messages with excluded prefixes are published, or others are not")
	}
}

// TestStrongestMask: no later or broader setting uncovers what another hides.
func TestStrongestMask(t *testing.T) {
	stars, hash, short := MaskConfig{"*", Asterisks, 3}, MaskConfig{"*", Hash, 0}, MaskConfig{"*", Truncate, 9}
	for _, test := range []struct {
		masks []MaskConfig
		want  MaskKind
	}{
		{[]MaskConfig{stars, short}, Asterisks}, {[]MaskConfig{short, stars}, Asterisks}, {[]MaskConfig{hash, short}, Hash},
		{[]MaskConfig{short, hash}, Hash}, {[]MaskConfig{hash, stars}, Asterisks}, {[]MaskConfig{stars, hash}, Asterisks},
	} {
		shape := mustShape(t, Config{Salt: []byte("s"), Tables: []TableConfig{{Match: "*.*", Masks: test.masks}}})
		r := relation("public", "users", 'd', "id", "email")
		r.Columns[1].Type = 23 // an integer, which is not truncated
		got, err := shape.Table(r)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range got.Columns {
			if c.Mask == nil || c.Mask.Kind() != test.want {
				t.Errorf("%+v: column %d has mask %+v, want kind %d", test.masks, i, c.Mask, test.want)
			}
		}
	}
}

func TestUnmatched(t *testing.T) {
	shape := mustShape(t, Config{ExcludeTables: []string{"*.tmp", "public.lgo"}, Tables: []TableConfig{{Match: "public.*"}, {Match: "public.usres"}, {Match: "public.usres"}}})
	if got := shape.Unmatched([]string{"public.users", "sales.tmp", "public.log"}); !reflect.DeepEqual(got, []string{"public.lgo", "public.usres"}) {
		t.Errorf("unmatched: %v", got)
	}
}

// TestMerge: all entries that match apply, in their order.
func TestMerge(t *testing.T) {
	shape := mustShape(t, Config{Salt: []byte("s"), Tables: []TableConfig{
		{Match: "*.*", Partitions: 2, TopicConfig: map[string]string{"a": "1", "b": "1"}, Masks: []MaskConfig{{Column: "e*", Kind: Asterisks, Length: 3}}},
		{Match: "public.users", Topic: "{prefix}.people", Partitions: 6, ReplicationFactor: 3, TopicConfig: map[string]string{"b": "2"},
			Masks: []MaskConfig{{Column: "email", Kind: Hash}}, ExcludeColumns: []string{"password"}, Where: "id <> '0'"},
		{Match: "public.us*", Key: []string{"email", "id"}, IncludeColumns: []string{"id", "e*"}, Where: "extra = 'x'"},
		{Match: "public.users", IncludeColumns: []string{"name"}},
		{Match: "public.other", Partitions: 9},
	}})
	got, err := shape.Table(relation("public", "users", 'f', "id", "name", "email", "password", "extra", "rest"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Topic{6, 3, map[string]string{"a": "1", "b": "2"}, false, OwnTopic("shop.people", "public.users", 1)}); !reflect.DeepEqual(shape.TopicSettings("shop.people"), want) {
		t.Errorf("topic settings %+v, want %+v", shape.TopicSettings("shop.people"), want)
	}
	if !reflect.DeepEqual(got.Key, []int{2, 0}) {
		t.Errorf("key %v", got.Key)
	}
	hidden, masks := "", ""
	for _, c := range got.Columns {
		hidden += map[bool]string{true: "h", false: "."}[c.Hidden]
		switch {
		case c.Mask == nil:
			masks += "."
		default:
			masks += map[MaskKind]string{Asterisks: "*", Hash: "#"}[c.Mask.Kind()]
		}
	}
	if hidden != "...h.h" || masks != "..*.*." {
		t.Errorf("hidden %s, masks %s", hidden, masks)
	}
	for row, want := range map[string]filter.Truth{"1 x": filter.True, "0 x": filter.False, "1 y": filter.False} {
		id, extra, _ := strings.Cut(row, " ")
		if got := got.Filter.Match(textRow{id, "", "", "", extra, ""}); got != want {
			t.Errorf("row %s: %d, want %d", row, got, want)
		}
	}
}

// textRow has the text of each column.
type textRow []string

func (r textRow) Column(i int) (kind byte, text []byte) { return pgoutput.Text, []byte(r[i]) }

func TestShapeErrors(t *testing.T) {
	users := relation("public", "users", 'd', "id", "email")
	users.Columns = append(users.Columns, pgoutput.Column{Name: "age", Type: 23, TypeMod: -1})
	for name, test := range map[string]struct {
		table TableConfig
		want  string
	}{
		"no such key":        {TableConfig{Key: []string{"tenant"}}, "key column tenant does not exist"},
		"key twice":          {TableConfig{Key: []string{"id", "id"}}, "there twice"},
		"no such column":     {TableConfig{Masks: []MaskConfig{{Column: "emial"}}}, "column emial, which the configuration hides, does not exist"},
		"nothing to exclude": {TableConfig{ExcludeColumns: []string{"phone"}}, "column phone, which"},
		"filter":             {TableConfig{Where: "city = 'x'"}, "filter at character 1: there is no column city"},
	} {
		test.table.Match = "public.users"
		shape := mustShape(t, Config{Tables: []TableConfig{test.table}})
		if _, err := shape.Table(users); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		} else if !errors.Is(err, halt.ErrShape) {
			t.Errorf("%s: %v is tried again", name, err)
		}
	}
	shape := mustShape(t, Config{Tables: []TableConfig{{Match: "*.*", Masks: []MaskConfig{{Column: "nobod?"}}}}})
	if _, err := shape.Table(users); err != nil {
		t.Errorf("a glob that matches nothing: %v", err)
	}
}

func TestShapeConfigErrors(t *testing.T) {
	for want, config := range map[string]Config{
		"topic template":         {Topic: "{prefix}.{tabel}"},
		`"orders" names no`:      {IncludeTables: []string{"orders"}},
		`"public." names no`:     {ExcludeTables: []string{"public."}},
		`"" names no`:            {Tables: []TableConfig{{}}},
		"hashed without a salt":  {Tables: []TableConfig{{Match: "a.b", Masks: []MaskConfig{{Column: "c", Kind: Hash}}}}},
		"length -1":              {Tables: []TableConfig{{Match: "a.b", Masks: []MaskConfig{{Column: "c", Length: -1}}}}},
		"names no column":        {Tables: []TableConfig{{Match: "a.b", Masks: []MaskConfig{{}}}}},
		"positive numbers":       {Tables: []TableConfig{{Match: "a.b", Partitions: -1}}},
		`match "a.b": filter at`: {Tables: []TableConfig{{Match: "a.b", Where: "x = "}}},
	} {
		if _, err := New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestUnkeyed(t *testing.T) {
	shape := mustShape(t, Config{RefuseUnkeyed: true, ExcludeTables: []string{"*.log"}, Tables: []TableConfig{{Match: "public.a", Key: []string{"id"}}}})
	for table, want := range map[string]bool{"a": false, "b": true, "log": false} {
		if got := shape.NeedsKey("public", table); got != want {
			t.Errorf("table %s needs a key: %t", table, got)
		}
	}
	err := shape.CheckKey(relation("public", "b", 'f', "x"), false)
	if err == nil || !strings.Contains(err.Error(), `ALTER TABLE "public"."b" ADD PRIMARY KEY`) {
		t.Errorf("a table without a key: %v", err)
	}
	if err := mustShape(t, Config{}).CheckKey(relation("public", "b", 'f', "x"), false); err != nil {
		t.Errorf("by default: %v", err)
	}
}

func TestMasks(t *testing.T) {
	varchar := pgoutput.Column{Name: "c", Type: filter.OIDVarchar, TypeMod: 14}
	text := pgoutput.Column{Name: "c", Type: filter.OIDText, TypeMod: -1}
	number := pgoutput.Column{Name: "c", Type: 23, TypeMod: -1}
	for _, test := range []struct {
		config      MaskConfig
		column      pgoutput.Column
		value, want string
	}{
		{MaskConfig{"c", Asterisks, 3}, text, "secret", "***"},
		{MaskConfig{"c", Asterisks, 0}, text, "secret", ""},
		// echo -n 'CzQMA0cB5Ksecret' | sha256sum, as column.mask.hash.v2.SHA-256.with.salt.CzQMA0cB5K makes it
		{MaskConfig{"c", Hash, 0}, text, "secret", "8b41ea6bee11d6298cbf86dab70bb64aabef4ff6119d9c929ace2a16123117a5"},
		{MaskConfig{"c", Hash, 0}, number, "secret", "8b41ea6bee11d6298cbf86dab70bb64aabef4ff6119d9c929ace2a16123117a5"},
		{MaskConfig{"c", Hash, 0}, varchar, "secret", "8b41ea6bee"},
	} {
		m := newMask(test.config, test.column, []byte("CzQMA0cB5K"))
		if got := string(m.Text([]byte(test.value))); got != test.want {
			t.Errorf("%+v of %s: %q, want %q", test.config, test.value, got, test.want)
		}
	}
}

// FuzzPatterns compares globs with regular expressions that mean the same.
func FuzzPatterns(f *testing.F) {
	f.Add("public.*_?", "public.orders_7")
	f.Add("a**?b", "aüb")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) || strings.Contains(pattern, `\`) {
			return
		}
		expression := regexp.QuoteMeta(pattern)
		expression = strings.NewReplacer(`\*`, "(?s:.*)", `\?`, "(?s:.)").Replace(expression)
		want := regexp.MustCompile("^(?:" + expression + ")$").MatchString(name)
		if got := Matches(pattern, name); got != want {
			t.Errorf("%q matches %q: %t", pattern, name, got)
		}
	})
}
