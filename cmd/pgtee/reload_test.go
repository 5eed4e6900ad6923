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
		r := reloadable{values: map[string]string{"listen": "a", "log-level": "info", "max-logins": "1", "sql-text": "full"}}
		changed, restart := r.compare(map[string]string{"listen": "b", "log-level": "info", "max-logins": "2", "sql-text": "normalised"}, publishes)
		if !slices.Equal(changed, want[0]) || !slices.Equal(restart, want[1]) {
			t.Errorf("beside a publisher %v: changed %v, needs a restart %v", publishes, changed, restart)
		}
	}
}
