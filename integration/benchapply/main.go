// Command benchapply measures how fast `pgtee apply` writes a backlog into a second server, compared with PostgreSQL's own logical replication of the
// same backlog on the same machine, in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/cmd/pgtee/embedded"
	"github.com/pgtee/pgtee/integration/harness"
)

type options struct {
	binary  string
	works   string
	percent int
	major   int
	delay   time.Duration
	native  bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "program to measure; by default one that is built now")
	flag.StringVar(&o.works, "works", "inserts,tpcb,updates", "backlogs, comma-separated")
	flag.IntVar(&o.percent, "percent", 100, "percentage of the rows of each backlog")
	flag.IntVar(&o.major, "major", 18, "major version of PostgreSQL")
	flag.DurationVar(&o.delay, "delay", 2*time.Millisecond, "delay that a second measurement adds to each round trip; 0: no second measurement")
	flag.BoolVar(&o.native, "native", true, "measure PostgreSQL's own replication, too")
	flag.Parse()
	harness.Main("bench-apply", func(ctx context.Context) error { return run(ctx, o) })
}

// bench is one run: two servers and a broker.
type bench struct {
	*harness.Bench
	options
	ctx    context.Context
	target *embedded.Postgres
	broker *harness.Kafka
}

func run(ctx context.Context, o options) (err error) {
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	settings := map[string]string{"shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min", "autovacuum": "off"}
	b := &bench{options: o, ctx: ctx}
	if b.Bench, err = world.NewBench(o.binary, o.major, settings); err != nil {
		return err
	}
	if b.target, err = world.StartPostgres(o.major, settings); err != nil {
		return err
	}
	if b.broker, err = world.StartShippedKafka(); err != nil {
		return err
	}
	for name := range strings.SplitSeq(o.works, ",") {
		if err := b.measure(name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// work is a backlog, and the data that exist before it.
type work struct {
	rows   int // at 100 percent
	schema string
	write  string // SQL that writes %d rows
	table  string // table whose rows are counted at the end
}

const orders = `CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, item text NOT NULL, quantity int NOT NULL, price numeric(10,2) NOT NULL, placed timestamptz NOT NULL);
CREATE TABLE mark (id int PRIMARY KEY);`

const orderRows = `SELECT i, i % 5000, 'article ' || i, 1 + i % 9, (i % 100000) / 100.0, '2025-01-31 12:00:00+00'::timestamptz + i * interval '1 second' FROM generate_series(`

var works = map[string]work{
	"inserts": {1_000_000, orders, "DO $$ BEGIN FOR n IN 0..%[1]d / 1000 - 1 LOOP INSERT INTO orders " + strings.ReplaceAll(orderRows, "%", "%%") + "n * 1000 + 1, n * 1000 + 1000) AS i; COMMIT; END LOOP; END $$", "orders"},
	"updates": {1_000_000, orders + "INSERT INTO orders " + orderRows + "1, 1000000) AS i",
		"DO $$ BEGIN FOR n IN 0..%[1]d / 1000 - 1 LOOP UPDATE orders SET quantity = quantity + 1, item = 'changed ' || id WHERE id BETWEEN n * 1000 + 1 AND n * 1000 + 1000; COMMIT; END LOOP; END $$", "orders"},
	"giant": {2_000_000, orders, "INSERT INTO orders " + strings.ReplaceAll(orderRows, "%", "%%") + "1, %[1]d) AS i", "orders"}, // one transaction
	"tpcb": {800_000, `CREATE TABLE pgbench_branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE pgbench_tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE pgbench_accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE pgbench_history (tid int, bid int, aid int, delta int, mtime timestamp, filler char(22));
CREATE TABLE mark (id int PRIMARY KEY);
INSERT INTO pgbench_branches SELECT i, 0, '' FROM generate_series(1, 10) AS i;
INSERT INTO pgbench_tellers SELECT i, 1 + i / 10, 0, '' FROM generate_series(1, 100) AS i;
INSERT INTO pgbench_accounts SELECT i, 1 + i / 100000, 0, '' FROM generate_series(1, 1000000) AS i`, `DO $$
DECLARE
	account int;
	delta int;
BEGIN
	FOR i IN 1..%[1]d / 4 LOOP
		account := 1 + (random() * 999999)::int;
		delta := (random() * 10000)::int - 5000;
		UPDATE pgbench_accounts SET abalance = abalance + delta WHERE aid = account;
		UPDATE pgbench_tellers SET tbalance = tbalance + delta WHERE tid = 1 + i %% 100;
		UPDATE pgbench_branches SET bbalance = bbalance + delta WHERE bid = 1 + i %% 10;
		INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1 + i %% 100, 1 + i %% 10, account, delta, clock_timestamp());
		COMMIT;
	END LOOP;
END $$`, "pgbench_history"},
}

// measure creates a backlog once, and applies it in each way in turn.
func (b *bench) measure(name string) error {
	w, known := works[name]
	if !known {
		return errors.New("there is no work of that name")
	}
	rows := w.rows * b.percent / 100
	if err := b.prepare(name, w); err != nil {
		return err
	}
	if err := b.Query(b.ctx, name, fmt.Sprintf(w.write, rows)); err != nil {
		return err
	}
	if err := b.Query(b.ctx, name, "INSERT INTO mark VALUES (1)"); err != nil {
		return err
	}
	publisher, err := b.Start("publish", "--postgres", b.Server.URL(name), "--kafka", b.broker.Address, "--prefix", name, "--slot", name, "--key", b.KeyFile(), "--max-retained-wal", "8GB:warn")
	if err != nil {
		return err
	}
	if err := b.AwaitPublished(b.ctx, name, name); err != nil {
		return err
	}
	if err := publisher.StopWell(); err != nil {
		return err
	}
	var native time.Duration
	if b.native {
		if native, err = b.replicate(name); err != nil {
			return err
		}
		fmt.Printf("bench-apply work=%s way=native rows_s=%.0f took=%v\n", name, float64(rows)/native.Seconds(), native.Round(time.Millisecond))
	}
	if err := b.apply(name, "pgtee", b.target.Address(), rows, native); err != nil {
		return err
	}
	if b.delay > 0 {
		relay, err := newLatency(b.target.Address(), b.delay/2)
		if err != nil {
			return err
		}
		defer relay.close()
		return b.apply(name, fmt.Sprintf("pgtee+%v", b.delay), relay.address, rows, native)
	}
	return nil
}

// prepare creates the databases: the source, that of the native worker, and those of the applier.
func (b *bench) prepare(name string, w work) error {
	if err := b.Query(b.ctx, "postgres", "CREATE DATABASE "+name); err != nil {
		return err
	}
	for _, sql := range []string{w.schema, "VACUUM ANALYZE"} {
		if err := b.Query(b.ctx, name, sql); err != nil {
			return err
		}
	}
	targets := []string{"pgtee"}
	if b.native {
		targets = append(targets, "native")
	}
	if b.delay > 0 {
		targets = append(targets, fmt.Sprintf("pgtee+%v", b.delay))
	}
	for _, way := range targets {
		database := databaseOf(name, way)
		if err := b.onTarget("postgres", "CREATE DATABASE "+database); err != nil {
			return err
		}
		for _, sql := range []string{w.schema, "VACUUM ANALYZE"} {
			if err := b.onTarget(database, sql); err != nil {
				return err
			}
		}
	}
	if b.native {
		if err := b.Query(b.ctx, name, "CREATE PUBLICATION native FOR TABLES IN SCHEMA public"); err != nil {
			return err
		}
		if err := b.onTarget(databaseOf(name, "native"), fmt.Sprintf("CREATE SUBSCRIPTION %[1]s CONNECTION '%[2]s' PUBLICATION native WITH (enabled = false, create_slot = false, slot_name = 'native_%[1]s', copy_data = false)", name, b.Server.URL(name))); err != nil {
			return err
		}
		if err := b.Query(b.ctx, name, fmt.Sprintf("SELECT pg_create_logical_replication_slot('native_%s', 'pgoutput')", name)); err != nil {
			return err
		}
	}
	return b.Run("setup", "--postgres", b.Server.URL(name), "--slot", name)
}

func databaseOf(name, way string) string {
	return name + "_" + strings.NewReplacer("+", "_", ".", "_").Replace(way)
}

func (b *bench) onTarget(database, sql string) error {
	conn, err := pgx.Connect(b.ctx, b.target.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(b.ctx)
	_, err = conn.Exec(b.ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}
