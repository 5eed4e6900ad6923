package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

const slot = "regress"

var masterKey = strings.Repeat("5e", 32)

// settings are the same in every leg: those that pgtee and the suites need, otherwise PostgreSQL's defaults, on which the plans in the expected
// output depend.
var settings = []string{
	"wal_level=logical", "max_slot_wal_keep_size=8GB", "max_prepared_transactions=10", "fsync=off",
	"listen_addresses=127.0.0.1", "unix_socket_directories=", "log_line_prefix=%m [%p] %q%a ",
}

// prepare creates the database as pg_regress does (create_database() in pg_regress.c), so that all legs have the same one.
const prepare = `
	CREATE DATABASE %[1]s TEMPLATE=template0;
	ALTER DATABASE %[1]s SET lc_messages TO 'C';
	ALTER DATABASE %[1]s SET lc_monetary TO 'C';
	ALTER DATABASE %[1]s SET lc_numeric TO 'C';
	ALTER DATABASE %[1]s SET lc_time TO 'C';
	ALTER DATABASE %[1]s SET bytea_output TO 'hex';
	ALTER DATABASE %[1]s SET timezone_abbreviations TO 'Default'`

// place is where a suite runs once: a new server and, if the leg has one, a proxy in front of it.
type place struct {
	*bench
	server, proxy *harness.Process
	address       string   // of the server
	folders       []string // deleted at the end, because a data folder may have gigabytes
}

// measure runs a suite in a leg and leaves its output and the logs in dir.
func (b *bench) measure(s suite, l leg, dir string) (err error) {
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return err
	}
	p := &place{bench: b}
	defer func() { err = errors.Join(err, p.close(dir)) }()
	if err := p.startServer(); err != nil {
		return err
	}
	if err := p.makeDatabase(s.database, l); err != nil {
		return err
	}
	address := p.address
	if l.outbox != "" {
		if address, err = p.startProxy(l.outbox); err != nil {
			return err
		}
	}
	// The suite runs as a user who may not have access to dir.
	out, err := p.own("out")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(address) // ours
	printed, err := p.call(s, port, out)
	// Not for the isolation suite: it writes into a partition whose DETACH CONCURRENTLY was interrupted, and decoding that crashes PostgreSQL.
	if err == nil && l.outbox != "" && s.name == "regress" {
		key, _ := hex.DecodeString(masterKey) // ours
		var noted harness.Noted
		if noted, err = harness.CountNotes(context.Background(), url(p.address, s.database), slot, key); err == nil {
			fmt.Printf("%s %s %v\n", s.name, l.name, noted)
		}
	}
	return errors.Join(err, os.CopyFS(dir, os.DirFS(out)), os.WriteFile(filepath.Join(dir, "printed"), []byte(printed), 0o644))
}

// program returns the path of a program installed by source.sh.
func (b *bench) program(name string) string {
	return filepath.Join(b.postgres, "installed", "bin", name)
}

// own creates a temporary folder that belongs to the server's user.
func (p *place) own(name string) (dir string, err error) {
	if dir, err = p.world.Sub(name); err != nil {
		return "", err
	}
	p.folders = append(p.folders, dir)
	if p.owner == nil {
		return dir, nil
	}
	return dir, os.Chown(dir, int(p.owner.Uid), int(p.owner.Gid))
}

// start starts an installed program as the server's user.
func (b *bench) start(name string, args ...string) (*harness.Process, error) {
	c := harness.Command{Name: name, Args: append([]string{b.program(name)}, args...), Dir: b.world.Dir, User: b.owner, Death: syscall.SIGQUIT}
	return harness.Start(b.world.Dir, c)
}

func (p *place) startServer() (err error) {
	data, err := p.own("data")
	if err != nil {
		return err
	}
	initdb, err := p.start("initdb", "-D", data, "-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "--auth=trust")
	if err != nil {
		return err
	}
	if code, err := initdb.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("initdb exits with %d (%v): %s", code, err, initdb.Log())
	}
	if p.address, err = harness.FreeAddress(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(p.address) // ours
	args := []string{"-D", data, "-p", port}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	if p.server, err = p.start("postgres", args...); err != nil {
		return err
	}
	return p.await(p.server, p.address)
}

func (p *place) makeDatabase(name string, l leg) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, url(p.address, "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for statement := range strings.SplitSeq(fmt.Sprintf(prepare, name), ";") { // CREATE DATABASE must be sent alone
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	if !l.setup {
		return nil
	}
	setup, err := harness.Start(p.world.Dir, harness.Command{Name: "setup", Args: []string{p.binary, "setup", "--postgres", url(p.address, name), "--slot", slot}})
	if err != nil {
		return err
	}
	if code, err := setup.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("setup exits with %d (%v): %s", code, err, setup.Log())
	}
	return nil
}

func (p *place) startProxy(outbox string) (address string, err error) {
	if address, err = harness.FreeAddress(); err != nil {
		return "", err
	}
	key := filepath.Join(p.world.Dir, "key")
	if err := os.WriteFile(key, []byte(masterKey+"\n"), 0o600); err != nil {
		return "", err
	}
	args := []string{p.binary, "proxy", "--outbox", outbox, "--key", key, "--listen", address, "--postgres", url(p.address, "postgres")}
	if p.proxy, err = harness.Start(p.world.Dir, harness.Command{Name: "proxy", Args: args}); err != nil {
		return "", err
	}
	return address, p.await(p.proxy, address)
}

// await waits until a login at this address succeeds.
func (p *place) await(process *harness.Process, address string) error {
	return harness.Eventually(20*time.Second, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, url(address, "postgres"))
		if err != nil {
			return fmt.Errorf("%w: %s", err, process.Tail(5))
		}
		return conn.Close(ctx)
	})
}

func url(address, database string) string {
	return "postgres://postgres@" + address + "/" + database + "?sslmode=disable"
}

// close stops proxy and server, keeps their logs but not their folders, and returns an error if one of them had already ended.
func (p *place) close(dir string) error {
	var errs []error
	for _, process := range []*harness.Process{p.proxy, p.server} {
		if process == nil {
			continue
		}
		if !process.Running() {
			errs = append(errs, fmt.Errorf("%s has ended during the suite: %s", process.Name, process.Tail(20)))
		}
		errs = append(errs, process.Stop(syscall.SIGINT, time.Minute), os.WriteFile(filepath.Join(dir, process.Name+".log"), []byte(process.Log()), 0o644))
	}
	for _, dir := range p.folders {
		errs = append(errs, os.RemoveAll(dir))
	}
	return errors.Join(errs...)
}
