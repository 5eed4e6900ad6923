package integration

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

var (
	manyTables     = flag.Int("many-tables", 200, "tables with rows in one run")
	manySavepoints = flag.Int("many-savepoints", 2000, "savepoints of one transaction")
)

// Rows of many tables in one run, and a transaction of many subtransactions, half of them rolled back.
func TestManyTablesAndSavepoints(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.ctx = t.Context()
	var schema strings.Builder
	for i := range *manyTables {
		fmt.Fprintf(&schema, "CREATE TABLE many.t%d (id int PRIMARY KEY);\n", i)
	}
	r.Exec("CREATE SCHEMA many; CREATE TABLE many.points (id int PRIMARY KEY)")
	for batch := range strings.SplitSeq(strings.TrimSpace(schema.String()), ";\n") {
		r.Exec(batch)
	}
	r.Start("CREATE TABLE public.unused (id int PRIMARY KEY);")
	began := time.Now()
	r.Exec(fmt.Sprintf("DO $$ BEGIN FOR i IN 0..%d LOOP EXECUTE format('INSERT INTO many.t%%s VALUES (1), (2)', i); END LOOP; END $$", *manyTables-1))
	r.awaitTables(*manyTables)
	tables := time.Since(began)
	conn := r.dial(r.ProxyURL("postgres", "points"))
	defer conn.Close(r.ctx)
	began = time.Now()
	r.must(r.savepoints(func(sql string) error { _, err := conn.Exec(r.ctx, sql); return err }))
	wrote := time.Since(began)
	r.Drain()
	t.Logf("many tables=%d in %v, savepoints=%d in %v, published after %v", *manyTables, tables.Round(time.Millisecond), *manySavepoints, wrote.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	if got, want := len(r.Topic("many.points")), *manySavepoints/2; got != want {
		t.Errorf("%d rows of the transaction with savepoints, want %d", got, want)
	}
	r.Stop(r.publisher)
	t.Logf("many rss_mb=%d", r.publisher.PeakRSS()>>20)
	if rss := r.publisher.PeakRSS(); rss > giantMemoryBytes {
		t.Errorf("the publisher took %d MiB of memory", rss>>20)
	}
}

// awaitTables waits for the audit record of a transaction with that many tables.
func (r *runner) awaitTables(n int) {
	r.t.Helper()
	r.must(harness.Eventually(5*time.Minute, func(context.Context) error {
		for _, record := range r.Topic("audit") {
			var audit struct {
				Tables  []any `json:"tables"`
				Omitted int   `json:"tables_omitted"`
			}
			r.must(json.Unmarshal(record.Value, &audit))
			if len(audit.Tables)+audit.Omitted == n {
				return nil
			}
		}
		return fmt.Errorf("no audit record of a transaction with %d tables", n)
	}))
}

// savepoints writes a transaction whose every second row is rolled back.
func (r *runner) savepoints(exec func(sql string) error) error {
	if err := exec("BEGIN"); err != nil {
		return err
	}
	for i := range *manySavepoints {
		end := "RELEASE"
		if i%2 == 1 {
			end = "ROLLBACK TO"
		}
		if err := exec(fmt.Sprintf("SAVEPOINT s; INSERT INTO many.points VALUES (%d); %s s", i, end)); err != nil {
			return err
		}
	}
	return exec("COMMIT")
}
