package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// TestReload changes the configuration file under a running proxy. Sessions that are there stay.
func TestReload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pgtee.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log-level: debug\n")
	p := startProxy(t, "--config", file)
	url := "postgres://postgres@" + p.address + "/postgres?sslmode=disable"
	conn, err := open(t, url)
	if err != nil {
		t.Fatal(err)
	}
	reload := func(text, told string) {
		t.Helper()
		write(text)
		if err := p.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		err := harness.Eventually(10*time.Second, func(context.Context) error {
			if !strings.Contains(p.Log(), told) {
				return fmt.Errorf("the log does not say %q: %s", told, p.Tail(3))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	reload("max-sessions: 1\ndrain: 20s\n", `"changed": ["log-level", "max-sessions"], "needs_restart": ["drain"]`)
	if _, err := open(t, url); code(err) != "53300" {
		t.Errorf("the second session: %v", err)
	}
	reload("max-sessions: none\n", "the old one stays in effect")
	if _, err := open(t, url); code(err) != "53300" {
		t.Errorf("the second session after a bad file: %v", err)
	}
	reload("refuse-databases: [postgres]\nidle-in-transaction-timeout: 300ms\n", `"idle-in-transaction-timeout"`)
	if _, err := open(t, url); code(err) != "28000" {
		t.Errorf("a session of a refused database: %v", err)
	}
	if err := conn.Exec(t.Context(), "BEGIN").Close(); err != nil {
		t.Fatalf("the first session: %v", err)
	}
	expectEnd(t, conn, "25P03")
}
