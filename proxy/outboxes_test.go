package proxy

import (
	"fmt"
	"testing"
)

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

func TestDatabasesWithoutSessionsAreForgotten(t *testing.T) {
	var o outboxes
	used := o.move(o.last("server", "used"), "server", "used", "base/1")
	for i := range 3 * maxKnown {
		o.leave(o.last("server", fmt.Sprint("made ", i)))
	}
	if len(o.byName) > maxKnown || o.last("server", "used") != used {
		t.Errorf("%d databases are known, and the one with a session is known: %t", len(o.byName), o.byName["server\x00used"] == used)
	}
}
