package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgtee/pgtee/integration/harness"
)

// proxyProcess is the built proxy in front of a shared server, without notes.
type proxyProcess struct {
	*harness.Process
	address, metrics string
}

func startProxy(t *testing.T, flags ...string) *proxyProcess {
	server := must(t, sharedPostgres[18])
	p := &proxyProcess{address: must(t, harness.FreeAddress), metrics: must(t, harness.FreeAddress)}
	args := []string{must(t, sharedBinary), "proxy", "--outbox", "off", "--metrics", p.metrics}
	if !strings.Contains(strings.Join(flags, " "), "--postgres") {
		args = append(args, "--postgres", server.URL("postgres"))
	}
	if !strings.Contains(strings.Join(flags, " "), "--listen") {
		args = append(args, "--listen", p.address)
	}
	started, err := harness.Start(t.TempDir(), harness.Command{Name: "proxy", Args: append(args, flags...)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Kill)
	p.Process = started
	if err := harness.Eventually(20*time.Second, func(context.Context) error { return p.ready() }); err != nil {
		t.Fatalf("%v: %s", err, p.Tail(5))
	}
	return p
}

// ready asks as a load balancer does.
func (p *proxyProcess) ready() error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get("http://" + p.metrics + "/readyz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", answer.Status)
	}
	return nil
}

func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	p := startProxy(t, "--listen", filepath.Join(dir, ".s.PGSQL.6432"))
	for range 2 { // the second finds the socket of one that was killed
		out, err := exec.Command("psql", "-XAtc", "SELECT 1", "host="+dir+" port=6432 user=postgres dbname=postgres").CombinedOutput()
		if err != nil || string(out) != "1\n" {
			t.Fatalf("%s (%v)", out, err)
		}
		p.Kill()
		p = startProxy(t, "--listen", filepath.Join(dir, ".s.PGSQL.6432"))
	}
}

func TestProxyProtocol(t *testing.T) {
	p := startProxy(t, "--proxy-protocol", "--log-level", "debug")
	for _, header := range []string{"PROXY TCP4 192.0.2.7 192.0.2.2 56324 5432\r\n", ""} {
		config, err := pgconn.ParseConfig("postgres://postgres@" + p.address + "/postgres?sslmode=disable")
		if err != nil {
			t.Fatal(err)
		}
		config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err == nil {
				_, err = io.WriteString(conn, header)
			}
			return conn, err
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		conn, err := pgconn.ConnectConfig(ctx, config)
		if (err == nil) != (header != "") {
			t.Errorf("header %q: %v", header, err)
		}
		if err == nil {
			conn.Close(ctx)
		}
	}
	err := harness.Eventually(10*time.Second, func(context.Context) error {
		if !strings.Contains(p.Log(), "192.0.2.7:56324") {
			return fmt.Errorf("the log does not name the client: %s", p.Tail(5))
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRollingRestart ends a proxy under pgbench -C while a load balancer has another one: clients see nothing,
// or 57P01 while they are idle.
func TestRollingRestart(t *testing.T) {
	first, second := startProxy(t, "--drain-delay", "2s"), startProxy(t)
	address := balance(t, first, second)
	host, port, _ := net.SplitHostPort(address)
	bench := exec.Command("pgbench", "-n", "-C", "-c", "8", "-T", "6", "-f", "/dev/stdin", "-h", host, "-p", port, "-U", "postgres", "postgres")
	bench.Stdin = strings.NewReader("SELECT 1;\nBEGIN;\nSELECT pg_sleep(0.01);\nCOMMIT;\n")
	done := make(chan string, 1)
	go func() {
		out, _ := bench.CombinedOutput()
		done <- string(out)
	}()
	if err := harness.Eventually(20*time.Second, func(context.Context) error { return served(first) }); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(syscall.SIGTERM, 20*time.Second); err != nil {
		t.Error(err)
	}
	out := <-done
	if err := served(second); err != nil {
		t.Error(err)
	}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "error") && !strings.Contains(line, "terminating connection due to administrator command") {
			t.Errorf("pgbench: %s", line)
		}
	}
	if !strings.Contains(out, "number of transactions actually processed") {
		t.Errorf("pgbench: %s", out)
	}
}

// served is an error until a proxy has had some sessions.
func served(p *proxyProcess) error {
	text, err := harness.Metrics(p.metrics)
	if err != nil {
		return err
	}
	for line := range strings.Lines(text) {
		var sessions int
		if n, _ := fmt.Sscanf(line, "pgtee_sessions_total %d", &sessions); n == 1 && sessions >= 20 {
			return nil
		}
	}
	return fmt.Errorf("no 20 sessions yet")
}

// balance passes each connection to the first of the proxies that is ready.
func balance(t *testing.T, proxies ...*proxyProcess) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go pass(client, proxies)
		}
	}()
	return listener.Addr().String()
}

func pass(client net.Conn, proxies []*proxyProcess) {
	defer client.Close()
	for _, p := range proxies {
		if p.ready() != nil {
			continue
		}
		server, err := net.Dial("tcp", p.address)
		if err != nil {
			return
		}
		defer server.Close()
		go io.Copy(server, client)
		io.Copy(client, server)
		return
	}
}
