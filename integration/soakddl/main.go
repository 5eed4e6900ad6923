// Command soakddl migrates the tables of two databases at random, with the same scripts: one is a plain PostgreSQL database, the other one is
// captured by pgtee. No statement may fail or take longer because of pgtee, and the topics must fold to the tables.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// options configure a run.
type options struct {
	length time.Duration
	seed   int64
	major  int
	binary string
	twice  bool
	keep   bool
}

func main() {
	var o options
	flag.DurationVar(&o.length, "for", 30*time.Minute, "how long the scripts run; the verdict takes some minutes more")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano()%1_000_000, "seed of the scripts")
	flag.IntVar(&o.major, "pg", 15, "major version of PostgreSQL")
	flag.StringVar(&o.binary, "binary", "", "pgtee to test; by default one that is built now")
	flag.BoolVar(&o.twice, "virgin-twice", false, "capture neither database: what is found then is a false alarm")
	flag.BoolVar(&o.keep, "keep", false, "keep the logs even if the run finds nothing wrong")
	flag.Parse()
	harness.Main(fmt.Sprintf("soak-ddl: seed %d", o.seed), func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o options) (err error) {
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	s := &soak{options: o, world: world, judge: newJudge()}
	defer func() {
		if err != nil || o.keep {
			err = errors.Join(err, s.keepLogs())
		}
	}()
	fmt.Printf("soak-ddl seed=%d for=%v postgres=%d\n", o.seed, o.length, o.major)
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.began = time.Now()
	reporting, end := context.WithCancel(ctx)
	defer end()
	go s.report(reporting)
	generators, err := s.soak(ctx)
	if err != nil {
		return err
	}
	return s.verdict(ctx, generators)
}

// keepLogs copies the logs from the folder that is about to be removed.
func (s *soak) keepLogs() error {
	kept, err := s.world.KeepLogs("pgtee-soak-ddl-")
	fmt.Printf("soak-ddl logs=%s\n", kept)
	return err
}
