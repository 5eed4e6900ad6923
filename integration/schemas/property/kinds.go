package property

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// kind is a column type.
type kind struct {
	name   string // in SQL; %s is the number of the table, for types that each table has for itself
	create string // SQL that creates such a type
	value  func(*rand.Rand) string
	text   string // SQL expression for what a reader of the topic should see of a column %s; "": its JSON form
	wider  *kind  // type to which ALTER TABLE changes it
	using  string // USING expression for that; "": a cast
}

// sql returns the type's name in a table.
func (k *kind) sql(table int) string { return strings.ReplaceAll(k.name, "%s", fmt.Sprint(table)) }

// seen returns the expression for what a reader should see.
func (k *kind) seen(column string) string {
	if k.text == "" {
		return "to_json(" + column + ") #>> '{}'"
	}
	return strings.ReplaceAll(k.text, "%s", column)
}

func one(values ...string) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return values[r.IntN(len(values))] }
}

func number(low, high int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return fmt.Sprint(low + r.IntN(high-low)) }
}

var (
	kindInt8      = &kind{name: "bigint", value: number(-1e12, 1e12)}
	kindInt4      = &kind{name: "int", value: number(-1e9, 1e9), wider: kindInt8}
	kindText      = &kind{name: "text", value: one("'a'", "''", "'two words'", "'é'", `'quote '' and \ and "'`, "'ünïcödé'", "'line\nfeed'", "'{}'")}
	kindVarchar   = &kind{name: "varchar(40)", value: kindText.value, wider: kindText}
	kindJSON      = &kind{name: "jsonb", value: one(`'{"a": 1}'`, `'[1, "é", null]'`, `'"text"'`, `'{"b": {"c": [true]}}'`), text: "%s::text"}
	kindTexts     = &kind{name: "text[]", value: one(`'{a,b}'`, `'{}'`, `'{"x y",NULL,é}'`), text: "to_json(%s)::text"}
	kindDomain    = &kind{name: "domain%s", create: "CREATE DOMAIN domain%s AS int", value: number(-1000, 1000), wider: kindInt4}
	kindWord      = &kind{name: "word%s", create: "CREATE DOMAIN word%s AS text", value: kindText.value, wider: kindText}
	kindMood      = &kind{name: "mood%s", create: "CREATE TYPE mood%s AS ENUM ('sad', 'ok', 'éclat')", value: one("'sad'", "'ok'", "'éclat'"), wider: kindText, using: "%s::text"}
	kindMoods     = &kind{name: "moods%s[]", create: "CREATE TYPE moods%s AS ENUM ('up', 'down')", value: one("'{up}'", "'{up,down}'", "'{}'"), text: "to_json(%s)::text", wider: kindTexts, using: "%s::text[]"}
	kindHstore    = &kind{name: "public.hstore", value: one("'a=>1'", "'b=>NULL, c=>é'"), text: "public.hstore_to_json(%s)::text", wider: kindJSON, using: "public.hstore_to_jsonb(%s)"}
	kindComposite = &kind{name: "pair%s", create: "CREATE TYPE pair%s AS (a int, b text)", value: one("ROW(1, 'é')", "ROW(2, NULL)"), text: "%s::text"}
	kindToast     = &kind{name: "text", value: func(r *rand.Rand) string { return fmt.Sprintf("repeat('%x', 500)", r.Uint32()) }}
)

var kinds = []*kind{
	kindInt8, kindInt4, kindText, kindVarchar, kindJSON, kindTexts, kindDomain, kindWord, kindMood, kindMoods, kindHstore, kindComposite, kindToast, kindToast,
	{name: "smallint", value: number(-30000, 30000), wider: kindInt4},
	{name: "boolean", value: one("true", "false")},
	{name: "numeric(12,3)", value: one("1.5", "-0.001", "123456789.125")},
	{name: "numeric", value: one("1.5", "12345678901234567890.25", "-3")},
	{name: "double precision", value: one("1.5", "-0.25", "1e100")},
	{name: "uuid", value: one("'8c1d9f2e-0f6b-4b1e-9d52-0d2f5a3c7e11'", "'00000000-0000-0000-0000-000000000001'")},
	{name: "date", value: one("'2024-02-29'", "'1969-12-31'"), text: "(%s - DATE '1970-01-01')::text"},
	{name: "timestamp", value: one("'2024-02-29 12:00:00.123456'", "'1969-12-31 23:59:59'"), text: "((extract(epoch FROM %s) * 1000000)::bigint)::text"},
	{name: "timestamptz", value: one("'2024-02-29 12:00:00.5+02'", "'2001-01-01 00:00:00+00'"), text: `to_char(%s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`},
	{name: "bytea", value: one(`'\x00ff10'`, `'\x'`), text: `translate(encode(%s, 'base64'), E'\n', '')`},
	{name: "int[]", value: one("'{1,2}'", "'{}'", "'{NULL,3}'"), text: "to_json(%s)::text"},
	{name: "inet", value: one("'10.0.0.1'", "'10.0.0.0/8'")},
	{name: "int4range", value: one("'[1,5)'", "'empty'")},
	{name: `"char"`, value: one("'a'", "'\"'")},
}
