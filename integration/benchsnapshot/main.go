// Command benchsnapshot measures how fast tables are copied into Kafka, exactly once, beside COPY … TO STDOUT, which
// throws the rows away and so is the limit of the server. Everything runs on this machine at the same time, so ratios within
// one round tell more than absolute numbers.
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
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
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
	flag.IntVar(&o.scale, "scale", 20, "of pgbench: 100,000 accounts each")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; in each one the table is read by COPY and copied into Kafka once")
	flag.StringVar(&o.works, "works", "accounts", "tables to copy: accounts, wide, huge")
	flag.StringVar(&o.binary, "binary", "", "program to measure, in place of one that is built now")
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
	b := &bench{options: o, world: world, ctx: context.Background()}
	if err := b.prepare(); err != nil {
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
	options
	ctx    context.Context
	world  *harness.World
	server *embedded.Postgres
	broker *harness.Kafka
	dir    string // of logs and key
}

func (b *bench) prepare() (err error) {
	if b.binary == "" {
		if b.binary, err = b.world.Build(); err != nil {
			return err
		}
	}
	if b.dir, err = b.world.Sub("bench"); err != nil {
		return err
	}
	if err := os.WriteFile(b.keyFile(), []byte(strings.Repeat("5e", 32)+"\n"), 0o600); err != nil {
		return err
	}
	settings := map[string]string{"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
	if b.server, err = b.world.StartPostgres(b.major, settings); err != nil {
		return err
	}
	b.broker, err = b.world.StartShippedKafka()
	return err
}

func (b *bench) keyFile() string { return b.dir + "/key" }

// works are the tables, each made in a database of its own.
var works = map[string]struct {
	table string
	make  func(*bench, string) error
}{
	"accounts": {"public.pgbench_accounts", (*bench).makeAccounts},
	"wide":     {"public.wide", (*bench).makeWide},
	"huge":     {"public.huge", (*bench).makeHuge},
}

func (b *bench) makeAccounts(database string) error {
	host, port, err := net.SplitHostPort(b.server.Address())
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(b.ctx, "pgbench", "-h", host, "-p", port, "-U", "postgres", "-i", "-I", "dtgp", "-q", "-s", fmt.Sprint(b.scale), database).CombinedOutput()
	if err != nil {
		return fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return b.query(database, "VACUUM ANALYZE")
}

// makeWide makes rows of 10 MB.
func (b *bench) makeWide(database string) error {
	return b.query(database, fmt.Sprintf(`CREATE TABLE wide (id int PRIMARY KEY, big text);
		ALTER TABLE wide ALTER COLUMN big SET STORAGE EXTERNAL;
		INSERT INTO wide SELECT id, repeat(md5(id::text), 327680) FROM generate_series(1, %d) AS id; ANALYZE`, b.scale))
}

// makeHuge makes rows of 300 and 900 MB between small ones: they need -args "--record-too-large dead-letter".
func (b *bench) makeHuge(database string) error {
	return b.query(database, `CREATE TABLE huge (id int PRIMARY KEY, big text, v text);
		ALTER TABLE huge ALTER COLUMN big SET STORAGE EXTERNAL;
		INSERT INTO huge SELECT id, repeat(md5(id::text), CASE id WHEN 2 THEN 9375000 WHEN 4 THEN 28125000 ELSE 1 END), 'v' FROM generate_series(1, 5) AS id; ANALYZE`)
}

func (b *bench) pgtee(args ...string) error {
	p, err := b.start(args...)
	if err != nil {
		return err
	}
	if code, err := p.Wait(time.Minute); err != nil || code != 0 {
		return fmt.Errorf("%s exits with %d (%v): %s", args[0], code, err, p.Log())
	}
	return nil
}

// start starts the program; it ends with the bench.
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
	_, err = conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}
