package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// way is one way from a client to the server.
type way struct {
	variant    string
	address    string
	hop        *harness.Process // nil: no hop
	writesOnly bool             // with reads it does the same as another variant
}

func (b *bench) startWays() error {
	b.ways = []way{{variant: "direct", address: b.Server.Address()}}
	if b.wants("pgbouncer") {
		if err := b.startPgBouncer(); err != nil {
			return err
		}
	}
	for _, outbox := range []string{"off", "message", "table"} {
		if err := b.startProxy(outbox, false, "--outbox", outbox); err != nil {
			return err
		}
		if outbox == "off" {
			continue
		}
		if err := b.startProxy(outbox+"-once", true, "--outbox", outbox, "--attribution", "transaction"); err != nil {
			return err
		}
	}
	for _, w := range b.ways {
		if err := harness.Eventually(20*time.Second, w.ping); err != nil {
			return fmt.Errorf("%s: %w", w.variant, err)
		}
	}
	return nil
}

func (b *bench) wants(variant string) bool {
	return b.variants == "" || slices.Contains(strings.Split(b.variants, ","), variant)
}

func (b *bench) startProxy(variant string, writesOnly bool, flags ...string) error {
	if !b.wants(variant) {
		return nil
	}
	address, err := harness.FreeAddress()
	if err != nil {
		return err
	}
	p, err := b.Start(append([]string{"proxy", "--listen", address, "--postgres", b.Server.URL(database), "--key", b.KeyFile()}, flags...)...)
	if err != nil {
		return err
	}
	b.ways = append(b.ways, way{variant, address, p, writesOnly})
	return nil
}

func (w way) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+w.address+"/"+database+"?sslmode=disable")
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// cpu returns the processor time that the hop has used so far.
func (w way) cpu() (time.Duration, error) {
	if w.hop == nil {
		return 0, nil
	}
	return w.hop.CPUSoFar()
}

// startPgBouncer starts PgBouncer in session mode. PgBouncer refuses root, so it runs as the server's user.
func (b *bench) startPgBouncer() error {
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/pgbouncer"); err != nil {
			return fmt.Errorf("find pgbouncer: %w: run make tools", err)
		}
	}
	address, err := harness.FreeAddress()
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	config := filepath.Join(b.Dir, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
%s = host=127.0.0.1 port=%d user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %s
unix_socket_dir =
auth_type = any
pool_mode = session
max_client_conn = 100
default_pool_size = 50
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`, database, b.Server.Port(), port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	user, err := harness.Unprivileged()
	if err != nil {
		return err
	}
	p, err := b.StartCommand(harness.Command{Name: "pgbouncer", Args: []string{program, config}, User: user})
	if err != nil {
		return err
	}
	b.ways = append(b.ways, way{variant: "pgbouncer", address: address, hop: p})
	return nil
}
