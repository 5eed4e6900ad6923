package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgtee/pgtee/integration/harness"
)

// leg is a database with its own proxy and publisher, and one kind of outbox.
type leg struct {
	options
	bench  *harness.Bench
	broker *harness.Kafka
	outbox string // table or message
	judge  *judge

	address   string // address of the proxy
	proxy     *harness.Process
	publisher *harness.Process
}

// name returns the name of the leg's database, slot and prefix.
func (l *leg) name() string {
	return fmt.Sprintf("attribution_%d_%s", l.bench.Server.Major(), l.outbox)
}

// run prepares the database, plays all scripts, and finally judges the contents of Kafka.
func (l *leg) run(ctx context.Context, statements int) error {
	began := time.Now()
	if err := l.prepare(ctx); err != nil {
		return err
	}
	if err := l.play(ctx, statements); err != nil {
		return err
	}
	played := time.Since(began)
	if err := l.read(ctx); err != nil {
		return err
	}
	l.judge.finish()
	fmt.Printf("attribution leg=%q %s played=%v took=%v\n", l.judge.leg, l.judge.tally.figures(), played.Round(time.Second), time.Since(began).Round(time.Second))
	return errors.Join(l.publisher.StopWell(), l.proxy.StopWell())
}

func (l *leg) prepare(ctx context.Context) (err error) {
	if err := l.bench.Query(ctx, "postgres", "CREATE DATABASE "+l.name()); err != nil {
		return err
	}
	if err := l.bench.Query(ctx, l.name(), schemaSQL); err != nil {
		return err
	}
	postgres, key := l.bench.Server.URL(l.name()), l.bench.KeyFile()
	if err := l.bench.Run("setup", "--postgres", postgres, "--slot", l.name()); err != nil {
		return err
	}
	if l.address, err = harness.FreeAddress(); err != nil {
		return err
	}
	if l.proxy, err = l.bench.Start("proxy", "--listen", l.address, "--postgres", postgres, "--key", key, "--outbox", l.outbox); err != nil {
		return err
	}
	l.publisher, err = l.bench.Start("publish", "--postgres", postgres, "--kafka", l.broker.Address, "--prefix", l.name(), "--slot", l.name(),
		"--key", key, "--partitions", "1", "--sql-text", "full")
	if err != nil {
		return err
	}
	return harness.Eventually(time.Minute, func(ctx context.Context) error {
		conn, err := pgx.Connect(ctx, urlOf(l.address, l.name(), 0))
		if err == nil {
			err = conn.Close(ctx)
		}
		return err
	})
}

// play runs all sessions concurrently, each up to its share of the statements.
func (l *leg) play(ctx context.Context, statements int) error {
	put, err := l.oid(ctx, "work.put(bigint)")
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	errs := make([]error, sessions)
	for i := range sessions {
		s := &session{number: i, url: urlOf(l.address, l.name(), i), put: put, judge: l.judge}
		running.Go(func() { errs[i] = s.play(ctx, newGenerator(l.seed, i), (statements+sessions-1)/sessions) })
	}
	running.Wait()
	return errors.Join(append(errs, l.proxy.Alive())...)
}

func (l *leg) oid(ctx context.Context, function string) (oid uint32, err error) {
	conn, err := pgx.Connect(ctx, l.bench.Server.URL(l.name()))
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	err = conn.QueryRow(ctx, "SELECT $1::regprocedure::oid", function).Scan(&oid)
	return oid, err
}

// read judges all rows when the last one is in Kafka.
func (l *leg) read(ctx context.Context) error {
	if err := l.bench.Query(ctx, l.name(), "INSERT INTO work.mark VALUES (1)"); err != nil {
		return err
	}
	t := &topics{broker: l.broker.Address, prefix: l.name()}
	if err := errors.Join(t.await("work.mark", l.publisher), l.publisher.Alive()); err != nil {
		return err
	}
	return t.each(ctx, l.judge.add)
}
