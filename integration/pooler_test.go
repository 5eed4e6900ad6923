package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// A pooler on either side of the proxy changes no result. Before the server it hides which process serves a session: then the notes are
// neither verified nor false.
func TestPoolerOnEitherSide(t *testing.T) {
	for _, mode := range []string{"session", "transaction"} {
		for _, outbox := range []string{"table", "message"} {
			t.Run(mode+" "+outbox, func(t *testing.T) {
				t.Parallel()
				r := newRunner(t, must(t, sharedBinary), must(t, sharedPostgres[15]), outbox)
				r.Start("CREATE TABLE t (n int, v text);")
				inFront := r.pooler(r.proxyAddress, mode, "extra_float_digits") // of the proxy
				behind := r.pooler(r.server.Address(), mode, "extra_float_digits")
				direct := r.proxyAddress
				address, err := harness.FreeAddress()
				r.must(err)
				r.process("chain", "proxy", "--listen", address, "--postgres", "postgres://postgres@"+behind+"/"+r.database+"?sslmode=disable", "--key", r.keyFile(), "--outbox", r.outbox)
				for i, at := range []string{inFront, address} {
					for n := range 4 {
						r.proxyAddress = at
						conn := r.dialSoon(r.ProxyURL("postgres", "app")) // the second proxy has just been started
						for m := range 5 {
							_, err := conn.Exec(r.ctx, "INSERT INTO t VALUES ($1, $2)", pgx.QueryExecModeExec, i, fmt.Sprint(n, m))
							r.must(err)
							r.exec(conn, fmt.Sprintf("BEGIN; INSERT INTO t VALUES (%d, 'a')", i))
							_, err = conn.Exec(r.ctx, "INSERT INTO t VALUES ($1, $2)", pgx.QueryExecModeExec, i, "b")
							r.must(err)
							r.exec(conn, "COMMIT")
						}
						conn.Close(r.ctx)
					}
				}
				r.proxyAddress = direct
				r.Drain()
				counts := map[string]int{}
				for _, e := range r.Events("public.t") {
					counts[fmt.Sprint(e.After["n"], " ", e.Pgtee.Via, " ", e.Pgtee.Verified, " ", e.Pgtee.Reason)]++
				}
				if want := map[string]int{"0 proxy true ": 60, "1 proxy false pooler": 60}; fmt.Sprint(counts) != fmt.Sprint(want) {
					t.Errorf("%v, want %v", counts, want)
				}
			})
		}
	}
}

// dialSoon connects to what has just been started.
func (r *runner) dialSoon(url string) (conn *pgx.Conn) {
	r.t.Helper()
	r.must(harness.Eventually(20*time.Second, func(ctx context.Context) (err error) {
		conn, err = pgx.Connect(ctx, url)
		return err
	}))
	return conn
}

// pooler starts PgBouncer before an address, and returns its own. It ignores these settings of a login.
func (r *runner) pooler(server, mode, ignored string) string {
	r.t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	address, err := harness.FreeAddress()
	r.must(err)
	host, port, err := net.SplitHostPort(server)
	r.must(err)
	_, listen, err := net.SplitHostPort(address)
	r.must(err)
	config := filepath.Join(r.dir, "pgbouncer-"+listen+".ini")
	r.must(os.WriteFile(config, fmt.Appendf(nil, `[databases]
%s = host=%s port=%s user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 2
ignore_startup_parameters = %s
`, r.database, host, port, listen, mode, ignored), 0o644))
	user, err := harness.Unprivileged()
	r.must(err)
	p, err := harness.Start(r.dir, harness.Command{Name: "pgbouncer", Args: []string{program, config}, User: user})
	r.must(err)
	r.t.Cleanup(p.Kill)
	r.must(harness.Eventually(10*time.Second, func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}))
	return address
}
