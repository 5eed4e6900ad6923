package parser

import (
	"strings"
	"testing"
)

// A run of + and - is one operator for each of them. Each was looked for in all of the rest, so that such a text of a
// megabyte would have taken an hour.
func TestRunsOfSigns(t *testing.T) {
	for text, want := range map[string]int{
		"SELECT " + strings.Repeat("+", 1<<20) + "1":                 1,
		"SELECT " + strings.Repeat("+-", 1<<19) + "1; SELECT 2":      2,
		"SELECT 1 <" + strings.Repeat("-+", 5) + "1; SELECT 1 *-- 1": 2,
	} {
		if list, ok := Split(nil, []byte(text), Lexis{}); !ok || len(list) != want {
			t.Errorf("%.30s…: %d statements (%t), want %d", text, len(list), ok, want)
		}
	}
}
