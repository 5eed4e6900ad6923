package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
)

// Bench contains what every measurement needs: the program, a server, and a folder for logs and the key.
type Bench struct {
	World  *World
	Server *embedded.Postgres
	Dir    string

	binary string
}

// NewBench starts a server of a major version with settings. binary is the program to measure; "" builds it now.
func (w *World) NewBench(binary string, major int, settings map[string]string) (b *Bench, err error) {
	b = &Bench{World: w, binary: binary}
	if binary == "" {
		if b.binary, err = w.Build(); err != nil {
			return nil, err
		}
	}
	if b.Dir, err = w.Sub("bench"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.KeyFile(), []byte(strings.Repeat("5e", 32)+"\n"), 0o600); err != nil {
		return nil, err
	}
	b.Server, err = w.StartPostgres(major, settings)
	return b, err
}

// KeyFile returns the key file of proxy and publisher.
func (b *Bench) KeyFile() string { return b.Dir + "/key" }

// Start starts a command of the program; it ends together with the World.
func (b *Bench) Start(args ...string) (*Process, error) {
	return b.StartCommand(Command{Name: args[0], Args: append([]string{b.binary}, args...)})
}

// StartCommand starts another program; it ends together with the World.
func (b *Bench) StartCommand(c Command) (*Process, error) {
	p, err := Start(b.Dir, c)
	if err != nil {
		return nil, err
	}
	b.World.OnClose(func() error { p.Kill(); return nil })
	return p, nil
}

// Run runs a command of the program to its end.
func (b *Bench) Run(args ...string) error {
	p, err := b.Start(args...)
	if err != nil {
		return err
	}
	if code, err := p.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("%s exits with %d (%v): %s", args[0], code, err, p.Log())
	}
	return nil
}

// Query runs one or more statements in a database.
func (b *Bench) Query(ctx context.Context, database, sql string) error {
	conn, err := pgx.Connect(ctx, b.Server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// ServerCPU returns the processor time used by the server and by those of its backends that have ended.
func (b *Bench) ServerCPU() (time.Duration, error) {
	text, err := os.ReadFile(filepath.Join(b.Server.DataDir(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		return 0, fmt.Errorf("postmaster.pid: %w", err)
	}
	return cpuOf(pid, 4)
}

// BenchPatience is the time limit of one measurement.
const BenchPatience = 20 * time.Minute

// AwaitPublished waits until the slot has been acknowledged up to the end of the WAL.
func (b *Bench) AwaitPublished(ctx context.Context, database, slot string) error {
	conn, err := pgx.Connect(ctx, b.Server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var end string
	if err := conn.QueryRow(ctx, "SELECT pg_current_wal_lsn()::text").Scan(&end); err != nil {
		return err
	}
	return Eventually(BenchPatience, func(ctx context.Context) error {
		var done bool
		if err := conn.QueryRow(ctx, "SELECT confirmed_flush_lsn >= $1::text::pg_lsn FROM pg_replication_slots WHERE slot_name = $2", end, slot).Scan(&done); err != nil || done {
			return err
		}
		time.Sleep(500 * time.Millisecond)
		return fmt.Errorf("the publisher is not at %s", end)
	})
}
