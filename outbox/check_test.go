package outbox

import "testing"

func TestIncludesStandby(t *testing.T) {
	for names, want := range map[string]bool{
		"": false, "*": true, "pgtee": true, "PgTee": true, `"pgtee"`: true, "s1, pgtee": true, "s1, s2": false, "pgtee2": false,
		"FIRST 1 (s1, *)": true, "ANY 2 (s1, s2)": false, "2(s1,pgtee)": true, "any 1 ( * )": true,
	} {
		if got := includesStandby(names, publisherName); got != want {
			t.Errorf("%q: %t", names, got)
		}
	}
}
