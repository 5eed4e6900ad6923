package main

import (
	"slices"
	"testing"
)

// What is in force now and what is not is told apart: a publisher keeps its SQL text.
func TestCompare(t *testing.T) {
	for publishes, want := range map[bool][2][]string{
		false: {{"max-logins", "sql-text"}, {"listen"}},
		true:  {{"max-logins"}, {"listen", "sql-text"}},
	} {
		r := reloadable{values: map[string]flagValue{"listen": {"a", false}, "log-level": {"info", true}, "max-logins": {"1", true}, "sql-text": {"full", true}}}
		changed, restart := r.compare(map[string]flagValue{"listen": {"b", false}, "log-level": {"info", true}, "max-logins": {"2", true}, "sql-text": {"normalised", true}}, publishes)
		if !slices.Equal(changed, want[0]) || !slices.Equal(restart, want[1]) {
			t.Errorf("beside a publisher %v: changed %v, needs a restart %v", publishes, changed, restart)
		}
	}
}
