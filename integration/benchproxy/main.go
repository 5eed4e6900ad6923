// Command benchproxy measures what a hop through pgtee costs a client, compared with no hop and with PgBouncer. Everything runs on this machine at
// the same time, so the ratios within one round are more meaningful than the absolute numbers, and the processor time of the hop is more stable than
// either.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// options say what is measured, and for how long.
type options struct {
	major    int
	scale    int
	rounds   int
	cell     time.Duration
	works    string
	modes    string
	clients  string
	variants string
	quick    bool
}

func main() {
	var o options
	flag.IntVar(&o.major, "major", 15, "major version of PostgreSQL")
	flag.IntVar(&o.scale, "scale", 20, "scale factor of pgbench")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; in each one every variant is measured once per cell")
	flag.DurationVar(&o.cell, "cell", 2*time.Second, "length of one measurement, whole seconds")
	flag.StringVar(&o.works, "works", "select,tpcb,copy-out,latency", "what the clients do; notes: every kind of note")
	flag.StringVar(&o.modes, "modes", "simple,extended,prepared", "query modes of pgbench")
	flag.StringVar(&o.clients, "clients", "1,16", "numbers of clients")
	flag.StringVar(&o.variants, "variants", "", "variants to measure beside direct [all]")
	flag.BoolVar(&o.quick, "quick", false, "one round of two seconds: simple and prepared, 16 clients")
	flag.Parse()
	if o.quick {
		o.rounds, o.cell, o.modes, o.clients = 1, 2*time.Second, "simple,prepared", "16"
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "benchproxy:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	b := &bench{options: o, ctx: context.Background()}
	if err := b.prepare(world); err != nil {
		return err
	}
	works := strings.Split(o.works, ",")
	if o.works == "notes" {
		works = slices.Sorted(maps.Keys(noteScripts))
	}
	for _, work := range works {
		if err := b.measureWork(work); err != nil {
			return fmt.Errorf("%s: %w", work, err)
		}
	}
	return nil
}

// bench is one run: a server, and the ways to it.
type bench struct {
	*harness.Bench
	options
	ctx  context.Context
	ways []way // the first one is direct
}

const database = "bench"

// settings exclude the disk: only processor time is measured.
var settings = map[string]string{
	"fsync": "off", "synchronous_commit": "off", "shared_buffers": "512MB",
	"max_wal_size": "4GB", "checkpoint_timeout": "1h", "autovacuum": "off",
}

// prepare starts everything.
func (b *bench) prepare(world *harness.World) (err error) {
	if b.Bench, err = world.NewBench("", b.major, settings); err != nil {
		return err
	}
	if err := b.Query(b.ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if _, err := b.pgbench(b.Server.Address(), "-i", "-q", "-s", fmt.Sprint(b.scale)); err != nil {
		return err
	}
	if err := b.Query(b.ctx, database, notesSQL); err != nil {
		return err
	}
	if err := b.setup(); err != nil {
		return err
	}
	return b.startWays()
}

// setup creates the outbox. Nothing reads the WAL, so there is no slot to retain it.
func (b *bench) setup() error {
	if err := b.Run("setup", "--postgres", b.Server.URL(database), "--slot", "pgtee"); err != nil {
		return err
	}
	return b.Query(b.ctx, database, "SELECT pg_drop_replication_slot('pgtee')")
}
