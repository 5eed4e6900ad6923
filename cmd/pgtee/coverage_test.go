package main

import (
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/pgtee/pgtee/outbox"
)

// TestExcludedTables: what is not published at all is not reported as published in part.
func TestExcludedTables(t *testing.T) {
	t.Parallel()
	c := newChain(t, nil)
	url := c.postgres.URL("postgres")
	if got := pgtee(t, "setup", "--postgres", url); got.code != exitOK {
		t.Fatalf("setup: %+v", got)
	}
	c.exec(url, `CREATE TABLE log_raw (id int); CREATE TABLE "Parted" (id int) PARTITION BY RANGE (id); CREATE TABLE leaf PARTITION OF "Parted" DEFAULT`)
	for _, flags := range [][]string{nil, {"--exclude-tables", "public.log_raw"}, {"--exclude-tables", "public.log_raw", "--exclude-tables", "public.Parted"}} {
		var selection selectionFlags
		for _, flag := range flags {
			if flag != "--exclude-tables" {
				selection.ExcludeTables = append(selection.ExcludeTables, flag)
			}
		}
		want := 2 - len(selection.ExcludeTables)
		check := pgtee(t, append([]string{"check", "--postgres", url}, flags...)...)
		if got := strings.Count(check.stdout, "[table-uncaptured]"); got != want {
			t.Errorf("%v: check reports %d tables, want %d: %s", flags, got, want, check.stdout)
		}
		status := pgtee(t, append([]string{"status", "--postgres", url, "--kafka", c.broker.Address()}, flags...)...)
		if got := strings.Count(status.stdout, "it has no primary key"); got != want {
			t.Errorf("%v: status reports %d tables, want %d: %s", flags, got, want, status.stdout)
		}
		selected, err := selection.selection(source{connString: url, database: "postgres"})
		if err != nil {
			t.Fatal(err)
		}
		coverage := &coverage{Coverage: outbox.Coverage{ConnString: url, Selection: selected}, database: "postgres", log: zap.NewNop()}
		if err := coverage.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		coverage.Close(t.Context())
		if got := int(coverage.tables.Load()); got != want {
			t.Errorf("%v: the metric counts %d tables, want %d", flags, got, want)
		}
	}
}
