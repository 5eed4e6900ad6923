// Command bench measures what a hop through pgtee costs a client, beside no hop and beside PgBouncer,
// and how fast the publisher works off a backlog, beside pg_recvlogical. Everything runs on this
// machine at the same time, so the ratios within one round tell more than the absolute numbers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

// options are the sizes of a run.
type options struct {
	major     int
	scale     int
	clients   int
	rounds    int
	seconds   int
	protocols string
}

func main() {
	var o options
	flag.IntVar(&o.major, "major", 15, "major version of PostgreSQL")
	flag.IntVar(&o.scale, "scale", 10, "scale factor of pgbench")
	flag.IntVar(&o.clients, "clients", 8, "clients of pgbench")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds; in each one every way is measured once per protocol")
	flag.IntVar(&o.seconds, "seconds", 3, "length of one measurement")
	flag.StringVar(&o.protocols, "protocols", "simple,prepared", "query modes of pgbench")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	b := &bench{options: o, world: world, ctx: context.Background()}
	if err := b.prepare(); err != nil {
		return err
	}
	if err := b.measureHops(strings.Split(o.protocols, ",")); err != nil {
		return err
	}
	return b.measureCatchUp()
}

// bench is one run: a server, a broker, and what has been written so far.
type bench struct {
	options
	ctx    context.Context
	world  *harness.World
	binary string
	server *embedded.Postgres
	broker *harness.Kafka
	dir    string // of logs, key and configuration
	ways   []way
	rows   int // that pgbench has changed since the slots were made
}

const (
	database = "bench"
	slot     = "pgtee"
	rawSlot  = "raw" // for pg_recvlogical, as old as slot
)

// prepare starts everything, and makes both slots after the initial data.
func (b *bench) prepare() (err error) {
	if b.binary, err = b.world.Build(); err != nil {
		return err
	}
	if b.dir, err = b.world.Sub("bench"); err != nil {
		return err
	}
	settings := map[string]string{"fsync": "on", "shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
	if b.server, err = b.world.StartPostgres(b.major, settings); err != nil {
		return err
	}
	if b.broker, err = b.world.StartKafka(); err != nil {
		return err
	}
	if err := b.query("postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if _, err := b.pgbench(b.server.Address(), "-i", "-q", "-s", fmt.Sprint(b.scale)); err != nil {
		return err
	}
	key := strings.Repeat("5e", 32) + "\n"
	if err := os.WriteFile(b.dir+"/key", []byte(key), 0o600); err != nil {
		return err
	}
	if err := b.setup(); err != nil {
		return err
	}
	return b.startWays()
}

func (b *bench) setup() error {
	p, err := b.start("setup", "--postgres", b.server.URL(database), "--slot", slot)
	if err != nil {
		return err
	}
	if code, err := p.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("setup exits with %d (%v): %s", code, err, p.Log())
	}
	return b.query(database, "SELECT pg_create_logical_replication_slot('"+rawSlot+"', 'pgoutput')")
}

// start starts the binary; it ends with the bench.
func (b *bench) start(args ...string) (*harness.Process, error) {
	return b.startCommand(harness.Command{Name: args[0], Args: append([]string{b.binary}, args...)})
}

func (b *bench) startCommand(c harness.Command) (*harness.Process, error) {
	p, err := harness.Start(b.dir, c)
	if err != nil {
		return nil, err
	}
	b.world.OnClose(func() error { p.Kill(); return nil })
	return p, nil
}

func (b *bench) query(database, sql string) error {
	conn, err := pgx.Connect(b.ctx, b.server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(b.ctx)
	_, err = conn.Exec(b.ctx, sql)
	return err
}
