package publisher

import (
	"regexp"
	"strings"
	"testing"
)

func TestConditionSQL(t *testing.T) {
	for text, want := range map[string]string{
		"id>5": `"id" > 5`,
		`Region = 'eu' and ("Total" >= -1.5e3 or not paid)`: `"region" = E'eu' and ( "Total" >= -1.5e3 or not "paid" )`,
		`a IN ('x', 'o''k') AND b IS NOT NULL`:              `"a" in ( E'x' , E'o''k' ) and "b" is not null`,
		`path LIKE 'C:\\%'`:                                 `"path" like E'C:\\\\%'`,
		`note = '\'`:                                        `"note" = E'\\'`,
		`current_user = 'x'`:                                `"current_user" = E'x'`,
		`"a""b" <> '"'`:                                     `"a""b" <> E'"'`,
		`done = TRUE`:                                       `"done" = true`,
	} {
		if got, err := ConditionSQL(text); got != want || err != nil {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
	}
}

func TestConditionsCallNothing(t *testing.T) {
	for _, text := range []string{"", "pg_sleep(1) IS NULL", "id = (SELECT 1)", "id = 1; DROP TABLE t", "id = 1 -- x", "id::text = '1'", "a = E'x'", "a = $$x$$",
		"a = 'x", `"a = 1`, "a OPERATOR(pg_catalog.=) 1", "a = b", "a = lo_export(1, '/x')", "a /* */ = 1"} {
		if got, err := ConditionSQL(text); err == nil {
			t.Errorf("%s becomes %s", text, got)
		}
	}
}

// Outside of quotes there are but keywords, numbers and operators, whatever the text was.
func FuzzConditionSQL(f *testing.F) {
	f.Add(`Region = 'eu\' and ("To""tal" >= -1.5e3 or not paid)`)
	quoted := regexp.MustCompile(`(?s)^(?:E'(?:[^'\\]|\\\\|'')*'|"(?:[^"]|"")*")`)
	bare := regexp.MustCompile(`^(?:and|or|not|in|like|is|null|true|false|[-+.0-9e]+|[<>=!]+|[(),])(?: |$)`)
	f.Fuzz(func(t *testing.T, text string) {
		sql, err := ConditionSQL(text)
		for rest := sql; err == nil && rest != ""; rest = strings.TrimPrefix(rest, " ") {
			part := quoted.FindString(rest) + bare.FindString(strings.ToLower(rest))
			if part == "" {
				t.Fatalf("%q becomes %q, with %q", text, sql, rest)
			}
			rest = rest[len(part):]
		}
	})
}
