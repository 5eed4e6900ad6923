package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// strangersSchema is made by a role without rights. Each table is a way to have evil.f() called by who reads it, which would leave a
// message in the log with the name of the role that it ran as.
const strangersSchema = `CREATE SCHEMA evil;
CREATE FUNCTION evil.f(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$BEGIN
	IF current_user <> 'STRANGER' THEN PERFORM pg_catalog.pg_logical_emit_message(false, 'owned', pg_catalog.concat('own', 'ed as ', current_user, ' by ', pg_catalog.current_query())); END IF; RETURN 1; END$$;
CREATE DOMAIN evil.checked AS int CHECK (evil.f(VALUE) = 1);
CREATE TYPE evil.comp AS (a int);
CREATE TYPE evil.nested AS (a evil.checked);
CREATE FUNCTION evil.show(evil.comp) RETURNS text LANGUAGE sql AS 'SELECT evil.f(1)::text';
CREATE CAST (evil.comp AS text) WITH FUNCTION evil.show(evil.comp) AS IMPLICIT;
CREATE FUNCTION evil.same(evil.comp, text) RETURNS bool LANGUAGE sql AS 'SELECT evil.f(1) = 1';
CREATE OPERATOR evil.= (LEFTARG = evil.comp, RIGHTARG = text, FUNCTION = evil.same);
CREATE FUNCTION evil.format(text, int, text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.f(1)::text';
CREATE FUNCTION public.format(text, int, text, text) RETURNS text LANGUAGE sql AS 'SELECT evil.f(1)::text';
CREATE TABLE evil.a_cast (id int PRIMARY KEY, c evil.comp, d evil.checked);
INSERT INTO evil.a_cast VALUES (1, ROW(1), 1), (2, ROW(2), 2);
CREATE TABLE evil.b_array (id evil.checked[] PRIMARY KEY, v text);
INSERT INTO evil.b_array SELECT ARRAY[g]::evil.checked[], 'v' FROM generate_series(1, 600) AS g;
CREATE TABLE evil.c_composite (id evil.nested PRIMARY KEY);
INSERT INTO evil.c_composite SELECT ROW(g)::evil.nested FROM generate_series(1, 600) AS g;
CREATE TABLE evil.d_domain (id evil.checked PRIMARY KEY);
INSERT INTO evil.d_domain SELECT g FROM generate_series(1, 600) AS g;
CREATE TABLE evil.e_policy (id int PRIMARY KEY, CHECK (evil.f(1) = 1));
INSERT INTO evil.e_policy VALUES (1);
ALTER TABLE evil.e_policy ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON evil.e_policy USING (evil.f(1) = 1);
CREATE TABLE evil.f_index (id int PRIMARY KEY);
CREATE INDEX ON evil.f_index ((evil.f(1)));
CREATE TABLE evil.g_predicate (id int PRIMARY KEY);
CREATE INDEX ON evil.g_predicate (id) WHERE evil.f(1) = 1;
CREATE TABLE evil.h_statistics (id int PRIMARY KEY);
CREATE STATISTICS evil.s ON (evil.f(1)), id FROM evil.h_statistics;
CREATE TABLE evil.z_view (id int);
`

// Nothing that a role without rights has made runs as the publisher or as who runs setup, check and status, or in event triggers.
func TestStrangersRunNothing(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			stranger := "stranger_" + r.database
			r.Exec("CREATE ROLE "+stranger, "GRANT CREATE ON DATABASE "+r.database+" TO "+stranger, "GRANT CREATE ON SCHEMA public TO "+stranger,
				"CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)", "ALTER DATABASE "+r.database+" SET constraint_exclusion = on",
				"ALTER DATABASE "+r.database+" SET search_path = evil, pg_catalog, public")
			t.Cleanup(func() { r.Exec("DROP OWNED BY " + stranger + " CASCADE; DROP ROLE " + stranger) })
			r.Setup()
			witness := r.slot + "_witness"
			r.Exec("SELECT pg_catalog.pg_create_logical_replication_slot('" + witness + "', 'pgoutput')")
			t.Cleanup(func() { r.Exec("SELECT pg_catalog.pg_drop_replication_slot('" + witness + "')") })
			conn := r.dial(r.URL())
			defer conn.Close(r.ctx)
			as := func(sql string) error {
				_, err := conn.Exec(r.ctx, "SET SESSION AUTHORIZATION "+stranger+";"+strings.ReplaceAll(sql, "STRANGER", stranger), pgx.QueryExecModeSimpleProtocol)
				return err
			}
			r.must(as(strangersSchema))
			if err := as("CREATE OPERATOR CLASS evil.c DEFAULT FOR TYPE evil.comp USING btree AS OPERATOR 3 evil.="); err == nil {
				t.Error("a role without rights makes an operator class")
			}
			r.must(as("CREATE TEMP TABLE pg_class (oid int); CREATE TEMP VIEW pg_publication AS SELECT evil.f(1); SET search_path = pg_temp, evil; CREATE TABLE evil.more (id int PRIMARY KEY); " +
				"ALTER TABLE evil.more DROP CONSTRAINT more_pkey; ALTER TABLE evil.more ADD PRIMARY KEY (id); SELECT pgtee.note('AQE=', current_user); DROP TABLE evil.more"))

			r.publisher = r.process("publish", append(r.publishArgs(), "--snapshot-rows-per-second", "600")...)
			asked := func(id string, tables string, condition string) {
				r.Exec(fmt.Sprintf("SELECT pgtee.snapshot(ARRAY[%s]::regclass[], %s, '%s')", tables, condition, id))
			}
			asked("cast", "'evil.a_cast'", "$$c LIKE '(1)' AND d = '1' AND id > 0$$")
			asked("keys", "'evil.b_array','evil.c_composite','evil.d_domain','evil.e_policy'", "NULL")
			r.AwaitSnapshots("cast", "keys")
			for table, want := range map[string]int{"a_cast": 1, "b_array": 600, "c_composite": 600, "d_domain": 600, "e_policy": 1} {
				if got := len(r.copiedRows(r.Topic("evil."+table), "r")); got != want {
					t.Errorf("%d rows of %s copied, want %d", got, table, want)
				}
			}
			asked("refused", "'evil.f_index','evil.g_predicate','evil.h_statistics','evil.z_view'", "$$id > 5$$")
			r.awaitProgress("--snapshot-trust-owner")
			if major < 16 {
				r.must(as(`CREATE RULE "_RETURN" AS ON SELECT TO evil.z_view DO INSTEAD SELECT evil.f(1) AS id`))
			}
			second := r.process("second", r.publishArgs()...)
			r.must(harness.Eventually(20*time.Second, func(context.Context) error {
				if !strings.Contains(second.Log(), "the slot is in use") {
					return fmt.Errorf("the second publisher says %s", second.Tail(3))
				}
				return nil
			}))
			second.Kill()
			r.Pgtee("check", "--postgres", r.URL(), "--slot", r.slot)
			r.Pgtee("status", "--postgres", r.URL(), "--kafka", r.broker.Address, "--prefix", r.prefix, "--slot", r.slot)
			r.Setup()
			r.Drain()
			if found := r.owned(witness); found != "" {
				t.Errorf("a stranger's function was run: %s", found)
			}
			r.Exec("BEGIN READ ONLY; SELECT evil.f(2) AS control; COMMIT", "CREATE TABLE flushed (id int)")
			if found := r.owned(witness); !strings.Contains(found, "control") {
				t.Errorf("the witness saw %q", found)
			}
		})
	}
}

// owned are the messages that strangers' functions left in the log.
func (r *runner) owned(slot string) string {
	r.t.Helper()
	return r.Query(`SELECT coalesce(string_agg(encode(data, 'escape'), E'\n'), '') FROM pg_catalog.pg_logical_slot_peek_binary_changes($1, NULL, NULL,
		'proto_version', '1', 'publication_names', 'pgtee_rows', 'messages', 'true') WHERE encode(data, 'escape') LIKE '%owned as%'`, slot)
}
