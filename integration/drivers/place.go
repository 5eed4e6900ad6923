package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

const (
	virgin = "virgin" // the mode without pgtee
	direct = "direct" // after setup, without a proxy; every other mode is a value of --outbox
)

// place is where one run of a suite takes place: a server of its own, databases in which setup has run unless the mode is virgin, and a proxy in
// front of it unless the mode is direct.
type place struct {
	*bench
	mode    string
	suite   suite
	folder  string // of the suite
	server  *embedded.Postgres
	sockets string // folder of the server's Unix socket
	proxy   *harness.Process
	address string // to which the driver connects: host:port
	listens string // folder of the Unix socket to which the driver connects
}

// measure runs the suite once in this mode.
func (b *bench) measure(s suite, folder, mode string) (r results, err error) {
	log := func(what string) string { return filepath.Join(b.logs, s.name+"-"+mode+"-"+what) }
	p := &place{bench: b, mode: mode, suite: s, folder: folder}
	defer func() { err = errors.Join(err, p.close(log("proxy.log"))) }()
	if err := p.startServer(log("prepare.log")); err != nil {
		return nil, err
	}
	if !p.isVirgin() && mode != direct {
		if err := p.startProxy(mode); err != nil {
			return nil, err
		}
	}
	report, err := filepath.Abs(log("report"))
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(report); err != nil {
		return nil, err
	}
	// Most suites fail if a test fails; only the report counts.
	ended := s.call(b.world.Source, folder, "tests", log("tests.log"), b.timeout, append(p.env(p.address, p.listens), "REPORT="+report))
	if errors.Is(ended, errTooLong) {
		return nil, ended
	}
	file, err := os.Open(report)
	if err != nil {
		return nil, errors.Join(ended, err)
	}
	defer file.Close()
	if r, err = s.read(file); err != nil {
		return nil, fmt.Errorf("read %s: %w", report, err)
	}
	if len(r) == 0 {
		return nil, errors.Join(fmt.Errorf("%s names no test", report), ended)
	}
	return r, nil
}

func (p *place) isVirgin() bool { return strings.HasPrefix(p.mode, virgin) }

func (p *place) startServer(log string) (err error) {
	if p.sockets, err = p.socketDir(); err != nil {
		return err
	}
	settings := map[string]string{"unix_socket_directories": p.sockets}
	if p.server, err = p.world.StartPostgres(p.major, settings); err != nil {
		return err
	}
	p.address, p.listens = p.server.Address(), p.sockets
	for _, database := range p.suite.databases {
		if err := p.makeDatabase(database); err != nil {
			return fmt.Errorf("make database %s: %w", database, err)
		}
	}
	if !p.suite.hasPrepare {
		return nil
	}
	env := append(p.env(p.address, p.sockets), "PGDATA="+p.server.DataDir())
	if err := p.suite.call(p.world.Source, p.folder, "prepare", log, time.Minute, env); err != nil {
		return err
	}
	for name, value := range p.suite.settings {
		p.server.Set(name, strings.ReplaceAll(value, "$PGDATA", p.server.DataDir()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.server.Restart(ctx)
}

// socketDir creates a folder whose name is short enough for a Unix socket in it, and which the server's user may access.
func (p *place) socketDir() (string, error) {
	dir, err := p.world.Sub("s")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o777)
}

func (p *place) makeDatabase(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, p.server.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if name != "postgres" {
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
			return err
		}
	}
	if p.isVirgin() {
		return nil
	}
	setup, err := harness.Start(p.world.Dir, harness.Command{Name: "setup", Args: []string{p.binary, "setup", "--postgres", p.server.URL(name), "--slot", "pgtee_" + name}})
	if err != nil {
		return err
	}
	if code, err := setup.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("setup exits with %d (%v): %s", code, err, setup.Log())
	}
	// Nothing reads the slot, and a database with a slot cannot be dropped.
	_, err = conn.Exec(ctx, "SELECT pg_catalog.pg_drop_replication_slot($1)", "pgtee_"+name)
	return err
}

func (p *place) startProxy(mode string) (err error) {
	if p.address, err = harness.FreeAddress(); err != nil {
		return err
	}
	if p.listens, err = p.socketDir(); err != nil {
		return err
	}
	key := filepath.Join(p.sockets, "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("5e", 32)+"\n"), 0o600); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(p.address)
	if err != nil {
		return err
	}
	args := []string{p.binary, "proxy", "--outbox", mode, "--key", key,
		"--listen", p.address + "," + p.listens + "/.s.PGSQL." + port,
		"--postgres", strings.Replace(p.server.URL("postgres"), "sslmode=disable", "sslmode=prefer", 1)}
	if p.suite.tls[0] != "" {
		args = append(args, "--tls-cert", filepath.Join(p.folder, p.suite.tls[0]), "--tls-key", filepath.Join(p.folder, p.suite.tls[1]),
			"--tls-client-ca", filepath.Join(p.folder, p.suite.tls[2]))
	}
	if p.proxy, err = harness.Start(p.world.Dir, harness.Command{Name: "proxy", Args: args}); err != nil {
		return err
	}
	return harness.Eventually(20*time.Second, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, "postgres://postgres@"+p.address+"/postgres?sslmode=disable")
		if err != nil {
			return err
		}
		return conn.Close(ctx)
	})
}

// env returns the variables that tell libpq and compatible drivers where to connect.
func (p *place) env(address, sockets string) []string {
	host, port, _ := net.SplitHostPort(address) // ours
	return []string{"PGHOST=" + host, "PGPORT=" + port, "PGUSER=postgres", "PGDATABASE=" + p.suite.databases[0], "SOCKETS=" + sockets}
}

// close stops the proxy and the server, and keeps the proxy's log.
func (p *place) close(log string) error {
	var errs []error
	if p.proxy != nil {
		p.proxy.Kill()
		errs = append(errs, os.WriteFile(log, []byte(p.proxy.Log()), 0o644))
	}
	if p.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		errs = append(errs, p.server.Stop(ctx, embedded.Immediate), os.RemoveAll(p.server.DataDir()))
	}
	return errors.Join(errs...)
}
