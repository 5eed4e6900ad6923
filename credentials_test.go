package pgtee

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCredentialNames holds the two patterns in SQL equal to the names of package parser: the publisher and the server hide the same values.
func TestCredentialNames(t *testing.T) {
	find := func(file, pattern string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s does not contain %s", file, pattern)
		}
		return string(found[1])
	}
	names := func(list, separator string) []string {
		list = strings.NewReplacer("api_?key", "apikey"+separator+"api_key", "private.key", "private_key").Replace(strings.ToLower(list))
		parts := strings.Split(list, separator)
		slices.Sort(parts)
		return parts
	}
	want := names(find("parser/secret.go", `secretNames = \[\]string\{"(.*)"\}`), `", "`)
	for file, got := range map[string][]string{
		"outbox/sql/redact.sql": names(find("outbox/sql/redact.sql", `concat_ws\('\|', '(passw.*?jwt)'`), "', '"),
		"outbox/sql/ddl.sql":    names(find("outbox/sql/ddl.sql", `attname ~\* '(.*?)'`), "|"),
	} {
		if !slices.Equal(got, want) {
			t.Errorf("%s knows %v, package parser %v", file, got, want)
		}
	}
}
