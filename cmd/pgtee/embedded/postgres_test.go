package embedded

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func within(t *testing.T, limit time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, config PostgresConfig) *Postgres {
	t.Helper()
	ctx := within(t, 2*time.Minute)
	p, err := NewPostgres(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Remove(); err != nil {
			t.Error(err)
		}
	})
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	ctx := within(t, time.Minute)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var answer string
	if err := conn.QueryRow(ctx, sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

func TestPostgresLifeCycle(t *testing.T) {
	p := start(t, PostgresConfig{Password: "correct horse", Settings: map[string]string{"work_mem": "3MB"}})
	for sql, want := range map[string]string{
		"SHOW wal_level": "logical",
		"SHOW work_mem":  "3MB",
		"SHOW fsync":     "on",
	} {
		if got := query(t, p.URL("postgres"), sql); got != want {
			t.Errorf("%s = %s, want %s", sql, got, want)
		}
	}
	if _, err := pgx.Connect(within(t, time.Minute), strings.Replace(p.URL("postgres"), "horse", "donkey", 1)); err == nil {
		t.Error("a wrong password is let in")
	}
	query(t, p.URL("postgres"), "SELECT pg_switch_wal()::text")
	children := childrenOf(p.process.pid)
	p.Kill()
	if runtime.GOOS == "linux" && len(children) == 0 || slices.ContainsFunc(children, isRunning) {
		t.Errorf("of the processes %v some still run after a kill", children)
	}
	if err := p.Start(within(t, time.Minute)); err != nil {
		t.Fatalf("start after a kill: %v", err)
	}
	p.Set("work_mem", "5MB")
	if err := p.Restart(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := query(t, p.URL("postgres"), "SHOW work_mem"); got != "5MB" {
		t.Errorf("work_mem = %s after Set and Restart, want 5MB", got)
	}
	if err := p.Stop(within(t, time.Minute), Smart); err != nil {
		t.Fatal(err)
	}
	dir := p.config.Dir
	if err := p.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Errorf("%s is still there", dir)
	}
}

func TestPostgresSaysWhyItDoesNotStart(t *testing.T) {
	p := start(t, PostgresConfig{})
	if err := p.Stop(within(t, time.Minute), Immediate); err != nil {
		t.Fatal(err)
	}
	p.Set("wal_level", "nonsense")
	err := p.Start(within(t, time.Minute))
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "wal_level": "nonsense"`) {
		t.Fatalf("error = %v, want the server's own words", err)
	}
}

// TestRootNamesTheFolderThatIsInTheWay: t.TempDir() lets nobody but its owner in.
func TestRootNamesTheFolderThatIsInTheWay(t *testing.T) {
	other := &owner{uid: 65533, gid: 65533}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := other.reach(filepath.Join(dir, "data")); err == nil || !strings.Contains(err.Error(), "may not enter "+dir) {
		t.Errorf("error %v", err)
	}
	if err := other.reach("/usr/bin/env"); err != nil {
		t.Error(err)
	}
}

// TestPostgresFindsAnotherPort: the port may be taken between the choice and the start, unless it was
// the caller's choice.
func TestPostgresFindsAnotherPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	p := start(t, PostgresConfig{})
	if err := p.Stop(within(t, time.Minute), Fast); err != nil {
		t.Fatal(err)
	}
	p.config.Port = port
	if err := p.Start(within(t, time.Minute)); !errors.Is(err, errPortTaken) {
		t.Errorf("start on a port that is taken: %v", err)
	}
	p.anyPort = true
	if err := p.Start(within(t, time.Minute)); err != nil || p.Port() == port {
		t.Errorf("port %d, error %v", p.Port(), err)
	}
}

func TestParseMajor(t *testing.T) {
	for text, want := range map[string]int{
		"postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18beta1\n":                        18,
		"postgres (PostgreSQL) 17":                               17,
		"psql 15":                                                0,
	} {
		if got, ok := parseMajor(text); got != want || ok != (want != 0) {
			t.Errorf("%q = %d, %v, want %d", text, got, ok, want)
		}
	}
}

// TestStandby runs on the fetched programs: they are what a machine without PostgreSQL has.
func TestStandby(t *testing.T) {
	primary := start(t, PostgresConfig{Major: 18, Password: "it's \"secret\""})
	if got := query(t, primary.URL("postgres"), "SHOW server_version"); !strings.HasPrefix(got, "18") {
		t.Fatalf("server_version = %s, want 18", got)
	}
	standby, err := primary.Standby(within(t, time.Minute), PostgresConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = standby.Remove() })
	if err := standby.Start(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := query(t, standby.URL("postgres"), "SELECT pg_is_in_recovery()::text"); got != "true" {
		t.Fatalf("pg_is_in_recovery() = %s", got)
	}
	query(t, primary.URL("postgres"), "SELECT lo_create(4711)::text")
	until := within(t, time.Minute)
	for query(t, standby.URL("postgres"), "SELECT count(*)::text FROM pg_largeobject_metadata") != "1" {
		if until.Err() != nil {
			t.Fatal("the primary's write did not reach the standby")
		}
	}
	if err := standby.Promote(within(t, time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got := query(t, standby.URL("postgres"), "SELECT count(*)::text FROM pg_stat_wal_receiver"); got != "0" {
		t.Errorf("the promoted server still streams")
	}
}
