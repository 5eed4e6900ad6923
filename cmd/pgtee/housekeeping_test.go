package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/pgtee/pgtee/outbox"
)

// What the event triggers could not do, the publisher does: else UPDATE and DELETE of a new table would be missing for ever, and
// UPDATE of a table that lost its key would fail for ever.
func TestTablesThatTheTriggerMissedAreListed(t *testing.T) {
	c := newChain(t, nil)
	url := c.postgres.URL("postgres")
	if _, err := outbox.Setup(t.Context(), outbox.SetupConfig{ConnString: url, Slot: "s"}); err != nil {
		t.Fatal(err)
	}
	c.exec(url, `CREATE TABLE keyless (id int PRIMARY KEY); INSERT INTO keyless VALUES (1);
		ALTER EVENT TRIGGER pgtee_ddl DISABLE; ALTER EVENT TRIGGER pgtee_drop DISABLE;
		CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1); CREATE TABLE bare (id int); ALTER TABLE keyless DROP CONSTRAINT keyless_pkey`)
	report, err := outbox.Check(t.Context(), outbox.SetupConfig{ConnString: url, Slot: "s"})
	if err != nil || !strings.Contains(fmt.Sprint(report.Findings), "table public.keyless is in one of the publications pgtee_identity, but it has no primary key: its UPDATE and DELETE fail") {
		t.Errorf("check: %v, %v", err, report.Findings)
	}
	for _, want := range []string{"[public.keyless widened public.late listed]", "[]"} {
		done, _, _, err := (&outbox.Coverage{ConnString: url}).Look(t.Context())
		var got []string
		for _, d := range done {
			got = append(got, d.Table+" "+string(d.State))
		}
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("done %v, %v, want %s", got, err, want)
		}
	}
	c.exec(url, "UPDATE keyless SET id = 2")
	if n := c.count(url, "SELECT count(*) FROM pg_publication_tables WHERE pubname ~ '^pgtee_identity'"); n != 2 {
		t.Errorf("%d tables in pgtee_identity, want keyless and late", n)
	}
}

// In a copy of a database events would pile up, for nobody publishes or prunes them.
func TestNothingIsPublishedFromACopy(t *testing.T) {
	c := newChain(t, nil)
	url := c.postgres.URL("postgres")
	if _, err := outbox.Setup(t.Context(), outbox.SetupConfig{ConnString: url, Slot: "s"}); err != nil {
		t.Fatal(err)
	}
	c.exec(url, "SELECT pgtee.publish('t', 'k', 'original'); UPDATE pgtee.meta SET database_oid = 1; SELECT pgtee.publish('t', 'k', 'copy')")
	if n := c.count(url, `SELECT count(*) FROM pg_logical_slot_peek_binary_changes('s', NULL, NULL, 'proto_version', '1', 'publication_names', 'pgtee_rows', 'messages', 'true')
		WHERE substr(data, 1, 1) = 'M' AND position('"topic"' IN encode(data, 'escape')) > 0`); n != 1 {
		t.Errorf("%d events, want that of the original", n)
	}
}

// A role that made schema pgtee before us owns what CREATE OR REPLACE leaves there: an event trigger's
// function would run its code with the rights of a superuser.
func TestSuperuserDoesNotRunFunctionsOfOthers(t *testing.T) {
	c := newChain(t, nil)
	url := c.postgres.URL("postgres")
	c.exec(url, `CREATE ROLE eve; GRANT CREATE ON DATABASE postgres TO eve; SET ROLE eve; CREATE SCHEMA pgtee; CREATE TABLE pgtee.meta (slot name);
		CREATE FUNCTION pgtee.ready() RETURNS int LANGUAGE plpgsql AS $$ BEGIN ALTER ROLE eve SUPERUSER; RETURN 1; END $$`)
	config := outbox.SetupConfig{ConnString: url, Slot: "s"}
	for name, work := range map[string]func(context.Context, outbox.SetupConfig) (outbox.Report, error){"setup": outbox.Setup, "check": outbox.Check, "teardown": outbox.Teardown} {
		report, err := work(t.Context(), config)
		if told := fmt.Sprint(err, report.Err()); !strings.Contains(told, "schema pgtee belongs to eve") {
			t.Errorf("%s: %s", name, told)
		}
	}
	if n := c.count(url, "SELECT count(*) FROM pg_roles WHERE rolname = 'eve' AND rolsuper"); n != 0 {
		t.Error("eve has become a superuser")
	}
}

// Where the publication lists tables, setup also restores the membership of the outbox: a table that is created anew has none.
func TestOutboxOfAnOrdinaryRole(t *testing.T) {
	t.Parallel()
	c := newChain(t, nil)
	admin := c.postgres.URL("postgres")
	c.exec(admin, "CREATE ROLE keeper LOGIN REPLICATION PASSWORD '"+secret+"'; GRANT CREATE ON DATABASE postgres TO keeper")
	cfg := outbox.SetupConfig{ConnString: strings.Replace(admin, "postgres:"+secret, "keeper:"+secret, 1), Slot: "s"}
	for i, damage := range []string{"", "DROP TABLE pgtee.outbox_1", "ALTER PUBLICATION pgtee_rows DROP TABLE ONLY pgtee.outbox_2", "ALTER TABLE pgtee.outbox DROP COLUMN sql"} {
		if damage != "" {
			c.exec(cfg.ConnString, damage)
			report, err := outbox.Check(t.Context(), cfg)
			if err != nil || !strings.Contains(fmt.Sprint(report.Findings), "outbox-altered") {
				t.Errorf("%s: check: %v, %v", damage, err, report.Findings)
			}
		}
		if _, err := outbox.Setup(t.Context(), cfg); err != nil {
			t.Fatalf("setup after %q: %v", damage, err)
		}
		report, err := outbox.Check(t.Context(), cfg)
		if err != nil || report.Err() != nil || strings.Contains(fmt.Sprint(report.Findings), "outbox-altered") {
			t.Errorf("%d: check after setup: %v, %v", i, err, report.Findings)
		}
		if n := c.count(admin, "SELECT count(*) FROM pg_publication_tables WHERE pubname = 'pgtee_rows' AND schemaname = 'pgtee'"); n != 4 {
			t.Errorf("%d: %d tables of the outbox are published, want 4", i, n)
		}
	}
	c.exec(admin, "CREATE ROLE app; CREATE TABLE public.theirs (id int PRIMARY KEY); ALTER TABLE public.theirs OWNER TO app;"+
		"CREATE TABLE public.theirs_too (id int); ALTER TABLE public.theirs_too OWNER TO app; CREATE TABLE public.theirs_above (id int PRIMARY KEY)")
	about := func(table string) (found []outbox.Finding) {
		report, err := outbox.Check(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Findings {
			if strings.Contains(f.Text, table+" ") || strings.Contains(f.Text, table+":") || strings.HasSuffix(f.Text, table) {
				found = append(found, f)
			}
		}
		return found
	}
	// A table that has no key, either, is not captured after a GRANT; and nobody is to become a superuser.
	for table, want := range map[string]string{"theirs": "GRANT app TO keeper", "theirs_above": "ALTER TABLE public.theirs_above OWNER TO keeper", "theirs_too": "ALTER TABLE public.theirs_too ADD PRIMARY KEY"} {
		found := about("public." + table)
		if len(found) != 1 || found[0].ID != "table-uncaptured" || !strings.HasPrefix(found[0].Repair, want) {
			t.Fatalf("check of a table of another role: %v", found)
		}
		if table != "theirs_too" {
			c.exec(admin, found[0].Repair)
		}
	}
	if _, err := outbox.Setup(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if found := append(about("public.theirs"), about("public.theirs_above")...); len(found) > 0 {
		t.Errorf("check of tables of other roles after their repair: %v", found)
	}
	c.exec(admin, "CREATE VIEW auditor AS SELECT kind FROM pgtee.outbox_0; ALTER TABLE pgtee.outbox DROP COLUMN sql")
	if _, err := outbox.Setup(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "drop what of yours depends on it, then run pgtee setup again") || strings.Contains(err.Error(), "\n") {
		t.Errorf("setup with a view of the outbox: %v", err)
	}
}
