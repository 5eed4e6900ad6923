package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestDemo is the demo as people run it.
func TestDemo(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "pgtee-test-demo-*") // the server's user has to enter it; t.TempDir() lets nobody in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, args := range [][]string{{"demo", "--for", "3s"}, {"demo", "--for", "2s", "--dir", dir}, {"demo", "--for", "2s", "--dir", dir, "--log-format", "json"}} {
		got := pgtee(t, args...)
		lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
		var transactions, events int
		n, err := fmt.Sscanf(lines[len(lines)-1], "demo transactions=%d events=%d lost=0 duplicated=0 unattributed=0", &transactions, &events)
		if got.code != exitOK || n != 2 || err != nil || transactions < 5 || events <= transactions {
			t.Errorf("pgtee %v: exit code %d, last line %q, stderr %q", args, got.code, lines[len(lines)-1], got.stderr)
		}
		if strings.Count(got.stdout, "demo transactions=") != 1 || !strings.Contains(got.stdout, "psql 'postgres://alice:") {
			t.Errorf("pgtee %v printed %s", args, got.stdout)
		}
	}
}

// TestDemoSeesABypass writes past the proxy, and reads that in the closing line and the exit code.
func TestDemoSeesABypass(t *testing.T) {
	t.Parallel()
	demo := start(t, "demo", "--for", "6s")
	demo.eventually("the first customers", func() bool { return strings.Contains(demo.stdout.String(), "webshop") })
	direct := regexp.MustCompile(`PostgreSQL \d+ at (\S+),`).FindStringSubmatch(demo.stdout.String())
	proxied := regexp.MustCompile(`psql '(postgres://alice:[^@]+@)[^/]+(/[^']+)'`).FindStringSubmatch(demo.stdout.String())
	if direct == nil || proxied == nil {
		t.Fatalf("no addresses in %s", demo.stdout.String())
	}
	conn, err := pgx.Connect(t.Context(), proxied[1]+direct[1]+proxied[2])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "UPDATE products SET stock = stock + 1 WHERE id = 1"); err != nil {
		t.Fatal(err)
	}
	got := demo.wait()
	got.expectError(t, exitFailure, "the topics do not hold exactly what was committed")
	if !strings.Contains(got.stdout, "(direct)") || !regexp.MustCompile(`lost=0 duplicated=0 unattributed=2\n$`).MatchString(got.stdout) {
		t.Errorf("the demo printed %s", got.stdout)
	}
}
