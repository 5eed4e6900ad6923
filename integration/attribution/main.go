// Command attribution writes rows through the proxy in every possible way, at random, and compares the statement that each row event names with the
// one that the row itself names by its nonce. An event may have no statement if the table of forms permits that; it may never have a wrong one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// options configure a run.
type options struct {
	statements int
	seed       int64
	majors     string
	outboxes   string
	binary     string
	keep       bool
}

func main() {
	var o options
	flag.IntVar(&o.statements, "statements", 100_000, "number of statements, in all legs together")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano()%1_000_000, "seed of the scripts")
	flag.StringVar(&o.majors, "pg", "15,18", "major versions of PostgreSQL, from 15: each is a leg with each outbox")
	flag.StringVar(&o.outboxes, "outbox", "table,message", "outboxes")
	flag.StringVar(&o.binary, "binary", "", "pgtee to test; by default one that is built now")
	flag.BoolVar(&o.keep, "keep", false, "keep the logs even if the run finds nothing wrong")
	flag.Parse()
	harness.Main(fmt.Sprintf("attribution: seed %d", o.seed), func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o options) (err error) {
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	defer func() {
		if err != nil || o.keep {
			kept, problem := world.KeepLogs("pgtee-attribution-")
			fmt.Printf("attribution logs=%s\n", kept)
			err = errors.Join(err, problem)
		}
	}()
	fmt.Printf("attribution seed=%d statements=%d postgres=%s outbox=%s\n", o.seed, o.statements, o.majors, o.outboxes)
	all := newTally()
	if err := runLegs(ctx, o, world, all); err != nil {
		return err
	}
	text := strings.Join(append(append([]string{strings.TrimSuffix(all.table(), "\n")}, all.details...), all.broken[:min(len(all.broken), 10)]...), "\n")
	fmt.Printf("%s\n%s\n", text, all.closing())
	return errors.Join(all.verdict(), os.WriteFile(filepath.Join(world.Dir, "verdict.log"), []byte(text), 0o644))
}

// runLegs plays one leg after another, and counts in one tally.
func runLegs(ctx context.Context, o options, world *harness.World, all *tally) (err error) {
	if o.binary == "" {
		if o.binary, err = world.Build(); err != nil {
			return err
		}
	}
	broker, err := world.StartKafka()
	if err != nil {
		return err
	}
	majors, outboxes := strings.Split(o.majors, ","), strings.Split(o.outboxes, ",")
	share := o.statements / (len(majors) * len(outboxes))
	for _, text := range majors {
		major, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("-pg: %w", err)
		}
		bench, err := world.NewBench(o.binary, major, map[string]string{"max_prepared_transactions": "100"})
		if err != nil {
			return err
		}
		if err := bench.Query(ctx, "postgres", rolesSQL); err != nil {
			return err
		}
		for _, outbox := range outboxes {
			l := &leg{options: o, bench: bench, broker: broker, outbox: outbox, judge: newJudge(fmt.Sprintf("%d %s", major, outbox))}
			if err := l.run(ctx, share); err != nil {
				return fmt.Errorf("%s: %w", l.name(), err)
			}
			all.merge(l.judge.tally)
		}
	}
	return nil
}
