// Command schemas creates tables of all kinds at random, writes and alters them while the publisher is killed and copies them, and compares the
// folded topics, key by key, with the tables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/integration/schemas/property"
)

func main() {
	tables := flag.Int("tables", 300, "number of tables for each version of PostgreSQL")
	seed := flag.Int64("seed", time.Now().UnixNano()%1_000_000, "seed of tables and scripts")
	majors := flag.String("pg", "15,18", "major versions of PostgreSQL")
	binary := flag.String("binary", "", "pgtee to test; by default one that is built now")
	keep := flag.Bool("keep", false, "keep the logs even if the run finds nothing wrong")
	shown := flag.Int("shown", 12, "number of findings to print")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Printf("schemas tables=%d seed=%d postgres=%s\n", *tables, *seed, *majors)
	verdict, err := run(ctx, *tables, *seed, *binary, strings.Split(*majors, ","), *keep)
	for i, finding := range verdict.Findings {
		if i == *shown {
			fmt.Printf("… and %d tables more\n", len(verdict.Findings)-i)
			break
		}
		fmt.Println(finding)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "schemas: seed %d: %v\n", *seed, err)
	}
	fmt.Println(verdict)
	if err != nil || !verdict.Clean() {
		os.Exit(1)
	}
}

func run(ctx context.Context, tables int, seed int64, binary string, majors []string, keep bool) (all *property.Verdict, err error) {
	all = &property.Verdict{}
	world, err := harness.Open()
	if err != nil {
		return all, err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	defer func() {
		if err != nil || keep || !all.Clean() {
			logs, failure := world.KeepLogs("pgtee-schemas-")
			fmt.Printf("schemas logs=%s\n", logs)
			err = errors.Join(err, failure)
		}
	}()
	if binary == "" {
		if binary, err = world.Build(); err != nil {
			return all, err
		}
	}
	registry, err := world.StartRegistry()
	if err != nil {
		return all, err
	}
	if err := registry.SetCompatibility(ctx, "", "NONE"); err != nil { // tables are altered in ways that no compatibility level permits
		return all, err
	}
	for _, text := range majors {
		major, err := strconv.Atoi(text)
		if err != nil {
			return all, err
		}
		r := &property.Run{World: world, Binary: binary, Major: major, Registry: registry, Tables: tables, CopyRows: 500, Seed: seed, Name: "s" + text,
			Log: func(format string, args ...any) { fmt.Printf(format+"\n", args...) }}
		if r.Server, err = world.StartPostgres(major, map[string]string{"max_locks_per_transaction": "256"}); err != nil {
			return all, err
		}
		if r.Broker, err = world.StartKafka(); err != nil {
			return all, err
		}
		verdict, err := r.Do(ctx)
		if verdict != nil {
			all.Add(verdict)
		}
		if err != nil {
			return all, err
		}
		if err := r.Broker.Stop(); err != nil {
			return all, err
		}
	}
	return all, nil
}
