package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

const patience = harness.BenchPatience

// replicate applies the backlog with PostgreSQL's own worker.
func (b *bench) replicate(name string) (time.Duration, error) {
	database := databaseOf(name, "native")
	began := time.Now()
	if err := b.onTarget(database, fmt.Sprintf("ALTER SUBSCRIPTION %s ENABLE", name)); err != nil {
		return 0, err
	}
	conn, err := pgx.Connect(b.ctx, b.target.URL(database))
	if err != nil {
		return 0, err
	}
	defer conn.Close(b.ctx)
	err = harness.Eventually(patience, func(ctx context.Context) error {
		var there bool
		if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM mark)").Scan(&there); err != nil || there {
			return err
		}
		return fmt.Errorf("the worker is not at the end")
	})
	took := time.Since(began)
	if err != nil {
		return 0, err
	}
	return took, b.onTarget(database, fmt.Sprintf("ALTER SUBSCRIPTION %s DISABLE", name))
}

// apply applies the backlog with pgtee through an address, and prints a line.
func (b *bench) apply(name, way, address string, rows int, native time.Duration) error {
	database := databaseOf(name, way)
	to := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: address, Path: "/" + database, RawQuery: "sslmode=disable"}
	began := time.Now()
	p, err := b.Start("apply", "--kafka", b.broker.Address, "--prefix", name, "--postgres", to.String(), "--once")
	if err != nil {
		return err
	}
	if code, err := p.Wait(patience); err != nil || code != 0 {
		return fmt.Errorf("apply exits with %d (%v): %s", code, err, p.Tail(5))
	}
	took := time.Since(began)
	ratio := 0.0
	if native > 0 {
		ratio = native.Seconds() / took.Seconds()
	}
	fmt.Printf("bench-apply work=%s way=%s rows_s=%.0f ratio=%.2f cpu_us_row=%.2f rss_mb=%d took=%v\n", name, way, float64(rows)/took.Seconds(), ratio,
		float64(p.CPU().Microseconds())/float64(rows), p.PeakRSS()>>20, took.Round(time.Millisecond))
	return b.compare(name, database)
}

// compare fails unless source and target have the same rows.
func (b *bench) compare(name, database string) error {
	digest := fmt.Sprintf("SELECT count(*)::text || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM %s AS t", works[name].table)
	var values [2]string
	for i, u := range []string{b.Server.URL(name), b.target.URL(database)} {
		conn, err := pgx.Connect(b.ctx, u)
		if err != nil {
			return err
		}
		err = conn.QueryRow(b.ctx, digest).Scan(&values[i])
		conn.Close(b.ctx)
		if err != nil {
			return err
		}
	}
	if values[0] != values[1] {
		return fmt.Errorf("table %s differs: %s in the source, %s in %s", works[name].table, values[0], values[1], database)
	}
	return nil
}
