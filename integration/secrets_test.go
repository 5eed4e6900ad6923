package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// secretForms are statements with a credential, hunter2, in each of the places that there are.
var secretForms = []string{
	"CREATE TABLE u (id int PRIMARY KEY, x bytea)",
	"ALTER TABLE u ADD password text DEFAULT 'hunter2'",
	"ALTER TABLE u ADD COLUMN api_token numeric DEFAULT 1, ALTER password SET DEFAULT 'hunter2' || 'x'",
	"CREATE TABLE m1 (a int, secret text DEFAULT E'hunter\\x32', url text DEFAULT 'postgres://u:hunter2@h/d')",
	"CREATE TABLE m2 (a int); -- the password is hunter2",
	"CREATE DOMAIN pwd AS text DEFAULT 'hunter2'",
	"CREATE TABLE m3 (a int, p pwd)",
	"SET my.token TO hunter2; CREATE TABLE m4 (a int)",
	"SELECT set_config('my.secret', 'hunter2', false); CREATE TABLE m5 (a int)",
	"ALTER ROLE secret_ROLE PASSWORD 'hunter2'; CREATE TABLE m6 (a int)",
	"CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h')",
	"CREATE USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (user 'u', password 'hunter2')",
	"ALTER USER MAPPING FOR CURRENT_USER SERVER s OPTIONS (SET password 'hunter2')",
	"CREATE SUBSCRIPTION secret_ROLE CONNECTION 'host=h password=hunter2' PUBLICATION p WITH (connect = false, slot_name = NONE)",
	"DROP SUBSCRIPTION secret_ROLE",
	"CREATE VIEW v AS SELECT pgp_sym_decrypt(x, 'hunter2') FROM u",
	"CREATE MATERIALIZED VIEW mv AS SELECT pgp_sym_decrypt(x, 'hunter2') FROM u",
	"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT pgp_sym_decrypt(x, 'hunter2') FROM u$$",
	"CREATE FUNCTION g() RETURNS void LANGUAGE plpgsql AS $g$ BEGIN PERFORM dblink_connect('host=h user=hunter2'); END $g$",
	"CREATE POLICY p ON u USING (pgp_sym_decrypt(x, 'hunter2') = 'a')",
	"ALTER TABLE u ADD g text GENERATED ALWAYS AS (encode(hmac('a', 'hunter2', 'sha256'), 'hex')) STORED",
	"CREATE INDEX ON u (encode(hmac(x, 'hunter2'::bytea, 'sha256'), 'hex'))",
	"ALTER TABLE u ADD CONSTRAINT c CHECK (x <> pgp_sym_encrypt('a', 'hunter2'))",
	"CREATE TRIGGER t AFTER INSERT ON u FOR EACH ROW EXECUTE FUNCTION tell('Authorization: Bearer hunter2')",
	"COPY m2 FROM PROGRAM 'echo 5 # hunter2'",
	"UPDATE u SET password = 'hunter2' WHERE false",
	"DO $$BEGIN CREATE TABLE m7 (a text DEFAULT 'eyJhunter2.e30.x'); END$$",
}

// Credentials are neither in what event triggers and notes put into the log and the outbox, nor in Kafka, whatever --sql-text says.
func TestSecretsAreNotStored(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			role := "secret_" + r.database
			r.Exec("CREATE ROLE "+role, "CREATE EXTENSION pgcrypto", "CREATE EXTENSION postgres_fdw", "CREATE SCHEMA mark; CREATE TABLE mark.mark (id int PRIMARY KEY)",
				"CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'")
			t.Cleanup(func() { r.Exec("DROP ROLE IF EXISTS " + role) })
			r.Setup()
			r.StartProxy()
			for _, url := range []string{r.URL(), r.ProxyURL("postgres", "secrets")} {
				conn := r.dial(url)
				for _, sql := range secretForms {
					if _, err := conn.Exec(r.ctx, strings.ReplaceAll(sql, "secret_ROLE", role), pgx.QueryExecModeSimpleProtocol); err != nil {
						t.Fatalf("%s: %v", sql, err)
					}
				}
				if _, err := conn.Exec(r.ctx, "DROP TABLE u, m1, m2, m3, m4, m5, m6, m7 CASCADE; DROP DOMAIN pwd; DROP SERVER s CASCADE; DROP FUNCTION f, g", pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Fatal(err)
				}
				conn.Close(r.ctx)
			}
			records := r.Emitted("d")
			if len(records) < len(secretForms) {
				t.Errorf("%d DDL records", len(records))
			}
			for _, e := range records {
				if strings.Contains(e.body, "hunter2") {
					t.Errorf("in the log: %s", e.body)
				}
			}
			kept := r.Query(`SELECT coalesce(string_agg(encode(sql, 'escape'), E'\n'), '') FROM pgtee.outbox WHERE position('hunter2'::bytea IN sql) > 0`)
			if kept != "" {
				t.Errorf("in the outbox: %s", kept)
			}
			r.startShaped("", "--sql-text", "full")
			r.Drain()
			for topic, records := range r.Topics() {
				for _, record := range records {
					if text := string(record.Value); strings.Contains(text, "hunter2") {
						t.Errorf("in %s: %s", topic, text)
					}
				}
			}
			if len(r.Topics()["ddl"]) == 0 {
				t.Error("no DDL in Kafka")
			}
		})
	}
}
