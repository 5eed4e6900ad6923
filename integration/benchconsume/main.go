// Command benchconsume measures how fast `pgtee consume` writes a topic into a table, compared with kcat piped into psql's COPY, on the same machine,
// in the same run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/pgtee/pgtee/integration/harness"
)

type options struct {
	binary  string
	records int
	major   int
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "", "program to measure; by default one that is built now")
	flag.IntVar(&o.records, "records", 2_000_000, "number of records in the topic")
	flag.IntVar(&o.major, "major", 18, "major version of PostgreSQL")
	flag.Parse()
	harness.Main("bench-consume", func(ctx context.Context) error { return run(ctx, o) })
}

// bench is one run: a server, a broker, and a topic.
type bench struct {
	*harness.Bench
	options
	ctx    context.Context
	broker *harness.Kafka
}

const (
	topic    = "orders"
	patience = 20 * time.Minute
)

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
	if b.broker, err = world.StartShippedKafka(); err != nil {
		return err
	}
	if err := b.produce(); err != nil {
		return err
	}
	for _, w := range ways {
		if err := b.measure(w); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

// produce fills the topic with small JSON records, three for each key.
func (b *bench) produce() error {
	client, err := kgo.NewClient(kgo.SeedBrokers(b.broker.Address), kgo.ProducerLinger(5*time.Millisecond), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(b.ctx, 1, -1, nil, topic); err != nil {
		return err
	}
	var failed error
	for i := range b.records {
		key := i % (b.records/3 + 1)
		client.Produce(b.ctx, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "%d", key), Value: fmt.Appendf(nil, `{"id":%d,"customer":%d,"item":"article %d","price":%d.%02d}`, key, i%5000, i, i%1000, i%100)},
			func(_ *kgo.Record, err error) {
				if err != nil {
					failed = err
				}
			})
	}
	return errors.Join(client.Flush(b.ctx), failed)
}

// way is a way to get the topic into a table.
type way struct {
	name   string
	schema string
	args   []string // of pgtee consume; nil: shell
	shell  string   // %[1]s is the broker, %[2]s the database
	rows   string   // SQL that counts the resulting rows
	want   func(records int) int
}

const orders = "CREATE TABLE orders (id bigint%s, customer int, item text, price numeric)"

// kcat writes one line per record; with characters that JSON cannot contain as quote and delimiter, each line is one value.
const kcat = `kcat -C -b %[1]s -t orders -o beginning -e -q | psql -q -v ON_ERROR_STOP=1 -d '%[2]s' -c "COPY lines FROM STDIN WITH (FORMAT csv, QUOTE E'\x01', DELIMITER E'\x02')"`

func all(records int) int { return records }

var ways = []way{
	{name: "kcat-lines", schema: "CREATE TABLE lines (doc jsonb)", shell: kcat, rows: "SELECT count(*) FROM lines", want: all},
	{name: "kcat-columns", schema: fmt.Sprintf(orders, "") + "; CREATE UNLOGGED TABLE lines (doc jsonb)",
		shell: kcat + ` -c "INSERT INTO orders SELECT (doc->>'id')::bigint, (doc->>'customer')::int, doc->>'item', (doc->>'price')::numeric FROM lines"`, rows: "SELECT count(*) FROM orders", want: all},
	{name: "consume", schema: fmt.Sprintf(orders, ""), args: []string{}, rows: "SELECT count(*) FROM orders", want: all},
	{name: "consume-key", schema: fmt.Sprintf(orders, " PRIMARY KEY"), args: []string{"--key", "id"}, rows: "SELECT count(*) FROM orders", want: func(records int) int { return min(records, records/3+1) }},
	{name: "consume-text", schema: "CREATE TABLE orders (doc jsonb)", args: []string{"--format", "text", "--map", "doc=$"}, rows: "SELECT count(*) FROM orders", want: all},
}

// measure fills a database of its own in one way, counts the rows, and prints a line.
func (b *bench) measure(w way) error {
	database := strings.ReplaceAll(w.name, "-", "_")
	if err := b.Query(b.ctx, "postgres", "CREATE DATABASE "+database); err != nil {
		return err
	}
	if err := b.Query(b.ctx, database, w.schema); err != nil {
		return err
	}
	began := time.Now()
	p, err := b.start(w, database)
	if err != nil {
		return err
	}
	if code, err := p.Wait(patience); err != nil || code != 0 {
		return fmt.Errorf("exits with %d (%v): %s", code, err, p.Tail(5))
	}
	took := time.Since(began)
	conn, err := pgx.Connect(b.ctx, b.Server.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(b.ctx)
	var rows int
	if err := conn.QueryRow(b.ctx, w.rows).Scan(&rows); err != nil {
		return err
	}
	if rows != w.want(b.records) {
		return fmt.Errorf("%d rows, want %d", rows, w.want(b.records))
	}
	fmt.Printf("bench-consume way=%s records_s=%.0f cpu_us_record=%.2f rss_mb=%d took=%v\n", w.name, float64(b.records)/took.Seconds(),
		float64(p.CPU().Microseconds())/float64(b.records), p.PeakRSS()>>20, took.Round(time.Millisecond))
	return nil
}

func (b *bench) start(w way, database string) (*harness.Process, error) {
	if w.args == nil {
		return b.StartCommand(harness.Command{Name: w.name, Args: []string{"bash", "-o", "pipefail", "-c", fmt.Sprintf(w.shell, b.broker.Address, b.Server.URL(database))}})
	}
	return b.Start(append([]string{"consume", "--kafka", b.broker.Address, "--postgres", b.Server.URL(database), "--topic", topic, "--into", "public.orders", "--once"}, w.args...)...)
}
