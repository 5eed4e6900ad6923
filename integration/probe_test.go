package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/outbox"
	"github.com/pgtee/pgtee/proxy"
)

// What a role's defaults say of its statements neither delays nor refuses the first session of a database, which has to ask for
// the outbox; and the session keeps them.
func TestFirstSessionWithOddDefaults(t *testing.T) {
	for _, major := range []int{15, 18} {
		server := must(t, sharedPostgres[major])
		w := &tap{url: server.URL}
		w.setup(t)
		w.admin(t, t.Context(), tapDatabase, bytesSchema)
		writer, err := open(t, server.URL(tapDatabase))
		if err != nil {
			t.Fatal(err)
		}
		if err := writer.Exec(t.Context(), "BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO t VALUES (1)").Close(); err != nil {
			t.Fatal(err) // a safe snapshot has to wait for it
		}
		for _, options := range []string{
			"default_transaction_isolation=serializable default_transaction_read_only=on default_transaction_deferrable=on",
			"statement_timeout=1", "lock_timeout=1 idle_in_transaction_session_timeout=1", "client_min_messages=debug5 log_statement=all", "role=bare",
		} {
			t.Run(fmt.Sprint(major, " ", options), func(t *testing.T) {
				address, p := serve(t, proxy.Config{Servers: []proxy.Server{{Address: server.Address()}}, Key: make([]byte, 32), SQLText: true, RequireOutbox: true})
				login := "/" + tapDatabase + "?sslmode=disable&options=" + strings.ReplaceAll(url.PathEscape("-c "+strings.ReplaceAll(options, " ", " -c ")), "=", "%3D")
				_, direct := openWith(t, "postgres://postgres@"+server.Address()+login)
				began := time.Now()
				conn, notices := openWith(t, "postgres://postgres@"+address+login)
				if took := time.Since(began); took > 3*time.Second {
					t.Errorf("the login takes %s", took)
				}
				if !slices.Equal(notices, direct) {
					t.Errorf("the client hears %q, directly %q", notices, direct)
				}
				for option := range strings.FieldsSeq(options) {
					name, want, _ := strings.Cut(option, "=")
					if got := shown(t, conn, name); strings.TrimSuffix(got, "ms") != want {
						t.Errorf("%s is %q, want %s", name, got, want)
					}
				}
				conn.Exec(t.Context(), "SET statement_timeout = 0").Close()
				if err := conn.Exec(t.Context(), "SET ROLE postgres; BEGIN READ WRITE; SET LOCAL lock_timeout = 0; INSERT INTO t VALUES (2); COMMIT").Close(); err != nil {
					t.Error(err)
				}
				if notes := p.Stats().Notes; notes != 1 {
					t.Errorf("%d notes, want 1", notes)
				}
			})
		}
	}
}

// openWith is open, and returns the notices that come up to the end of the login.
func openWith(t *testing.T, url string) (conn *pgconn.PgConn, notices []string) {
	t.Helper()
	config, err := pgconn.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	begun := false
	config.OnNotice = func(_ *pgconn.PgConn, notice *pgconn.Notice) {
		if !begun {
			notices = append(notices, notice.Message)
		}
	}
	conn, err = openConfig(t, config)
	if err != nil {
		t.Fatal(err)
	}
	begun = true
	return conn, notices
}

// shown is a setting, however short its statements last.
func shown(t *testing.T, conn *pgconn.PgConn, name string) string {
	for {
		got, err := conn.Exec(t.Context(), "SHOW "+name).ReadAll()
		if err == nil {
			return string(got[0].Rows[0][0])
		}
		if code(err) != "57014" {
			t.Fatal(err)
		}
	}
}

// plantedSchema is a schema pgtee that any owner of a database can make: what is called notifies.
const plantedSchema = `CREATE SCHEMA pgtee; CREATE TABLE t (id int); GRANT ALL ON SCHEMA pgtee TO PUBLIC; GRANT ALL ON t TO PUBLIC;
CREATE FUNCTION pgtee.ready() RETURNS int LANGUAGE plpgsql %[1]s AS 'BEGIN PERFORM pg_notify(''ran'', ''ready by '' || session_user); RETURN 2; END';
CREATE FUNCTION pgtee.note(text, name) RETURNS void LANGUAGE plpgsql %[1]s AS 'BEGIN PERFORM pg_notify(''ran'', ''note by '' || session_user); END';
CREATE FUNCTION pgtee.sign(text, name) RETURNS void LANGUAGE plpgsql %[1]s AS 'BEGIN PERFORM pg_notify(''ran'', ''note by '' || session_user); END';
CREATE PROCEDURE pgtee.put(INOUT note int, name, boolean, boolean) LANGUAGE plpgsql %[1]s AS 'BEGIN PERFORM pg_notify(''ran'', ''note by '' || session_user); END'`

// plantedForOperators is what else the commands of an operator would call.
const plantedForOperators = `CREATE TABLE pgtee.meta (slot name, version int);
CREATE FUNCTION pgtee.narrowed() RETURNS oid[] LANGUAGE plpgsql AS 'BEGIN PERFORM pg_notify(''ran'', ''narrowed by '' || session_user); RETURN ''{}''; END';
CREATE FUNCTION pgtee.published() RETURNS oid[] LANGUAGE sql AS $$SELECT pgtee.narrowed()$$;
CREATE FUNCTION pgtee.tables(oid[]) RETURNS TABLE (tbl oid, root_name text, name text, listed boolean, reason text) LANGUAGE sql AS 'SELECT NULL::oid, NULL, NULL, NULL::boolean, NULL WHERE false';
CREATE VIEW pgtee.widened AS SELECT unnest(pgtee.narrowed()) AS tbl;
CREATE FUNCTION pgtee.rotate() RETURNS void LANGUAGE sql AS 'SELECT pgtee.narrowed()';
CREATE FUNCTION pgtee.confirm(xid8) RETURNS void LANGUAGE sql AS 'SELECT pgtee.narrowed()';
CREATE VIEW pgtee.signal AS SELECT ''::text AS id, ''::text AS type, ''::text AS data;
CREATE FUNCTION pgtee.insert() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pgtee.narrowed(); RETURN NEW; END';
CREATE TRIGGER insert INSTEAD OF INSERT ON pgtee.signal FOR EACH ROW EXECUTE FUNCTION pgtee.insert()`

// operatorCommands are the uses of schema pgtee by commands and the publisher's housekeeping.
func operatorCommands(ctx context.Context, url string) map[string]error {
	_, uncaptured := outbox.Uncaptured(ctx, url, outbox.Selection{})
	coverage := outbox.Coverage{ConnString: url}
	defer coverage.Close(ctx)
	_, _, _, look := coverage.Look(ctx)
	horizon, confirm := outbox.Confirm(ctx, url, 0, outbox.Horizon{})
	if confirm == nil {
		_, confirm = outbox.Confirm(ctx, url, math.MaxUint64, horizon)
	}
	_, signal := outbox.SendSignal(ctx, url, &outbox.SignalRecord{Type: outbox.PauseSnapshot})
	_, teardown := outbox.Teardown(ctx, outbox.SetupConfig{ConnString: url, Slot: "plant"})
	return map[string]error{"status": uncaptured, "coverage": look, "rotate": outbox.Rotate(ctx, url), "confirm": confirm, "snapshot": signal, "teardown": teardown}
}

// Whoever owns a database can plant code in it. A superuser who logs in through the proxy, or runs a command, does not run it.
func TestSchemaOfAnAttackerIsNotCalled(t *testing.T) {
	for _, major := range []int{15, 18} {
		for _, rights := range []string{"SECURITY INVOKER", "SECURITY DEFINER"} {
			t.Run(fmt.Sprint(major, " ", rights), func(t *testing.T) {
				server := must(t, sharedPostgres[major])
				w := &tap{url: server.URL}
				w.admin(t, t.Context(), "postgres", "DROP DATABASE IF EXISTS plant WITH (FORCE)", "DROP ROLE IF EXISTS mallory",
					"CREATE ROLE mallory LOGIN", "CREATE DATABASE plant OWNER mallory")
				login := func(user, address string) string {
					return "postgres://" + user + "@" + address + "/plant?sslmode=disable"
				}
				mallory, err := pgx.Connect(t.Context(), login("mallory", server.Address()))
				if err != nil {
					t.Fatal(err)
				}
				defer mallory.Close(t.Context())
				if _, err := mallory.Exec(t.Context(), fmt.Sprintf(plantedSchema, rights)+"; LISTEN ran", pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Fatal(err)
				}
				for _, c := range []struct {
					user, want string
					trusted    []string
				}{
					{"postgres", "", nil}, {"mallory", "ready by mallory, note by mallory", nil},
					{"postgres", "ready by postgres, note by postgres", []string{"mallory"}}, {"postgres", "", []string{"mal"}},
				} {
					config := proxy.Config{Servers: []proxy.Server{{Address: server.Address()}}, Key: make([]byte, 32), TrustedOwners: c.trusted}
					address, p := serve(t, config)
					conn, err := open(t, login(c.user, address))
					if err != nil {
						t.Fatal(err)
					}
					if err := conn.Exec(t.Context(), "SELECT 1; INSERT INTO t VALUES (1)").Close(); err != nil {
						t.Error(err)
					}
					ran := notified(t, mallory)
					if rights == "SECURITY INVOKER" { // then it is not an outbox of ours, whoever owns it
						c.want = ""
					}
					if ran != c.want {
						t.Errorf("%s with %q: %q ran", c.user, c.trusted, ran)
					}
					if notes := p.Stats().Notes; (notes == 0) != (c.want == "") {
						t.Errorf("%s with %q: %d notes", c.user, c.trusted, notes)
					}
				}
				address, _ := serve(t, proxy.Config{Servers: []proxy.Server{{Address: server.Address()}}, Key: make([]byte, 32), RequireOutbox: true})
				if _, err := open(t, login("postgres", address)); code(err) != "57P03" {
					t.Errorf("with an outbox required: %v", err)
				}
				if _, err := mallory.Exec(t.Context(), plantedForOperators, pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Fatal(err)
				}
				for name, err := range operatorCommands(t.Context(), login("postgres", server.Address())) {
					if err == nil || !strings.Contains(err.Error(), "schema pgtee belongs to mallory") {
						t.Errorf("%s: %v", name, err)
					}
				}
				if ran := notified(t, mallory); ran != "" {
					t.Errorf("commands of a superuser: %q ran", ran)
				}
			})
		}
	}
}

// notified lists what has come up to now.
func notified(t *testing.T, conn *pgx.Conn) string {
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	var list []string
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		got, err := conn.WaitForNotification(ctx)
		cancel()
		if err != nil {
			return strings.Join(list, ", ")
		}
		list = append(list, got.Payload)
	}
}

// What a proxy knows of a database ends with it, whatever bears its name next.
func TestDatabaseUnderAnOldName(t *testing.T) {
	server := must(t, sharedPostgres[15])
	w := &tap{url: server.URL}
	drop := func(name string) string { return "DROP DATABASE IF EXISTS " + name + " WITH (FORCE)" }
	w.admin(t, t.Context(), "postgres", drop("lab"), drop("lab_copy"), "CREATE DATABASE lab")
	if _, err := outbox.Setup(t.Context(), outbox.SetupConfig{ConnString: server.URL("lab"), Slot: "lab"}); err != nil {
		t.Fatal(err)
	}
	w.admin(t, t.Context(), "lab", "SELECT pg_drop_replication_slot('lab')")
	address, p := serve(t, proxy.Config{Servers: []proxy.Server{{Address: server.Address()}}, Key: make([]byte, 32), SQLText: true})
	proxied := &tap{url: func(database string) string {
		return "postgres://postgres@" + address + "/" + database + "?sslmode=disable"
	}}
	noted := func(want int64, what string, texts ...string) {
		t.Helper()
		before := p.Stats().Notes
		proxied.admin(t, t.Context(), "lab", texts...)
		if got := p.Stats().Notes - before; got != want {
			t.Errorf("%s: %d notes, want %d", what, got, want)
		}
	}
	noted(2, "at first", "CREATE TABLE a (i int)", "INSERT INTO a VALUES (1)")
	dump, err := exec.CommandContext(t.Context(), "pg_dump", "-d", server.URL("lab")).Output()
	if err != nil {
		t.Fatal(err)
	}
	w.admin(t, t.Context(), "postgres", "CREATE DATABASE lab_copy TEMPLATE lab", drop("lab"), "CREATE DATABASE lab")
	noted(0, "made again", "CREATE TABLE a (i int)", "INSERT INTO a VALUES (1)")
	w.admin(t, t.Context(), "postgres", drop("lab"), "CREATE DATABASE lab")
	restore := exec.CommandContext(t.Context(), "psql", "-Xqd", server.URL("lab"))
	restore.Stdin = bytes.NewReader(dump)
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	noted(0, "restored", "INSERT INTO a VALUES (2)")
	w.admin(t, t.Context(), "postgres", drop("lab"), "ALTER DATABASE lab_copy RENAME TO lab")
	noted(0, "a copy by template", "INSERT INTO a VALUES (2)")
	if _, err := outbox.Setup(t.Context(), outbox.SetupConfig{ConnString: server.URL("lab"), Slot: "lab"}); err != nil {
		t.Fatal(err)
	}
	w.admin(t, t.Context(), "lab", "SELECT pg_drop_replication_slot('lab')")
	if err := harness.Eventually(20*time.Second, func(context.Context) error { // "no outbox" is believed for a while
		before := p.Stats().Notes
		proxied.admin(t, t.Context(), "lab", "INSERT INTO a VALUES (3)")
		if p.Stats().Notes == before {
			return errors.New("after setup: no note")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}
