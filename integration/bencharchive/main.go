// Command bencharchive measures how fast `pgtee archive` stores a backlog in files.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgtee/pgtee/integration/harness"
	"github.com/pgtee/pgtee/subscriber/archive"
)

type options struct {
	binary  string
	rows    int
	formats string
	rounds  int
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "program to measure; by default one that is built now")
	flag.IntVar(&o.rows, "rows", 2_000_000, "rows of the backlog, a thousand in each transaction")
	flag.StringVar(&o.formats, "formats", "jsonl,parquet", "formats, comma-separated")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds, of which the fastest counts: other work of the machine only slows it down")
	flag.Parse()
	harness.Main("bench-archive", func(ctx context.Context) error { return run(ctx, o) })
}

const database = "bench"

const schema = `CREATE TABLE orders (id bigint PRIMARY KEY, customer int NOT NULL, item text NOT NULL, quantity int NOT NULL, price numeric(10,2) NOT NULL, placed timestamptz NOT NULL)`

const backlog = `DO $$ BEGIN FOR n IN 0..%d / 1000 - 1 LOOP
INSERT INTO orders SELECT i, i %% 5000, 'article ' || i, 1 + i %% 9, (i %% 100000) / 100.0, '2025-01-31 12:00:00+00'::timestamptz + i * interval '1 second' FROM generate_series(n * 1000 + 1, n * 1000 + 1000) AS i;
COMMIT; END LOOP; END $$`

func run(ctx context.Context, o options) (err error) {
	world, err := harness.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	b, err := world.NewBench(o.binary, 18, map[string]string{"max_wal_size": "4GB", "checkpoint_timeout": "30min", "autovacuum": "off"})
	if err != nil {
		return err
	}
	broker, err := world.StartShippedKafka()
	if err != nil {
		return err
	}
	if err := publish(ctx, b, broker, o.rows); err != nil {
		return err
	}
	for format := range strings.SplitSeq(o.formats, ",") {
		if err := measure(b, broker, format, o); err != nil {
			return err
		}
	}
	return nil
}

// publish creates the backlog in Kafka.
func publish(ctx context.Context, b *harness.Bench, broker *harness.Kafka, rows int) error {
	if err := b.Query(ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if err := b.Query(ctx, database, schema); err != nil {
		return err
	}
	if err := b.Run("setup", "--postgres", b.Server.URL(database), "--slot", database); err != nil {
		return err
	}
	if err := b.Query(ctx, database, fmt.Sprintf(backlog, rows)); err != nil {
		return err
	}
	publisher, err := b.Start("publish", "--postgres", b.Server.URL(database), "--kafka", broker.Address, "--prefix", database, "--slot", database, "--key", b.KeyFile(), "--max-retained-wal", "8GB:warn")
	if err != nil {
		return err
	}
	if err := b.AwaitPublished(ctx, database, database); err != nil {
		return err
	}
	return publisher.StopWell()
}

// measure archives the backlog and prints a line.
func measure(b *harness.Bench, broker *harness.Kafka, format string, o options) error {
	fastest := time.Duration(0)
	var cpu time.Duration
	var rss uint64
	var report archive.Report
	for round := range o.rounds {
		dir := filepath.Join(b.Dir, fmt.Sprintf("%s-%d", format, round))
		began := time.Now()
		p, err := b.Start("archive", "--kafka", broker.Address, "--prefix", database, "--out", dir, "--format", format, "--once")
		if err != nil {
			return err
		}
		if code, err := p.Wait(harness.BenchPatience); err != nil || code != 0 {
			return fmt.Errorf("archive exits with %d (%v): %s", code, err, p.Tail(5))
		}
		if took := time.Since(began); fastest == 0 || took < fastest {
			fastest, cpu, rss = took, p.CPU(), uint64(p.PeakRSS())
		}
		if report, err = archive.Verify(dir, ""); err != nil || len(report.Damage) > 0 || report.Records < int64(o.rows) {
			return fmt.Errorf("%d of %d rows are archived: %v %v", report.Records, o.rows, report.Damage, err)
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	n := float64(report.Records)
	fmt.Printf("bench-archive format=%s records_s=%.0f cpu_us_record=%.2f rss_mb=%d bytes_record=%.1f files=%d records=%d took=%v\n", format, n/fastest.Seconds(), float64(cpu.Microseconds())/n, rss>>20,
		float64(report.Bytes)/n, report.Files, report.Records, fastest.Round(time.Millisecond))
	return nil
}
