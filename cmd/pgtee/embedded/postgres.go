// Package embedded runs a private PostgreSQL server and a Kafka-protocol broker, for the demo and for integration tests.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// PostgresConfig says which server to run and where. The zero value means the newest installed version (or a downloaded one) on a free port in a
// temporary folder.
type PostgresConfig struct {
	Major    int               // 14 to 18; 0: the newest installed, otherwise downloaded
	Dir      string            // the server's folder: data/ and postgres.log; "": a temporary folder
	Port     int               // on 127.0.0.1; 0: any free port
	Settings map[string]string // override defaultSettings
	Password string            // of the superuser postgres; "": every user of this machine is trusted
}

// defaultSettings are the settings that pgtee requires of a server, with low memory usage.
var defaultSettings = map[string]string{
	"wal_level":                 "logical",
	"max_wal_senders":           "20",
	"max_replication_slots":     "20",
	"max_prepared_transactions": "20",
	"max_slot_wal_keep_size":    "1GB",
	"shared_buffers":            "32MB",
	"listen_addresses":          "127.0.0.1",
	"unix_socket_directories":   "", // the path of a temporary folder may be too long for a socket
	"log_min_messages":          "log",
}

// Postgres is one private server. Its methods may be called by one goroutine at a time.
type Postgres struct {
	config   PostgresConfig
	programs binaries
	owner    *owner
	process  *process // nil while it is not running
	settings map[string]string
	tempDir  bool // Dir is temporary: Remove may delete it
	anyPort  bool // the port was chosen here and has not been used yet
}

// NewPostgres finds or downloads the programs, and creates the data folder unless it exists. It does not start the server.
func NewPostgres(ctx context.Context, config PostgresConfig) (*Postgres, error) {
	p, err := newServer(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(p.DataDir(), "PG_VERSION")); err == nil {
		return p, nil
	}
	if err := p.initialise(ctx); err != nil {
		return nil, errors.Join(err, p.Remove())
	}
	return p, nil
}

// newServer prepares everything except the contents of the data folder.
func newServer(ctx context.Context, config PostgresConfig) (*Postgres, error) {
	programs, err := findBinaries(ctx, config.Major)
	if err != nil {
		return nil, err
	}
	p := &Postgres{config: config, programs: programs, settings: maps.Clone(defaultSettings)}
	maps.Copy(p.settings, config.Settings)
	if p.owner, err = unprivilegedOwner(); err != nil {
		return nil, err
	}
	if config.Port == 0 {
		p.anyPort = true
		if p.config.Port, err = freePort(); err != nil {
			return nil, err
		}
	}
	if err := p.makeDirs(); err != nil {
		return nil, errors.Join(err, p.Remove())
	}
	return p, nil
}

func (p *Postgres) makeDirs() (err error) {
	if p.config.Dir == "" {
		p.tempDir = true
		if p.config.Dir, err = os.MkdirTemp("", "pgtee-postgres-*"); err != nil {
			return fmt.Errorf("make a temporary folder: %w", err)
		}
		if err := os.Chmod(p.config.Dir, 0o755); err != nil {
			return err
		}
	}
	if p.config.Dir, err = filepath.Abs(p.config.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(p.config.Dir, 0o755); err != nil {
		return fmt.Errorf("make the server's folder: %w", err)
	}
	if err := p.owner.reach(p.DataDir()); err != nil {
		return err
	}
	if err := os.MkdirAll(p.DataDir(), 0o700); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	if err := p.owner.own(p.DataDir()); err != nil {
		return fmt.Errorf("give the data folder to the server's user: %w", err)
	}
	return nil
}

// initialise runs initdb: UTF-8, C locale, superuser postgres.
func (p *Postgres) initialise(ctx context.Context) error {
	args := []string{"-D", p.DataDir(), "-U", "postgres", "--encoding=UTF8", "--locale=C", "--no-sync"}
	if p.config.Password == "" {
		return p.run(ctx, "initdb", append(args, "--auth=trust")...)
	}
	secret := filepath.Join(p.config.Dir, "password")
	if err := os.WriteFile(secret, []byte(p.config.Password), 0o600); err != nil {
		return fmt.Errorf("write the password file: %w", err)
	}
	defer os.Remove(secret)
	if err := p.owner.own(secret); err != nil {
		return fmt.Errorf("give the password file to the server's user: %w", err)
	}
	return p.run(ctx, "initdb", append(args, "--auth=scram-sha-256", "--pwfile="+secret)...)
}

// Set changes a setting, with effect from the next Start.
func (p *Postgres) Set(name, value string) { p.settings[name] = value }

// Start starts the server and returns when it accepts connections.
func (p *Postgres) Start(ctx context.Context) error {
	if p.process != nil {
		return nil
	}
	err := p.start(ctx)
	for tries := 0; p.anyPort && errors.Is(err, errPortTaken) && tries < 3; tries++ {
		if p.config.Port, err = freePort(); err != nil {
			return err
		}
		err = p.start(ctx)
	}
	p.anyPort = p.anyPort && err != nil
	return err
}

func (p *Postgres) start(ctx context.Context) error {
	args := []string{"-D", p.DataDir(), "-p", strconv.Itoa(p.config.Port)}
	for _, name := range slices.Sorted(maps.Keys(p.settings)) {
		args = append(args, "-c", name+"="+p.settings[name])
	}
	started, err := p.startProcess(args)
	if err != nil {
		return err
	}
	if err := p.awaitReady(ctx, started); err != nil {
		started.kill()
		return err
	}
	p.process = started
	return nil
}

// StopMode says how a server stops: https://www.postgresql.org/docs/current/server-shutdown.html
type StopMode syscall.Signal

const (
	Smart     = StopMode(syscall.SIGTERM) // waits for the clients to leave
	Fast      = StopMode(syscall.SIGINT)  // ends the sessions, writes a checkpoint
	Immediate = StopMode(syscall.SIGQUIT) // as after a crash
)

// Stop stops the server and waits until it has ended, or kills it when ctx ends. Stopping a server that is not running is not an error.
func (p *Postgres) Stop(ctx context.Context, mode StopMode) error {
	if p.process == nil {
		return nil
	}
	running := p.process
	p.process = nil
	running.signal(syscall.Signal(mode))
	select {
	case <-running.gone:
		return nil
	case <-ctx.Done():
		running.kill()
		return fmt.Errorf("PostgreSQL did not stop in time and was killed: %w", ctx.Err())
	}
}

// Kill ends all of the server's processes immediately, as a failing machine would, and waits until they have ended.
func (p *Postgres) Kill() {
	if p.process != nil {
		p.process.kill()
		p.process = nil
	}
}

// Restart stops the server (fast) and starts it with the current settings.
func (p *Postgres) Restart(ctx context.Context) error {
	if err := p.Stop(ctx, Fast); err != nil {
		return err
	}
	return p.Start(ctx)
}

// Remove kills the server if it is running, and deletes its folder if that is temporary.
func (p *Postgres) Remove() error {
	p.Kill()
	if !p.tempDir {
		return nil
	}
	return os.RemoveAll(p.config.Dir)
}

// URL returns the connection string of the superuser, including the password.
func (p *Postgres) URL(database string) string {
	user := url.User("postgres")
	if p.config.Password != "" {
		user = url.UserPassword("postgres", p.config.Password)
	}
	address := url.URL{Scheme: "postgres", User: user, Host: p.Address(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return address.String()
}

// Address returns the host:port on which the server listens.
func (p *Postgres) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.Port())) }

// Port returns the server's TCP port.
func (p *Postgres) Port() int { return p.config.Port }

// Major returns the server's major version.
func (p *Postgres) Major() int { return p.programs.major }

// DataDir returns the server's PGDATA.
func (p *Postgres) DataDir() string { return filepath.Join(p.config.Dir, "data") }

// LogFile returns the file to which the server writes its log.
func (p *Postgres) LogFile() string { return filepath.Join(p.config.Dir, "postgres.log") }

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}
