// Command benchsnapshot measures how fast tables are copied into Kafka, exactly once, compared with COPY … TO STDOUT, which discards the rows and so
// is the limit of the server. Everything runs on this machine at the same time, so ratios within one round are more meaningful than absolute numbers.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"github.com/pgtee/pgtee/integration/harness"
)

// options are the sizes of a run.
type options struct {
	major  int
	scale  int
	rounds int
	works  string
	binary string
	args   string
}

func main() {
	var o options
	flag.IntVar(&o.major, "major", 15, "major version of PostgreSQL")
	flag.IntVar(&o.scale, "scale", 20, "scale factor of pgbench: 100,000 accounts each")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; in each one the table is read by COPY and copied into Kafka once")
	flag.StringVar(&o.works, "works", "accounts", "tables to copy: accounts, wide, huge")
	flag.StringVar(&o.binary, "binary", "", "program to measure; by default one that is built now")
	flag.StringVar(&o.args, "args", "", "further arguments of `pgtee publish`")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-snapshot:", err)
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
	for _, name := range strings.Split(o.works, ",") {
		if err := b.measure(name); err != nil {
			return fmt.Errorf("work %s: %w", name, err)
		}
	}
	return nil
}

// bench is one run: a server and a broker.
type bench struct {
	*harness.Bench
	options
	ctx    context.Context
	broker *harness.Kafka
}

func (b *bench) prepare(world *harness.World) (err error) {
	settings := map[string]string{"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
	if b.Bench, err = world.NewBench(b.binary, b.major, settings); err != nil {
		return err
	}
	b.broker, err = world.StartShippedKafka()
	return err
}

// works are the tables, each created in a database of its own.
var works = map[string]struct {
	table string
	make  func(*bench, string) error
}{
	"accounts": {"public.pgbench_accounts", (*bench).makeAccounts},
	"wide":     {"public.wide", (*bench).makeWide},
	"huge":     {"public.huge", (*bench).makeHuge},
}

func (b *bench) makeAccounts(database string) error {
	host, port, err := net.SplitHostPort(b.Server.Address())
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(b.ctx, "pgbench", "-h", host, "-p", port, "-U", "postgres", "-i", "-I", "dtgp", "-q", "-s", fmt.Sprint(b.scale), database).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return b.Query(b.ctx, database, "VACUUM ANALYZE")
}

// makeWide creates rows of 10 MB.
func (b *bench) makeWide(database string) error {
	return b.Query(b.ctx, database, fmt.Sprintf(`CREATE TABLE wide (id int PRIMARY KEY, big text);
		ALTER TABLE wide ALTER COLUMN big SET STORAGE EXTERNAL;
		INSERT INTO wide SELECT id, repeat(md5(id::text), 327680) FROM generate_series(1, %d) AS id; ANALYZE`, b.scale))
}

// makeHuge creates rows of 300 and 900 MB between small ones: they require -args "--record-too-large dead-letter".
func (b *bench) makeHuge(database string) error {
	return b.Query(b.ctx, database, `CREATE TABLE huge (id int PRIMARY KEY, big text, v text);
		ALTER TABLE huge ALTER COLUMN big SET STORAGE EXTERNAL;
		INSERT INTO huge SELECT id, repeat(md5(id::text), CASE id WHEN 2 THEN 9375000 WHEN 4 THEN 28125000 ELSE 1 END), 'v' FROM generate_series(1, 5) AS id; ANALYZE`)
}
