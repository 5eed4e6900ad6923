package integration

import (
	"slices"
	"strings"
	"testing"
)

// pg_upgrade gives the server another system identifier, and keeps the slot from PostgreSQL 17 on. What was written before setup has run again
// is in the stream all the same, or setup says what is not. meta says here what it says then.
func TestUpgradedServer(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Start("CREATE TABLE old (id int PRIMARY KEY, v int);")
	r.Exec("INSERT INTO old VALUES (1, 0)")
	r.Drain()
	r.Kill(r.publisher)
	r.Exec("UPDATE pgtee.meta SET system_identifier = 1", "CREATE TABLE n (id int PRIMARY KEY, v int)", "INSERT INTO n VALUES (1, 0)", "UPDATE n SET v = 1", "DELETE FROM n", "UPDATE old SET v = 1")
	out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot)
	if code != 0 {
		t.Fatalf("setup exits with %d:\n%s", code, out)
	}
	t.Log(out)
	r.StartPublisher()
	r.Drain()
	for table, want := range map[string]string{"public.old": "c u", "public.n": "c u d"} {
		var ops []string
		for _, e := range r.Events(table) {
			if !e.Tombstone {
				ops = append(ops, e.Op)
			}
		}
		if got := strings.Join(ops, " "); got != want && !slices.Contains(ops, "t") {
			t.Errorf("%s: %s, want %s", table, got, want)
		}
	}
}
