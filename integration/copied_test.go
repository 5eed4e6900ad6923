package integration

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/verdict"
)

//go:embed copied_tables.sql
var copiedTables string

// replay empties every table that is published and writes its rows again, as they were.
const replay = `
CREATE SCHEMA saved;
DO $replay$
DECLARE t record;
BEGIN
	FOR t IN SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS name, CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY ' END AS only, 'saved.' || quote_ident('t' || c.oid) AS saved,
			(SELECT coalesce(string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum), '') FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS columns
		FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p' AND n.nspname NOT IN ('pgtee', 'saved', 'mark', 'pg_catalog', 'information_schema')
	LOOP
		EXECUTE 'CREATE UNLOGGED TABLE ' || t.saved || ' AS SELECT ' || t.columns || ' FROM ' || t.only || t.name;
		EXECUTE 'TRUNCATE ' || t.only || t.name;
		IF t.columns <> '' THEN
			EXECUTE 'INSERT INTO ' || t.name || ' (' || t.columns || ') OVERRIDING SYSTEM VALUE SELECT * FROM ' || t.saved;
		END IF;
	END LOOP;
END $replay$;`

// StartSnapshot starts a publisher that copies what is there, and waits until it has.
func (r *runner) StartSnapshot(flags ...string) {
	r.t.Helper()
	r.publisher = r.process("publish", append(append(r.publishArgs(), "--snapshot", "initial"), flags...)...)
	r.AwaitSnapshots("initial")
}

// AwaitSnapshots waits until the snapshots are finished.
func (r *runner) AwaitSnapshots(ids ...string) {
	r.t.Helper()
	r.must(harness.Eventually(2*time.Minute, func(context.Context) error {
		if !r.publisher.Running() {
			r.t.Fatal("the publisher ended")
		}
		records := r.Topic("progress")
		var position struct {
			Snapshots struct {
				Finished []struct{ ID, Why string }
			}
		}
		if len(records) == 0 {
			return fmt.Errorf("no progress")
		}
		r.must(json.Unmarshal(records[len(records)-1].Value, &position))
		for _, id := range ids {
			i := slices.IndexFunc(position.Snapshots.Finished, func(f struct{ ID, Why string }) bool { return f.ID == id })
			if i < 0 {
				return fmt.Errorf("snapshot %s is not finished: %s", id, records[len(records)-1].Value)
			}
			if why := position.Snapshots.Finished[i].Why; why != "" {
				r.t.Fatalf("snapshot %s: %s", id, why)
			}
		}
		return nil
	}))
}

// copiedRow is a row in the bytes of its record.
type copiedRow struct{ key, row string }

// copiedRows returns the rows of the records of an operation, and checks that they have no row before.
func (r *runner) copiedRows(records []verdict.Record, op string) (rows []copiedRow) {
	r.t.Helper()
	for _, record := range records {
		var e struct {
			Op            string
			Before, After json.RawMessage
		}
		if record.Value == nil {
			continue
		}
		r.must(json.Unmarshal(record.Value, &e))
		if e.Op != op {
			continue
		}
		if string(e.Before) != "null" {
			r.t.Errorf("%s: a row before: %.200s", record.Topic, record.Value)
		}
		rows = append(rows, copiedRow{string(record.Key), string(e.After)})
	}
	slices.SortFunc(rows, func(a, b copiedRow) int { return strings.Compare(a.key+"\x00"+a.row, b.key+"\x00"+b.row) })
	return rows
}

// A copied row is, byte for byte, the row that the stream brings when it is written: of every type, in tables of all kinds.
func TestCopiedRowsAreThoseOfTheStream(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			if major == 18 { // the samples are of all its types
				r.Exec(typesSchema)
				conn := r.dial(r.URL())
				defer conn.Close(r.ctx)
				for _, table := range typeTables(t, r.ctx, conn) {
					r.Exec(table.create())
					for i := range table.rows() {
						r.Exec(table.insert(i))
					}
				}
			}
			r.Exec("CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)", copiedTables)
			r.Setup()
			r.StartSnapshot()
			r.Exec(replay)
			r.Drain()
			topics := r.Topics()
			for name, records := range topics {
				if !strings.Contains(name, ".") || name == "mark.mark" {
					continue
				}
				read, created := r.copiedRows(records, "r"), r.copiedRows(records, "c")
				if name == "odd.nothing" { // nothing can be written into it again
					created = []copiedRow{{"", "{}"}}
				}
				if !slices.Equal(read, created) {
					t.Errorf("%s: %d rows copied, %d written again; first difference: %s", name, len(read), len(created), firstDifference(read, created))
				}
			}
			for table, want := range copiedCounts {
				if got := len(r.copiedRows(topics[table], "r")); got != want {
					t.Errorf("%s: %d rows copied, want %d", table, got, want)
				}
			}
		})
	}
}

// copiedCounts are the rows of some of the tables.
var copiedCounts = map[string]int{
	"odd.bare": 3000, "odd.broad": 2, "odd.parts": 300, "odd.parent": 1, "odd.child": 2, "odd.keys": 60, "odd.collated": 900, "odd.listed": 12, "odd.secret": 2,
	"odd.empty": 0, "odd.unlogged": 0, "odd.parts_eu_low": 0, "odd.nothing": 1,
}

func firstDifference(a, b []copiedRow) string {
	for i := range max(len(a), len(b)) {
		var x, y copiedRow
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return fmt.Sprintf("\n%s %.2000s\n%s %.2000s", x.key, around(x.row, y.row), y.key, around(y.row, x.row))
		}
	}
	return "none"
}

// around is a text from a little before the place where another differs from it.
func around(text, other string) string {
	n := 0
	for n < min(len(text), len(other)) && text[n] == other[n] {
		n++
	}
	return string(bytes.ToValidUTF8([]byte(text[max(0, n-40):]), nil))
}

// Column lists and row filters of the publication hold for the copy as for the stream.
func TestCopiedRowsAreThePublishedOnes(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(`CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)`,
				`CREATE TABLE part (id int PRIMARY KEY, secret text, v text, twice int GENERATED ALWAYS AS (id * 2) STORED)`,
				`INSERT INTO part SELECT g, 'secret', 'v' || g FROM generate_series(1, 100) AS g`)
			r.Setup()
			for _, publication := range []string{"pgtee_rows", "pgtee_identity"} {
				r.Exec("DROP PUBLICATION "+publication, "CREATE PUBLICATION "+publication+" FOR TABLE part (id, v) WHERE (id > 40), mark.mark, pgtee.outbox_0, pgtee.outbox_1, pgtee.outbox_2")
			}
			r.Exec("ALTER PUBLICATION pgtee_rows SET (publish = 'insert, truncate')", "ALTER PUBLICATION pgtee_identity SET (publish = 'update, delete')",
				fmt.Sprintf("SELECT pg_drop_replication_slot('%s')", r.slot)) // a slot knows publications that are older only
			if out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot); code != 0 {
				t.Fatalf("setup exits with %d:\n%s", code, out)
			}
			r.StartSnapshot()
			r.Exec("CREATE TABLE saved AS SELECT id, v FROM part; TRUNCATE part; INSERT INTO part (id, secret, v) SELECT id, 'secret', v FROM saved")
			r.Drain()
			records := r.Topic("public.part")
			read, created := r.copiedRows(records, "r"), r.copiedRows(records, "c")
			if len(read) != 60 || !slices.Equal(read, created) {
				t.Errorf("%d rows copied, %d streamed, want 60; first difference: %s", len(read), len(created), firstDifference(read, created))
			}
		})
	}
}
