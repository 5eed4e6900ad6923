package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// A copy that is half done meets what a table can become.
func TestSnapshotMeetsDDL(t *testing.T) {
	const table = `CREATE TABLE a (id int PRIMARY KEY, v text, w int NOT NULL DEFAULT 0); INSERT INTO a SELECT g, repeat('v', 2000), -g FROM generate_series(1, 3000) AS g;`
	const parts = `CREATE TABLE a (id int, v text) PARTITION BY RANGE (id); CREATE TABLE a1 PARTITION OF a FOR VALUES FROM (0) TO (2000);
		CREATE TABLE a2 PARTITION OF a FOR VALUES FROM (2000) TO (4000); CREATE TABLE b (id int, v text);
		INSERT INTO a SELECT g, repeat('v', 2000) FROM generate_series(1, 2999) AS g; INSERT INTO b VALUES (3000, 'b');`
	for _, c := range []struct {
		name   string
		major  int
		schema string
		change string
		topics []string // that have the rows
		want   int
	}{
		{"rename", 15, table, "ALTER TABLE a RENAME TO c", []string{"a", "c"}, 3000},
		{"truncate", 18, table, "TRUNCATE a; INSERT INTO a SELECT g FROM generate_series(4001, 4010) AS g", []string{"a"}, 10},
		{"rewrite", 15, table, "ALTER TABLE a ALTER id TYPE bigint; VACUUM FULL a", []string{"a"}, 3000},
		{"another key", 18, table, "ALTER TABLE a DROP CONSTRAINT a_pkey, ADD PRIMARY KEY (w)", []string{"a"}, 3000},
		{"detach a partition", 15, parts, "ALTER TABLE a DETACH PARTITION a2", []string{"a", "a2", "b"}, 3000},
		{"attach a partition", 18, parts, "CREATE TABLE a3 (LIKE a); INSERT INTO a3 VALUES (5000); ALTER TABLE a ATTACH PARTITION a3 FOR VALUES FROM (4000) TO (6000)", []string{"a", "a3", "b"}, 3001},
		{"attach one that is to come", 15, parts, "ALTER TABLE a DETACH PARTITION a2; ALTER TABLE a ATTACH PARTITION b FOR VALUES FROM (2000) TO (4000)", []string{"a", "a2"}, 3000},
		{"drop", 18, table, "DROP TABLE a", []string{"b"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[c.major]), "table")
			r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)", c.schema)
			r.Setup()
			r.publisher = r.process("publish", append(r.publishArgs(), "--snapshot-rows-per-second", "500")...)
			r.Exec(`INSERT INTO pgtee.signal VALUES ('c', 'execute-snapshot', '{"data-collections": ["public.a", "public.b"]}')`)
			if c.schema == table {
				r.Exec("CREATE TABLE b ()") // asked for before it was there
			}
			r.must(harness.Eventually(time.Minute, func(context.Context) error {
				if n := len(r.Topic("public.a")); n == 0 || n > 1500 {
					return fmt.Errorf("%d rows are copied", n)
				}
				return nil
			}))
			r.Exec("SELECT pgtee.snapshot_pause('c')")
			r.Drain()
			r.Exec(strings.Split(c.change, "; ")...)
			r.Exec("SELECT pgtee.snapshot_resume()")
			r.AwaitSnapshots("c")
			ids := map[any]bool{}
			for _, topic := range c.topics {
				for _, e := range r.Events("public." + topic) {
					if e.Op == "t" {
						clear(ids)
					} else if e.After != nil {
						ids[fmt.Sprint(e.After["id"])] = true
					}
				}
			}
			if len(ids) != c.want {
				t.Errorf("%d rows in %s, want %d", len(ids), slices.Sorted(slices.Values(c.topics)), c.want)
			}
		})
	}
}
