// Command chaos writes a mixed workload through the proxy while it kills, stops and disconnects proxy, publishers, PostgreSQL and Kafka at random;
// then the witness compares the contents of Kafka with the truth of the database. The seed determines every choice, but not what the load is doing
// when a fault occurs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
)

// options configure a run.
type options struct {
	length     time.Duration
	seed       int64
	major      int
	outbox     string
	partitions int
	cluster    int
	planted    string
	keep       bool
	mode       *mode // nil: everything is killed
	lanes      string
}

// mode is a run with its own judge.
type mode struct {
	flag, title, usage string
	run                func(context.Context, *chaos) error
}

var modes = []mode{
	{"snapshots", "chaos-snapshot", "copy tables meanwhile, fold their topics, and compare the results with the tables", runSnapshots},
	{"apply", "chaos-apply", "apply the stream to a second server, and compare its tables with those of the first", runAppliers},
	{"consume", "chaos-consume", "write topics of other producers into tables, and compare both", runConsumers},
	{"query", "chaos-query", "publish the changes of a query, and fold them run by run", runQueries},
	{"archive", "chaos-archive", "store the stream in files, and compare the files with the topics, and a server rebuilt from them with the first", runArchives},
}

func main() {
	var o options
	flag.DurationVar(&o.length, "for", time.Minute, "how long faults are injected; the verdict takes some minutes more")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano(), "seed of every choice")
	flag.IntVar(&o.major, "major", 15, "major version of PostgreSQL")
	flag.StringVar(&o.outbox, "outbox", "table", "table or message")
	flag.IntVar(&o.partitions, "partitions", 2, "number of partitions of the topics that the publisher creates")
	flag.IntVar(&o.cluster, "brokers", 1, "number of brokers; of several, the leaders and the coordinator are killed in turn")
	flag.StringVar(&o.planted, "planted", "", "name of a bug to plant: the run must fail")
	flag.StringVar(&o.lanes, "lanes", "", "inject only the faults whose names begin like one of these, comma-separated: postgres, kafka, proxy, publisher, network")
	flag.BoolVar(&o.keep, "keep", false, "keep the logs even if the run finds nothing wrong")
	wanted := make([]*bool, len(modes))
	for i, m := range modes {
		wanted[i] = flag.Bool(m.flag, false, m.usage)
	}
	flag.Parse()
	if i := slices.IndexFunc(wanted, func(w *bool) bool { return *w }); i >= 0 {
		o.mode = &modes[i]
	}
	harness.Main(fmt.Sprintf("chaos: seed %d", o.seed), func(ctx context.Context) error { return run(ctx, o) })
}

func run(ctx context.Context, o options) (err error) {
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	c := &chaos{options: o, world: world, began: time.Now()}
	defer func() {
		if err != nil || o.keep {
			err = errors.Join(err, c.keepArtefacts())
		}
	}()
	if o.mode != nil {
		fmt.Printf("%s seed=%d for=%v postgres=%d\n", o.mode.title, o.seed, o.length, o.major)
		return o.mode.run(ctx, c)
	}
	fmt.Printf("chaos seed=%d for=%v postgres=%d outbox=%s partitions=%d brokers=%d\n", o.seed, o.length, o.major, o.outbox, o.partitions, o.cluster)
	if err := c.prepare(ctx); err != nil {
		return err
	}
	if err := c.storm(ctx); err != nil {
		return err
	}
	if err := c.calm(ctx); err != nil {
		return err
	}
	return c.judge(ctx)
}
