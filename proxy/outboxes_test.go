package proxy

import "testing"

func TestTrustedOwners(t *testing.T) {
	for answer, want := range map[string]bool{
		"7,8 t t postgres":   true,
		"7,8 f t postgres":   false, // somebody else has a note() or ready() there
		"7,8 t f ann":        true,  // the session's own role
		"7,8 t f bob":        false,
		"7,8 t f the keeper": true,
	} {
		a := &access{&database{}, "ann", []string{"x", "the keeper"}}
		if got := a.trusts(readSchema([]byte(answer))); got != want {
			t.Errorf("%s is trusted: %v", answer, got)
		}
	}
	if readSchema(nil) != nil || readSchema([]byte("t")) != nil {
		t.Error("no answer is an answer")
	}
}
