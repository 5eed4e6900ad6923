package doctor

import (
	"strings"
	"testing"
	"unicode"
)

// The name of a table, which any login may choose, neither controls a terminal nor adds a line.
func TestNamesAreOneLine(t *testing.T) {
	evil := "x\x1b[2J\x1b[HOK: shop is published\x1b[8m\nall is well"
	for _, form := range []string{"text", "nagios"} {
		r := &Report{Findings: []Finding{{ID: "table-uncaptured", Severity: "warning", Place: evil, Text: evil, Repair: "ALTER TABLE " + evil}}}
		var out strings.Builder
		if err := r.Write(&out, form); err != nil {
			t.Fatal(err)
		}
		for _, c := range out.String() {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Errorf("%s: control character %U", form, c)
			}
		}
		if strings.Contains(out.String(), "\nall is well") {
			t.Errorf("%s: a name begins a line", form)
		}
	}
}
