package proxy

import "testing"

func TestTrustedOwners(t *testing.T) {
	for answer, want := range map[string]bool{
		"7,8 t t t t postgres":   true,
		"7,8 f t t t postgres":   false, // somebody else has a note() or ready() there
		"7,8 t t t f ann":        true,  // the session's own role
		"7,8 t t t f bob":        false,
		"7,8 t t t f the keeper": true,
	} {
		a := &access{&database{}, "ann", []string{"x", "the keeper"}, "", false}
		if found, _ := readSchema([]byte(answer)); a.trusts(found) != want {
			t.Errorf("%s is trusted: %v", answer, !want)
		}
	}
	for _, answer := range []string{"", "7,8 t t"} {
		if found, _ := readSchema([]byte(answer)); found != nil {
			t.Errorf("%q is an answer", answer)
		}
	}
}
