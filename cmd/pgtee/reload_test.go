package main

import (
	"slices"
	"strings"
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

// The values of flags are texts that stay the same when the same flags are read again.
func TestTextsOfFlags(t *testing.T) {
	args := []string{"run", "--postgres", "postgres://u@h/x", "--kafka", "h:1", "--otlp-endpoint", "http://c:4318", "--max-retained-wal", "20GB:warn"}
	_, first, err := parseFlags(args, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	_, second, err := parseFlags(args, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range first {
		if second[name] != value || strings.HasPrefix(value.text, "0x") || strings.HasPrefix(value.text, "{") || value.text == "<nil>" {
			t.Errorf("--%s is shown as %s", name, value.text)
		}
	}
	if first["otlp-endpoint"].text != "http://c:4318" || first["max-retained-wal"].text != "20GB:warn" {
		t.Errorf("%v, %v", first["otlp-endpoint"], first["max-retained-wal"])
	}
}
