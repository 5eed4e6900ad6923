package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/outbox"
)

// Somebody else replicates all tables: with --outbox message nothing of ours is ever written into a table, not by
// setup either, so that a subscriber that does not know our tables goes on, and nobody gets the secret.
func TestNativeSubscriptionBesideUs(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			server := must(t, sharedPostgres[major])
			other := newRunner(t, must(t, sharedBinary), server, "message")
			r := newRunner(t, must(t, sharedBinary), server, "message")
			r.Exec("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE PUBLICATION everything FOR ALL TABLES",
				fmt.Sprintf("SELECT pg_create_logical_replication_slot('native_%s', 'pgoutput')", r.database))
			other.Exec("CREATE TABLE t (id int PRIMARY KEY, v text)",
				fmt.Sprintf("CREATE SUBSCRIPTION sub_%[1]s CONNECTION 'host=%[2]s port=%[3]s user=postgres dbname=%[1]s' PUBLICATION everything WITH (create_slot = false, slot_name = 'native_%[1]s', copy_data = false)",
					r.database, strings.Split(server.Address(), ":")[0], strings.Split(server.Address(), ":")[1]))
			t.Cleanup(func() {
				other.Exec("ALTER SUBSCRIPTION sub_"+r.database+" DISABLE", "ALTER SUBSCRIPTION sub_"+r.database+" SET (slot_name = NONE)", "DROP SUBSCRIPTION sub_"+r.database)
			})
			r.Setup()
			r.Setup()
			r.StartProxy()
			conn := r.dial(r.ProxyURL("postgres", "app"))
			defer conn.Close(r.ctx)
			r.in(conn, "SET exit_on_error = on", "INSERT INTO t VALUES (1, 'a')", "UPDATE t SET v = 'b'", "CREATE TABLE made (id int PRIMARY KEY)", "ALTER TABLE t ADD CONSTRAINT short CHECK (length(v) < 9)")
			r.must(harness.Eventually(30*time.Second, func(context.Context) error {
				if got := other.Query("SELECT coalesce(string_agg(id || v, ' '), '') FROM t"); got != "1b" {
					return fmt.Errorf("the subscriber has %q, want 1b", got)
				}
				return nil
			}))
			if out, _ := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); !strings.Contains(out, "publication everything replicates the tables of schema pgtee") {
				t.Errorf("check does not name the publication:\n%s", out)
			}
			r.Exec("CREATE PUBLICATION by_schema FOR TABLES IN SCHEMA public", "INSERT INTO made VALUES (1)") // the cure
			other.Exec("CREATE TABLE made (id int PRIMARY KEY)", "ALTER SUBSCRIPTION sub_"+r.database+" SET PUBLICATION by_schema")
			r.must(harness.Eventually(30*time.Second, func(context.Context) error {
				if got := other.Query("SELECT count(*)::text FROM made"); got != "1" {
					return fmt.Errorf("the subscriber has %s rows of a table that was added, want 1", got)
				}
				return nil
			}))
		})
	}
}

// A dump of a captured database has event triggers and a publication of all tables, which only a superuser may make: what
// is ours is left out by one option.
func TestDumpRestoresForAnOrdinaryRole(t *testing.T) {
	server := must(t, sharedPostgres[15])
	r := newRunner(t, must(t, sharedBinary), server, "message")
	r.Exec("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id)", "CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1)", "INSERT INTO t VALUES (1)", "CREATE PUBLICATION mine FOR TABLE t WITH (publish = 'insert')")
	r.Setup()
	for _, options := range []string{"", "-N pgtee"} {
		copied := newRunner(t, must(t, sharedBinary), server, "message")
		r.Exec("DO $$ BEGIN CREATE ROLE app LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
		r.Exec("ALTER DATABASE " + copied.database + " OWNER TO app")
		file := r.dir + "/dump"
		script := fmt.Sprintf(`pg_dump %[4]s -Fc -f %[1]s '%[2]s' && pg_restore --list %[1]s | grep -v ' pgtee' > %[1]s.list && pg_restore --exit-on-error --no-owner --use-list=%[1]s.list -d '%[3]s' %[1]s`,
			file, r.URL(), copied.DirectURL("app", "restore"), options)
		if out, err := exec.CommandContext(r.ctx, "bash", "-c", script).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := copied.Query("SELECT (SELECT count(*) FROM t) || ' ' || (SELECT count(*) FROM pg_event_trigger) || ' ' || (SELECT count(*) FROM pg_publication)"); got != "1 0 1" {
			t.Errorf("rows, event triggers, publications: %s, want 1 0 1", got)
		}
		copied.Exec("ALTER TABLE t DROP CONSTRAINT t_pkey", "UPDATE t SET id = 2")
	}
}

// In a copy, whose publications and event triggers came along, no statement fails either.
func TestCopyOfTheDatabase(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "message")
			r.Exec("CREATE TABLE old (id int PRIMARY KEY, v int)", "INSERT INTO old VALUES (1, 1)")
			r.Setup()
			r.Exec("ALTER TABLE old ALTER v SET DEFAULT 0", "SELECT setval('pgtee.horizon', 50000000)")
			admin := r.dial(r.server.URL("postgres"))
			defer admin.Close(r.ctx)
			staging := r.database + "_staging"
			r.in(admin, "CREATE DATABASE "+staging+" TEMPLATE "+r.database)
			conn := r.dial(r.server.URL(staging))
			r.in(conn, "CREATE TABLE n (id int PRIMARY KEY, v int)", "INSERT INTO n VALUES (1, 0)", "ALTER TABLE old DROP CONSTRAINT old_pkey", "UPDATE old SET v = 2",
				"ALTER TABLE n DROP COLUMN id", "UPDATE n SET v = 1", "ALTER TABLE n SET UNLOGGED", "DROP TABLE n")
			confirmed := false
			r.must(conn.QueryRow(r.ctx, "SELECT bool_or(pgtee.confirmed(xmin)) FROM old").Scan(&confirmed))
			if confirmed {
				t.Error("in a copy a row is confirmed that nobody has published")
			}
			const known = "SELECT (SELECT count(*) FROM pgtee.was) || ' ' || (SELECT count(*) FROM pgtee.widened)"
			before, after := "", ""
			r.must(conn.QueryRow(r.ctx, known).Scan(&before))
			if out, code := r.Pgtee("setup", "--postgres", r.server.URL(staging), "--slot", staging); code != 0 {
				t.Errorf("setup in the copy exits with %d:\n%s", code, out)
			}
			r.must(conn.QueryRow(r.ctx, known).Scan(&after))
			if before != "1 2" || after != "0 0" {
				t.Errorf("definitions and widened tables: %s, and %s after setup; want 1 2 and 0 0", before, after)
			}
			r.in(conn, "SELECT pg_drop_replication_slot('"+staging+"')")
			r.must(conn.Close(r.ctx))
			r.in(admin, "DROP DATABASE "+staging+" WITH (FORCE)")
		})
	}
}

// Default privileges of whoever runs setup neither open what is ours nor shut it.
func TestDefaultPrivileges(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec("DO $$ BEGIN CREATE ROLE ann LOGIN; EXCEPTION WHEN duplicate_object THEN END $$", "CREATE TABLE t (id int PRIMARY KEY); GRANT ALL ON t TO ann",
				"ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO ann; ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO ann; ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO ann")
			defer r.Exec("ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC; ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM ann; ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM ann; ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM ann")
			r.Setup()
			r.Setup()
			r.StartProxy()
			conn := r.dial(r.ProxyURL("ann", "app"))
			defer conn.Close(r.ctx)
			r.in(conn, "INSERT INTO t VALUES (1)")
			if got := r.Query("SELECT count(*)::text FROM pgtee.outbox WHERE user_name = 'ann'"); got != "1" {
				t.Errorf("%s notes of ann, want 1", got)
			}
			ann := r.dial(r.DirectURL("ann", "app"))
			defer ann.Close(r.ctx)
			for _, sql := range []string{"SELECT secret FROM pgtee.meta", "SELECT pgtee.key()", "SELECT pgtee.emit('d', '{}', NULL)", "SELECT * FROM pgtee.outbox_0", "SELECT pgtee.wrong()", "SELECT pgtee.sweep('{}')", "SELECT pgtee.rotate()",
				"SELECT pgtee.confirm('1')", "SELECT setval('pgtee.horizon', 1)", "SELECT pgtee.alter('DROP TABLE t')", "SELECT pgtee.publish('a', 'b', 'c')", "DELETE FROM pgtee.widened"} {
				if err := refused(runSQL(r, ann, sql), "42501"); err != nil {
					t.Errorf("%s: %v", sql, err)
				}
			}
		})
	}
}

// A publisher needs REPLICATION and SELECT on pgtee.meta, also if its transactions are read only by default.
func TestLeastPrivilegeKeepsHouse(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	r.Setup()
	r.Exec("DO $$ BEGIN CREATE ROLE keeper LOGIN REPLICATION; EXCEPTION WHEN duplicate_object THEN END $$", "ALTER ROLE keeper SET default_transaction_read_only = on",
		"INSERT INTO pgtee.outbox_0 (kind) VALUES ('n'); INSERT INTO pgtee.outbox_1 (kind) VALUES ('n'); INSERT INTO pgtee.outbox_2 (kind) VALUES ('n')",
		"ALTER EVENT TRIGGER pgtee_ddl DISABLE", "CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1)", "ALTER EVENT TRIGGER pgtee_ddl ENABLE ALWAYS")
	keeper := r.DirectURL("keeper", "pgtee")
	if err := refused(outbox.Rotate(r.ctx, keeper), "42501"); err != nil || !strings.Contains(outbox.Rotate(r.ctx, keeper).Error(), "--grant-publisher") {
		t.Errorf("without rights: %v", err)
	}
	if out, code := r.Pgtee("setup", "--postgres", r.URL(), "--slot", r.slot, "--grant-publisher", "keeper"); code != 0 || !strings.Contains(out, "public.late") {
		t.Errorf("setup exits with %d and says nothing of the late table:\n%s", code, out)
	}
	r.Exec("ALTER EVENT TRIGGER pgtee_ddl DISABLE", "CREATE TABLE later (id int PRIMARY KEY); INSERT INTO later VALUES (1)", "ALTER EVENT TRIGGER pgtee_ddl ENABLE ALWAYS")
	r.must(outbox.Rotate(r.ctx, keeper))
	if got := r.Query("SELECT count(*)::text FROM pgtee.outbox"); got != "2" {
		t.Errorf("%s rows left, want 2", got)
	}
	if _, err := outbox.Uncaptured(r.ctx, keeper, outbox.Selection{}); err != nil {
		t.Error(err)
	}
	done, _, _, err := (&outbox.Coverage{ConnString: keeper}).Look(r.ctx)
	if err != nil || len(done) != 1 || done[0].Table != "public.later" {
		t.Errorf("swept %v, %v, want public.later", done, err)
	}
}

// What somebody made of the publications, check finds and setup undoes.
func TestAlteredPublications(t *testing.T) {
	versions := captureVersions()
	if os.Getenv("CAPTURE") == "" {
		versions = versions[len(versions)-1:] // each takes a quarter of a minute
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), postgresOf(t, version), "message")
			r.Exec("CREATE TABLE t (id int PRIMARY KEY, v int)")
			r.Setup()
			alterations := []string{"ALTER PUBLICATION pgtee_identity SET (publish = 'update')", "ALTER PUBLICATION pgtee_rows SET (publish_via_partition_root = true)", "ALTER PUBLICATION pgtee_partitioned_1 SET (publish_via_partition_root = false)",
				"ALTER PUBLICATION pgtee_identity_7 SET (publish = 'insert, update, delete')", "DROP PUBLICATION pgtee_identity_3"}
			if version != "14" {
				alterations = append(alterations, "ALTER PUBLICATION pgtee_identity SET TABLE t (id)")
			}
			if version == "18" {
				alterations = append(alterations, "ALTER PUBLICATION pgtee_rows SET (publish_generated_columns = none)")
			}
			for _, alteration := range alterations {
				r.Exec(alteration)
				if out, code := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); code == 0 && !strings.Contains(out, "leaves out generated columns") || !strings.Contains(out, "publication pgtee_") {
					t.Errorf("%s: check exits with %d:\n%s", alteration, code, out)
				}
				r.Setup()
				if out, code := r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot); code != 0 || strings.Contains(out, "warning") {
					t.Errorf("%s, then setup: check exits with %d:\n%s", alteration, code, out)
				}
			}
		})
	}
}

// What setup would do is told before it is done, without the secret.
func TestSetupDryRun(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "message")
	r.Exec("CREATE TABLE bare (id int)", "CREATE PUBLICATION everything FOR ALL TABLES")
	out, code := r.Pgtee("setup", "--dry-run", "--postgres", r.URL(), "--slot", r.slot)
	for _, want := range []string{"CREATE PUBLICATION pgtee_rows FOR ALL TABLES", "CREATE EVENT TRIGGER pgtee_ddl", "pg_create_logical_replication_slot", "publication everything replicates"} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("dry run exits with %d, without %q", code, want)
		}
	}
	if secret := regexp.MustCompile("[0-9a-f]{64}").FindString(out); secret != "" {
		t.Errorf("the secret is printed: %s", secret)
	}
	if got := r.Query("SELECT count(*)::text FROM pg_namespace WHERE nspname = 'pgtee'"); got != "0" {
		t.Error("the dry run has made schema pgtee")
	}
}
