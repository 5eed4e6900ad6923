package filter

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox/pgoutput"
)

// conditionTable has columns of built-in types, and of types that users made: an enum, and what the text of composite types is.
var conditionTable = &pgoutput.Relation{Schema: "public", Name: "t", Columns: []pgoutput.Column{
	{Name: "id", Type: 23}, {Name: "Total", Type: 1700}, {Name: "paid", Type: 16}, {Name: "region", Type: OIDText}, {Name: `a"b`, Type: OIDVarchar},
	{Name: "current_user", Type: OIDBPChar}, {Name: "at", Type: 1184}, {Name: "f", Type: 701}, {Name: "u", Type: 2950},
	{Name: "own", Type: 16400, TypeSchema: "public", TypeName: "comp"}, {Name: "dom", Type: 16401, TypeSchema: "pg_catalog", TypeName: "text"},
}}

func TestConditionSQL(t *testing.T) {
	for text, want := range map[string]string{
		"id>5": `("id" > 5)`,
		`Region = 'eu' and ("Total" >= -1.5e3 or not paid)`: `("region" COLLATE pg_catalog."C" = E'eu' and ( "Total" >= -1.5e3 or not "paid" ))`,
		`region IN ('x', 'o''k') AND id IS NOT NULL`:        `("region" COLLATE pg_catalog."C" in ( E'x' , E'o''k' ) and "id" is not null)`,
		`region LIKE 'C:\\%'`:                               `("region" COLLATE pg_catalog."C" like E'C:\\\\%')`,
		`region = '\'`:                                      `("region" COLLATE pg_catalog."C" = E'\\')`,
		`current_user = 'x'`:                                `("current_user" COLLATE pg_catalog."C" = E'x')`,
		`"a""b" <> '"'`:                                     `("a""b" COLLATE pg_catalog."C" <> E'"')`,
		`paid = TRUE`:                                       `("paid" = true)`,
		`own LIKE 'x'`:                                      "", // a cast of its own may lead to text
		`id > 5 AND own = 'x'`:                              "",
		`dom = 'x'`:                                         "", // a check may run
		`f = 0.1`:                                           "", // PostgreSQL compares other digits than it prints
		`u = '5f3e8f4c-0000-0000-0000-000000000001'`:        "",
	} {
		if got, err := (Condition{text}).SQL(conditionTable); got != want || err != nil {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
	}
	if got, err := (Condition{"id > 5", "own = 'x'", "paid"}).SQL(conditionTable); got != `("id" > 5) AND ("paid")` || err != nil {
		t.Errorf("several: %s (%v)", got, err)
	}
}

func TestConditionsCallNothing(t *testing.T) {
	for _, text := range []string{"", "pg_sleep(1) IS NULL", "id = (SELECT 1)", "id = 1; DROP TABLE t", "id = 1 -- x", "id::text = '1'", "region = E'x'", "region = $$x$$",
		"region = 'x", `"id = 1`, "id OPERATOR(pg_catalog.=) 1", "id = paid", "id = lo_export(1, '/x')", "id /* */ = 1", "gone = 1"} {
		if got, err := (Condition{text}).SQL(conditionTable); err == nil {
			t.Errorf("%s becomes %s", text, got)
		}
	}
}

// Outside of quotes there are but keywords, numbers, operators and the collation, whatever the text was.
func FuzzConditionSQL(f *testing.F) {
	f.Add(`Region = 'eu\' and ("To""tal" >= -1.5e3 or not paid)`)
	quoted := regexp.MustCompile(`(?s)^(?:E'(?:[^'\\]|\\\\|'')*'|"(?:[^"]|"")*")`)
	bare := regexp.MustCompile(`^(?:collate pg_catalog."c"|and|or|not|in|like|is|null|true|false|[-+.0-9e]+|[<>=!]+|[(),])(?: |\)|$)`)
	f.Fuzz(func(t *testing.T, text string) {
		sql, err := (Condition{text}).SQL(conditionTable)
		for rest := sql; err == nil && rest != ""; rest = strings.TrimPrefix(rest, " ") {
			part := quoted.FindString(rest)
			if part == "" {
				part = bare.FindString(strings.ToLower(rest))
			}
			if part == "" {
				t.Fatalf("%q becomes %q, with %q", text, sql, rest)
			}
			rest = rest[len(part):]
		}
	})
}
