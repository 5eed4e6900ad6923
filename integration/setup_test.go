package integration

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/outbox"
)

// Setup may be run again at any time, teardown leaves nothing, and neither shows in the DDL records.
func TestSetupAndTeardown(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			const objects = `SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'pgtee') || ' ' ||
				(SELECT count(*) FROM pg_publication) || ' ' || (SELECT count(*) FROM pg_event_trigger) || ' ' ||
				(SELECT count(*) FROM pg_replication_slots WHERE database = current_database())`
			r.Setup()
			r.Setup()
			if got := r.Query(objects); got != "1 33 3 1" {
				t.Errorf("schemas, publications, event triggers, slots: %s, want 1 33 3 1", got)
			}
			if got := r.Query("SELECT count(*)::text FROM pgtee.outbox"); got != "0" {
				t.Errorf("setup left %s records in the outbox", got)
			}
			if out, code := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); code != 0 {
				t.Errorf("check exits with %d:\n%s", code, out)
			}
			r.Exec("CREATE TABLE empty (id int PRIMARY KEY)", "CREATE TABLE written (id int PRIMARY KEY); INSERT INTO written VALUES (1)")
			if got := r.Query("SELECT coalesce(string_agg(name || ' ' || state, ', '), '') FROM pgtee.sweep(ARRAY['empty', 'written']::regclass[]::oid[])"); got != "public.written listed" {
				t.Errorf("after a sweep: %s", got)
			}
			r.Exec("CREATE TABLE lost (id int PRIMARY KEY); ALTER TABLE lost DROP CONSTRAINT lost_pkey", "CREATE TABLE full_before (id int); ALTER TABLE full_before REPLICA IDENTITY FULL")
			r.Exec("CREATE PUBLICATION everything FOR TABLE empty")
			open := r.session("BEGIN; ALTER TABLE empty ADD x int") // teardown does not wait for it
			if out, code := r.Pgtee("teardown", "--postgres", r.URL(), "--slot", r.slot); code != 0 {
				t.Fatalf("teardown exits with %d:\n%s", code, out)
			}
			r.in(open, "ROLLBACK")
			r.Exec("DROP PUBLICATION everything")
			if got := r.Query(objects); got != "0 0 0 0" {
				t.Errorf("after teardown: %s, want nothing", got)
			}
			if got := r.Query("SELECT string_agg(relname || ' ' || relreplident::text, ', ' ORDER BY relname) FROM pg_class WHERE relname IN ('lost', 'full_before')"); got != "full_before f, lost d" {
				t.Errorf("replica identities after teardown: %s", got)
			}
		})
	}
}

// A table without a replica identity must not be in pgtee_identity, or its next UPDATE would fail: not
// a new one; one that has just lost its key has REPLICA IDENTITY FULL instead.
func TestUpdateNeverFailsForWantOfAnIdentity(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec("CREATE TABLE old (id int PRIMARY KEY, v int)", "CREATE TABLE bare (id int)",
				"CREATE TABLE unkeyed_gone (id int NOT NULL UNIQUE)", "ALTER TABLE unkeyed_gone REPLICA IDENTITY USING INDEX unkeyed_gone_id_key",
				"ALTER TABLE unkeyed_gone DROP CONSTRAINT unkeyed_gone_id_key", "CREATE TABLE keyed_gone (id int PRIMARY KEY, v int NOT NULL UNIQUE)",
				"ALTER TABLE keyed_gone REPLICA IDENTITY USING INDEX keyed_gone_v_key", "ALTER TABLE keyed_gone DROP CONSTRAINT keyed_gone_v_key")
			r.Setup()
			r.Exec(
				"CREATE TABLE keyed (id int PRIMARY KEY, v int)",
				"CREATE TABLE lost (id int PRIMARY KEY, v int)", "ALTER TABLE lost DROP CONSTRAINT lost_pkey",
				"CREATE TABLE late (id int, v int)", "ALTER TABLE late ADD PRIMARY KEY (id) DEFERRABLE",
				"CREATE TABLE indexed (id int NOT NULL, v int)", "CREATE UNIQUE INDEX indexed_id ON indexed (id)",
				"ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_id", "DROP INDEX indexed_id",
				"CREATE TABLE parts (id int, v int) PARTITION BY RANGE (id)", "CREATE TABLE part PARTITION OF parts DEFAULT", "ALTER TABLE parts REPLICA IDENTITY FULL",
				"CREATE TABLE leafed (id int, v int) PARTITION BY RANGE (id)", "CREATE TABLE leaf PARTITION OF leafed DEFAULT", "ALTER TABLE leaf REPLICA IDENTITY FULL",
				"SET session_replication_role = replica; CREATE TABLE silent (id int PRIMARY KEY, v int)",
			)
			const listed = `SELECT string_agg(r.prrelid::regclass::text, ' ' ORDER BY r.prrelid::regclass::text)
				FROM pg_publication_rel AS r JOIN pg_publication AS p ON p.oid = r.prpubid WHERE p.pubname ~ '^pgtee_identity'`
			if got, want := r.Query(listed), "indexed keyed leaf lost old silent"; got != want {
				t.Errorf("in pgtee_identity: %s, want %s", got, want)
			}
			for _, table := range []string{"old", "bare", "keyed", "lost", "late", "indexed", "parts", "leafed", "silent"} {
				r.Exec("INSERT INTO "+table+" VALUES (1)", "UPDATE "+table+" SET id = 2", "DELETE FROM "+table)
			}
			r.Exec("CREATE TABLE nothing (id int)", `CREATE TABLE "Nothing Keyed" (id int PRIMARY KEY)`, "CREATE TABLE nothing_late (id int PRIMARY KEY DEFERRABLE)",
				"ALTER TABLE nothing REPLICA IDENTITY NOTHING", `ALTER TABLE "Nothing Keyed" REPLICA IDENTITY NOTHING`, "ALTER TABLE nothing_late REPLICA IDENTITY NOTHING",
				"CREATE TABLE made (v int, id int GENERATED ALWAYS AS (v) STORED PRIMARY KEY)", "CREATE TABLE unlogged (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
				"CREATE UNLOGGED TABLE unlogged_part PARTITION OF unlogged DEFAULT",
				`CREATE TABLE two (b int NOT NULL, "A" int NOT NULL, UNIQUE (b, "A") INCLUDE (id), id int PRIMARY KEY)`, `ALTER TABLE two REPLICA IDENTITY USING INDEX "two_b_A_id_key"`)
			if major == 18 {
				r.Exec("CREATE TABLE virtual (id int, v int GENERATED ALWAYS AS (id) VIRTUAL)", "ALTER TABLE virtual REPLICA IDENTITY FULL",
					"CREATE TABLE virtual_keyed (id int PRIMARY KEY, v int GENERATED ALWAYS AS (id) VIRTUAL)", "ALTER TABLE virtual_keyed REPLICA IDENTITY FULL")
			} else {
				r.Exec("CREATE UNLOGGED TABLE unlogged_root (id int PRIMARY KEY) PARTITION BY RANGE (id)")
			}
			r.expectIdentities(map[string]string{"old": "primary key: id", "bare": "primary key: ", "Nothing Keyed": "nothing: id", "indexed": "full: ", "two": `index: b, "A"`, "parts": "full: ", "made": "primary key: id"})
			r.tryRepairs(11)
		})
	}
}

// expectIdentities compares replica identities and keys, as the console shows them, of some tables.
func (r *runner) expectIdentities(want map[string]string) {
	r.t.Helper()
	for _, t := range must(r.t, func() ([]outbox.Table, error) { return outbox.Tables(r.ctx, r.URL()) }) {
		if got := t.Identity + ": " + t.Key; want[t.Name] != "" && got != want[t.Name] {
			r.t.Errorf("table %s: %s, want %s", t.Name, got, want[t.Name])
		}
		delete(want, t.Name)
	}
	if len(want) > 0 {
		r.t.Errorf("not listed: %v", want)
	}
}

// tryRepairs tries each repair of the tables that check calls uncaptured, word for word.
func (r *runner) tryRepairs(want int) {
	r.t.Helper()
	report := must(r.t, func() (outbox.Report, error) {
		return outbox.Check(r.ctx, outbox.SetupConfig{ConnString: r.URL(), Slot: r.slot})
	})
	conn := r.dial(r.URL())
	defer conn.Close(r.ctx)
	tables := 0
	for _, f := range report.Findings {
		if f.ID != "table-uncaptured" {
			continue
		}
		tables++
		if strings.HasPrefix(f.Repair, "create it again") {
			continue
		}
		for _, sql := range strings.Split(f.Repair, ", or ") {
			sql, _, _ = strings.Cut(sql, ", with which ")
			table := regexp.MustCompile(`^ALTER TABLE ((?:"[^"]*"|[^ "])+) `).FindStringSubmatch(sql)
			if table == nil {
				r.t.Errorf("%s: %q is not a command", f.Text, sql)
				continue
			}
			var reason string
			err := runSQL(r, conn, "BEGIN; "+strings.ReplaceAll(sql, "(...)", "(id)"))
			if err == nil {
				err = conn.QueryRow(r.ctx, "SELECT coalesce(t.reason, '') FROM pgtee.tables(ARRAY[$1::text::regclass::oid]) AS t", table[1]).Scan(&reason)
			}
			if err != nil || reason != "" {
				r.t.Errorf("%s: after %q: %q, error %v", f.Text, sql, reason, err)
			}
			r.must(runSQL(r, conn, "ROLLBACK"))
		}
	}
	if tables != want {
		r.t.Errorf("%d tables are uncaptured, want %d: %v", tables, want, report.Findings)
	}
}

// Creating a slot waits for every transaction that is open: setup names it and gives up.
func TestSetupNamesWhatBlocksTheSlot(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Exec("CREATE TABLE held (id int)")
	conn := r.dial(r.URL())
	for _, sql := range []string{"BEGIN", "INSERT INTO held VALUES (1)", "PREPARE TRANSACTION 'forgotten'"} {
		_, err := conn.Exec(r.ctx, sql, pgx.QueryExecModeSimpleProtocol)
		r.must(err)
	}
	r.must(conn.Close(r.ctx))
	out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot, "--slot-timeout", "2s")
	if code == 0 || !strings.Contains(out, "prepared transaction 'forgotten'") || !strings.Contains(out, "ROLLBACK PREPARED") {
		t.Errorf("setup exits with %d:\n%s", code, out)
	}
	r.Exec("ROLLBACK PREPARED 'forgotten'")
	r.Setup()
}

// Check waits for no client's DDL, and finds each way in which others replicate the tables of schema pgtee.
func TestCheckWaitsForNobody(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.Exec("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)", "CREATE TABLE p_all PARTITION OF p DEFAULT", "CREATE PUBLICATION mine FOR TABLE t, p")
			r.Setup()
			r.Exec("CREATE PUBLICATION listed FOR TABLE pgtee.outbox_1", "CREATE PUBLICATION of_schema FOR TABLES IN SCHEMA pgtee", "CREATE PUBLICATION of_all FOR ALL TABLES")
			r.session("BEGIN", "DROP TABLE t", "ALTER TABLE p ADD COLUMN v int")
			out, code := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot)
			for _, name := range []string{"listed", "of_schema", "of_all"} {
				if !strings.Contains(out, "publication "+name+" replicates the tables of schema pgtee") {
					t.Errorf("check exits with %d, and does not name %s:\n%s", code, name, out)
				}
			}
			if strings.Contains(out, "publication mine") {
				t.Errorf("check names a publication without our tables:\n%s", out)
			}
		})
	}
}

// The outbox keeps the current and the last hour; the third table in turn is emptied.
func TestRotateEmptiesTheTableWhoseTurnIsOver(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Setup()
	const hour = "trunc(date_part('epoch', now()) / 3600)::bigint"
	before := r.Query("SELECT " + hour + " % 3 || ''")
	for i := range 3 {
		r.Exec(fmt.Sprintf("INSERT INTO pgtee.outbox_%d (kind) VALUES ('n')", i))
	}
	r.must(outbox.Rotate(r.ctx, r.URL()))
	const left = "SELECT (SELECT count(*) FROM pgtee.outbox_0) || ' ' || (SELECT count(*) FROM pgtee.outbox_1) || ' ' || (SELECT count(*) FROM pgtee.outbox_2)"
	want := map[string]string{"0": "1 0 1", "1": "1 1 0", "2": "0 1 1"}[before]
	if got := r.Query(left); got != want && before == r.Query("SELECT "+hour+" % 3 || ''") {
		t.Errorf("rows left: %s, want %s in an hour of table %s", got, want, before)
	}
}

// A walsender that shuts down waits for its last acknowledgement. Postgres must stop all the same, at
// once while Kafka answers, within seconds while it does not; and nothing may be lost.
func TestPostgresStopsWhilePublishing(t *testing.T) {
	for name, kafkaAway := range map[string]bool{"Kafka answers": false, "Kafka is away": true} {
		t.Run(name, func(t *testing.T) {
			server := must(t, func() (*embedded.Postgres, error) { return world.StartPostgres(15, nil) })
			r := newRunner(t, must(t, sharedBinary), server, "table")
			r.Start(workSchema, workTables...)
			r.Exec("INSERT INTO work.item VALUES (1, 'x', 0)")
			r.Drain()
			back := func() error { return nil }
			if kafkaAway {
				r.must(r.broker.Stop())
				back = sync.OnceValue(r.broker.Start)
				t.Cleanup(func() { back() })
			}
			r.Exec("INSERT INTO work.item VALUES (2, 'x', 0)", "CREATE DATABASE other")
			began := time.Now()
			patience, cancel := context.WithTimeout(r.ctx, 30*time.Second)
			defer cancel()
			r.must(server.Restart(patience))
			t.Logf("PostgreSQL was back after %s", time.Since(began))
			r.must(back())
			t.Log(r.ExpectClean())
		})
	}
}

// A slot that moved on by itself has lost a transaction: the publisher halts, and goes on once somebody
// has accepted that. The row comes afresh.
func TestRepairAfterGap(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Start(workSchema, workTables...)
	r.Drain()
	r.Kill(r.publisher)
	r.must(harness.Eventually(20*time.Second, func(context.Context) error {
		r.Exec("INSERT INTO work.item SELECT coalesce(max(id), 0) + 1, 'lost', 0 FROM work.item")
		conn := r.dial(r.URL())
		defer conn.Close(r.ctx)
		_, err := conn.Exec(r.ctx, "SELECT pg_replication_slot_advance($1, pg_current_wal_lsn())", r.slot)
		return err // the slot may still be in use by the killed publisher's walsender
	}))
	r.StartPublisher()
	if fault := r.expectHalt("lost between Kafka and the slot", "pgtee repair --accept-divergence"); fault != "" {
		t.Fatal(fault)
	}
	r.cure(r.publisher.Tail(1))
	r.StartPublisher()
	r.Drain()
	r.awaitProgress(`"finished":[{"id":"repair-`)
	var ops string
	for _, e := range r.Events("work.item") {
		ops += e.Op
	}
	if want := "t" + strings.Repeat("r", len(r.tableRows("work.item"))); ops != want {
		t.Errorf("events %q of what the slot had lost, want %q", ops, want)
	}
}
