// Command benchpublish measures the publisher: how fast it processes a backlog compared with pg_recvlogical, which discards the bytes and so is the
// limit of the server; how long after its commit a transaction is visible to a read_committed consumer; and for how long nothing becomes visible
// after a publisher was killed. Everything runs on this machine at the same time, so ratios within one round are more meaningful than absolute
// numbers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/pgtee/pgtee/integration/harness"
)

// options are the sizes of a run.
type options struct {
	major     int
	percent   int
	rounds    int
	works     string
	rates     string
	seconds   int
	takeovers int
	binary    string
	args      string
}

func main() {
	var o options
	flag.IntVar(&o.major, "major", 15, "major version of PostgreSQL")
	flag.IntVar(&o.percent, "percent", 100, "percentage of the rows of each backlog; 5 for a quick look")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds per backlog; in each one pg_recvlogical and the publisher process it once")
	flag.StringVar(&o.works, "works", "tpcb,inserts,giant", "backlogs; none: -works ''")
	flag.StringVar(&o.rates, "rates", "20,200,2000", "transactions per second of the latency runs")
	flag.IntVar(&o.seconds, "seconds", 20, "length of one latency run")
	flag.IntVar(&o.takeovers, "takeovers", 3, "how often the publisher is killed, per kind of take-over")
	flag.StringVar(&o.binary, "binary", "", "program to measure; by default one that is built now")
	flag.StringVar(&o.args, "args", "", "further arguments of `pgtee publish`")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-publish:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.percent < 1 || o.rounds < 1 || o.seconds < 2 {
		return errors.New("want -percent and -rounds of 1 or more, and -seconds of 2 or more: the first second warms up")
	}
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	b := &bench{options: o, ctx: context.Background()}
	if err := b.prepare(world); err != nil {
		return err
	}
	for _, name := range split(o.works) {
		if err := b.measureWork(name); err != nil {
			return fmt.Errorf("work %s: %w", name, err)
		}
	}
	if o.rates != "" || o.takeovers > 0 {
		return b.measureVisibility()
	}
	return nil
}

func split(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// bench is one run: a server and a broker.
type bench struct {
	*harness.Bench
	options
	ctx    context.Context
	broker *harness.Kafka

	nextTick int64
}

func (b *bench) prepare(world *harness.World) (err error) {
	settings := map[string]string{"shared_buffers": "256MB", "max_wal_size": "8GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
	if b.Bench, err = world.NewBench(b.binary, b.major, settings); err != nil {
		return err
	}
	b.broker, err = world.StartShippedKafka()
	return err
}

// createDatabase creates a database, the objects in schema, and pgtee's objects with a slot of the database's name.
func (b *bench) createDatabase(name string, schema func(database string) error) error {
	if err := b.Query(b.ctx, "postgres", "CREATE DATABASE "+name); err != nil {
		return err
	}
	if err := schema(name); err != nil {
		return err
	}
	return b.Run("setup", "--postgres", b.Server.URL(name), "--slot", name)
}

// publish starts a publisher of a database for topics with this prefix.
func (b *bench) publish(database, prefix string, more ...string) (*harness.Process, error) {
	args := append([]string{"publish", "--postgres", b.Server.URL(database), "--slot", database, "--kafka", b.broker.Address,
		"--prefix", prefix, "--key", b.KeyFile()}, more...)
	return b.Start(append(args, strings.Fields(b.args)...)...)
}

func (b *bench) rateList() ([]int, error) {
	var rates []int
	for _, text := range split(b.rates) {
		rate, err := strconv.Atoi(text)
		if err != nil || rate <= 0 {
			return nil, fmt.Errorf("-rates: %q is not a rate", text)
		}
		rates = append(rates, rate)
	}
	return rates, nil
}
