package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// way is one way from a client to the server.
type way struct {
	name    string
	address string
	hop     *harness.Process // nil: none
}

// sample is one measurement.
type sample struct {
	tps float64
	cpu float64 // of the hop, microseconds per transaction
}

func (b *bench) startWays() error {
	b.ways = []way{{name: "direct", address: b.server.Address()}}
	if err := b.startPgBouncer(); err != nil {
		return err
	}
	for _, outbox := range []string{"off", "table", "message"} {
		address, err := harness.FreeAddress()
		if err != nil {
			return err
		}
		p, err := b.start("proxy", "--listen", address, "--postgres", b.server.URL(database), "--key", b.dir+"/key", "--outbox", outbox)
		if err != nil {
			return err
		}
		b.ways = append(b.ways, way{"pgtee " + outbox, address, p})
	}
	for _, w := range b.ways {
		if err := harness.Eventually(20*time.Second, w.ping); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

func (w way) ping(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, "postgres://postgres@"+w.address+"/"+database+"?sslmode=disable")
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// startPgBouncer starts it in session mode. It refuses root, so it runs as the server's user.
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
	config := filepath.Join(b.dir, "pgbouncer.ini")
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
`, database, b.server.Port(), port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return err
	}
	user, err := harness.Unprivileged()
	if err != nil {
		return err
	}
	p, err := b.startCommand(harness.Command{Name: "pgbouncer", Args: []string{program, config}, User: user})
	if err != nil {
		return err
	}
	b.ways = append(b.ways, way{"PgBouncer, session mode", address, p})
	return nil
}

// measureHops measures every way once per round and protocol, and prints a table per protocol.
func (b *bench) measureHops(protocols []string) error {
	for _, protocol := range protocols {
		samples := make([][]sample, len(b.ways))
		for round := range b.rounds {
			for i := range b.ways {
				i := (i + round) % len(b.ways) // nobody is always first
				s, err := b.measure(b.ways[i], protocol)
				if err != nil {
					return fmt.Errorf("%s: %w", b.ways[i].name, err)
				}
				samples[i] = append(samples[i], s)
			}
		}
		b.printHops(protocol, samples)
	}
	return nil
}

func (b *bench) measure(w way, protocol string) (s sample, err error) {
	var before, after time.Duration
	if w.hop != nil {
		if before, err = w.hop.CPUSoFar(); err != nil {
			return s, err
		}
	}
	out, err := b.pgbench(w.address, "-n", "-c", fmt.Sprint(b.clients), "-T", fmt.Sprint(b.seconds), "-M", protocol)
	if err != nil {
		return s, err
	}
	if w.hop != nil {
		if after, err = w.hop.CPUSoFar(); err != nil {
			return s, err
		}
	}
	done, tps, err := readPgbench(out)
	if err != nil {
		return s, err
	}
	b.rows += 4 * done // tpcb-like: three updates and an insert
	return sample{tps, float64((after - before).Microseconds()) / float64(done)}, nil
}

var (
	processedLine = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
	tpsLine       = regexp.MustCompile(`tps = ([0-9.]+)`)
)

func readPgbench(out string) (done int, tps float64, err error) {
	processed, rate := processedLine.FindStringSubmatch(out), tpsLine.FindStringSubmatch(out)
	if processed == nil || rate == nil {
		return 0, 0, fmt.Errorf("pgbench says no number: %s", out)
	}
	if done, err = strconv.Atoi(processed[1]); err != nil {
		return 0, 0, err
	}
	tps, err = strconv.ParseFloat(rate[1], 64)
	return done, tps, err
}

func (b *bench) pgbench(address string, args ...string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(b.ctx, "pgbench", append(append([]string{"-h", host, "-p", port, "-U", "postgres"}, args...), database)...)
	cmd.Env = append(os.Environ(), "PGSSLMODE=disable")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return string(out), nil
}
