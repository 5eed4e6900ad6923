// Package console drives the console in Chromium over a running demo; with the build tag full (make console-test) also over a real Kafka, and with axe.
package console

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

var world *harness.World

func TestMain(m *testing.M) {
	code, err := runAll(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration/console:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runAll(m *testing.M) (code int, err error) {
	if world, err = harness.Open(); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	return m.Run(), nil
}

// full reports whether the package is tested with the build tag full.
var full bool

var sharedBinary = sync.OnceValues(func() (string, error) { return world.Build() })

// demo is a running `pgtee demo`.
type demo struct {
	process *harness.Process
	URL     string // of the console
	psql    string // connection string of alice, through the proxy
}

var sharedDemo = sync.OnceValues(func() (*demo, error) {
	binary, err := sharedBinary()
	if err != nil {
		return nil, err
	}
	dir, err := world.Sub("demo")
	if err != nil {
		return nil, err
	}
	p, err := harness.Start(world.Dir, harness.Command{Name: "demo", Args: []string{binary, "demo", "--dir", filepath.Join(dir, "files")}})
	if err != nil {
		return nil, err
	}
	world.OnClose(func() error { return p.StopWell() })
	d := &demo{process: p}
	return d, harness.Eventually(3*time.Minute, func(context.Context) error {
		page := regexp.MustCompile(`(http://127\.0\.0\.1:\d+/)  \(in a browser\)`).FindStringSubmatch(p.Log())
		psql := regexp.MustCompile(`psql '([^']+)'`).FindStringSubmatch(p.Log())
		if page == nil || psql == nil {
			return errors.Join(errors.New("the demo does not say where its console is"), p.Alive())
		}
		d.URL, d.psql = page[1], psql[1]
		return nil
	})
})

// theDemo returns the demo, or ends the test.
func theDemo(t *testing.T) *demo {
	t.Helper()
	d, err := sharedDemo()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// connect opens a session through the demo's proxy. user is one of the shop's people.
func (d *demo) connect(t *testing.T, user, application string) *pgx.Conn {
	t.Helper()
	url := regexp.MustCompile(`//alice:`).ReplaceAllString(d.psql, "//"+user+":")
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = application
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func execute(t *testing.T, conn *pgx.Conn, sql string, args ...any) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
