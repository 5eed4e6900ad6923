package integration

import (
	"fmt"
	"strings"
	"testing"
)

// What an administrator has set for the publisher's role is made for applications: none of our connections minds it.
func TestSettingsOfTheRole(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[18]), "table")
	r.Exec(stopSchema + `CREATE TABLE big (id int PRIMARY KEY, v text); DROP ROLE IF EXISTS strict; CREATE ROLE strict LOGIN SUPERUSER;
		ALTER ROLE strict SET transaction_timeout = '200ms'; ALTER ROLE strict SET statement_timeout = '300ms'; ALTER ROLE strict SET lock_timeout = '1ms';
		ALTER ROLE strict SET idle_session_timeout = '300ms'; ALTER ROLE strict SET idle_in_transaction_session_timeout = '300ms';
		ALTER ROLE strict SET default_transaction_read_only = on; ALTER ROLE strict SET default_transaction_deferrable = on;
		ALTER ROLE strict SET default_transaction_isolation = 'serializable'; ALTER ROLE strict SET tcp_user_timeout = 1`)
	t.Cleanup(func() { r.Exec("DROP OWNED BY strict; DROP ROLE strict") })
	strict := func(args []string) []string {
		for i := range args {
			if args[i] == r.URL() {
				args[i] = r.DirectURL("strict", "pgtee")
			}
		}
		return args
	}
	if out, code := r.Pgtee(strict([]string{"setup", "--postgres", r.URL(), "--slot", r.slot})...); code != 0 {
		t.Fatalf("setup exits with %d:\n%s", code, out)
	}
	const rows = 50000
	r.Exec(fmt.Sprintf("INSERT INTO big SELECT g, repeat('x', 1000) FROM generate_series(1, %d) AS g", rows))
	r.publisher = r.process("publish", append(strict(r.publishArgs()), "--snapshot", "initial", "--snapshot-rows-per-second", "100000")...)
	r.Drain()
	r.AwaitSnapshots("initial")
	if n := r.ExpectFolded("big", []string{"id"}).Copied; n != rows {
		t.Errorf("%d rows copied, want %d", n, rows)
	}
	if log := r.publisher.Log(); strings.Contains(log, "timeout") || strings.Contains(log, "read-only") {
		t.Errorf("a setting of the role is minded:\n%s", r.publisher.Tail(10))
	}
	r.Stop(r.publisher)
}

// Managed services let a role replicate by membership. Whether such a role may is for the server to say.
func TestReplicationByMembership(t *testing.T) {
	for _, major := range []int{15, 18} {
		t.Run(fmt.Sprint("PostgreSQL ", major), func(t *testing.T) {
			r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[major]), "table")
			r.Exec(fmt.Sprintf("CREATE ROLE rds_replication NOLOGIN; CREATE ROLE rds_app LOGIN; CREATE ROLE rds_other LOGIN; GRANT rds_replication TO rds_app; GRANT CREATE ON DATABASE %s TO rds_app, rds_other", r.database))
			t.Cleanup(func() {
				r.Exec("DROP OWNED BY rds_app, rds_other; DROP ROLE rds_app; DROP ROLE rds_other; DROP ROLE rds_replication")
			})
			if out, _ := r.Pgtee("check", "--postgres", r.DirectURL("rds_app", "pgtee"), "--slot", r.slot); strings.Contains(out, "lacks the privilege to use replication slots") {
				t.Errorf("check judges by the role's attributes:\n%s", out)
			}
			out, code := r.Pgtee("check", "--postgres", r.DirectURL("rds_other", "pgtee"), "--slot", r.slot)
			if code != 2 || !strings.Contains(out, "run GRANT rds_replication TO rds_other as the master user") {
				t.Errorf("check exits with %d:\n%s", code, out)
			}
			out, code = r.Pgtee("setup", "--postgres", r.DirectURL("rds_app", "pgtee"), "--slot", r.slot)
			if code == 0 || !strings.Contains(out, "create slot") || !strings.Contains(out, "SQLSTATE 42501") || !strings.Contains(out, "does not let role rds_app create them") {
				t.Errorf("setup exits with %d, and does not say what the server refuses:\n%s", code, out)
			}
		})
	}
}

// Nothing can be replicated through a pooler: one line says so.
func TestPooler(t *testing.T) {
	r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), "table")
	for name, ignored := range map[string]string{
		"refuses settings": "extra_float_digits",
		"ignores settings": "extra_float_digits,replication,search_path,statement_timeout,lock_timeout,idle_session_timeout,idle_in_transaction_session_timeout," +
			"client_connection_check_interval,tcp_keepalives_idle,tcp_keepalives_interval,tcp_keepalives_count,tcp_user_timeout,default_transaction_isolation," +
			"default_transaction_read_only,default_transaction_deferrable,wal_sender_timeout,client_min_messages,intervalstyle,lc_monetary,bytea_output",
	} {
		pooled := r.urlAt(r.pooler(r.server.Address(), "session", ignored), "postgres", "pgtee")
		for _, command := range [][]string{{"check"}, {"setup"}, append([]string{"publish"}, "--kafka", r.broker.Address, "--prefix", r.prefix, "--key", r.keyFile())} {
			out, code := r.Pgtee(append(command, "--postgres", pooled, "--slot", r.slot)...)
			if code != 2 || !strings.Contains(out, "is a pooler") || !strings.Contains(out, "name the server itself in --postgres") {
				t.Errorf("%s: pgtee %s exits with %d:\n%s", name, command[0], code, out)
			}
		}
	}
}
