// Command chaos writes a mixed workload through the proxy while it kills, stops and disconnects proxy, publishers, PostgreSQL and Kafka at random;
// then the witness compares the contents of Kafka with the truth of the database. The seed determines every choice, but not the moment at which it
// coincides with the load.
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
	{"snapshots", "chaos-snapshot", "have tables copied meanwhile, and compare what the topics fold to with them", runSnapshots},
	{"apply", "chaos-apply", "have the stream applied to a second server, and compare its tables with those of the first", runAppliers},
	{"consume", "chaos-consume", "have topics of strangers written into tables, and compare them", runConsumers},
	{"query", "chaos-query", "have the changes of a query published, and fold them run by run", runQueries},
	{"archive", "chaos-archive", "have the stream kept as files, compare them with the topics, and a server that is made of them with the first", runArchives},
}

func main() {
	var o options
	flag.DurationVar(&o.length, "for", time.Minute, "how long faults are made; the closing takes some minutes more")
	flag.Int64Var(&o.seed, "seed", time.Now().UnixNano(), "of every choice")
	flag.IntVar(&o.major, "major", 15, "major version of PostgreSQL")
	flag.StringVar(&o.outbox, "outbox", "table", "table or message")
	flag.IntVar(&o.partitions, "partitions", 2, "of the topics that the publisher makes")
	flag.IntVar(&o.cluster, "brokers", 1, "of Kafka; of several the leaders and the coordinator are killed in turn")
	flag.StringVar(&o.planted, "planted", "", "name of a bug to plant: the run must fail")
	flag.StringVar(&o.lanes, "lanes", "", "only those whose names begin so, with commas between them: postgres, kafka, proxy, publisher, network")
	flag.BoolVar(&o.keep, "keep", false, "keep the logs of a run that finds nothing wrong, too")
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
